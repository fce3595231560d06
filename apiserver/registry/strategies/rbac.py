"""Roles and bindings (pkg/apis/rbac/validation)."""

from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, invalid_value, not_supported, required
from apiserver.registry.strategies.checks import each, named, one_of, selector, unchanged
from apiserver.registry.strategies.config import Plain

GROUP = "rbac.authorization.k8s.io"


def rules(value: Any, path: str, *, namespaced: bool) -> list[Cause]:
    found: list[Cause] = []
    for at, rule in each(value, path):
        if not rule.get("verbs"):
            found.append(required(f"{at}.verbs", "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
            if namespaced:
                told = "namespaced rules cannot apply to non-resource URLs"
                found.append(invalid_value(f"{at}.nonResourceURLs", rule["nonResourceURLs"], told))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                told = "rules cannot apply to both regular resources and non-resource URLs"
                found.append(invalid_value(f"{at}.nonResourceURLs", rule["nonResourceURLs"], told))
            continue
        if not rule.get("apiGroups"):
            found.append(required(f"{at}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            found.append(required(f"{at}.resources", "resource rules must supply at least one resource"))
    return found


class RoleStrategy(Plain):
    create_on_update = True

    def validate(self, obj: Object) -> list[Cause]:
        return rules(obj.get("rules"), "rules", namespaced=True)


class ClusterRoleStrategy(Plain):
    create_on_update = True

    def validate(self, obj: Object) -> list[Cause]:
        found = rules(obj.get("rules"), "rules", namespaced=False)
        aggregation = obj.get("aggregationRule")
        if isinstance(aggregation, dict):
            listed = each(aggregation.get("clusterRoleSelectors"), "aggregationRule.clusterRoleSelectors")
            if not listed:
                found.append(
                    required("aggregationRule.clusterRoleSelectors", "at least one clusterRoleSelector required if aggregationRule is non-nil")
                )
            found += [cause for at, each_selector in listed for cause in selector(each_selector, at)]
        return found


class BindingStrategy(Plain):
    create_on_update = True
    kinds: tuple[str, ...] = ("ClusterRole", "Role")

    def validate(self, obj: Object) -> list[Cause]:
        reference = obj.get("roleRef") or {}
        found: list[Cause] = []
        if reference.get("apiGroup") != GROUP:
            found.append(not_supported("roleRef.apiGroup", reference.get("apiGroup"), [GROUP]))
        found += one_of(reference.get("kind"), "roleRef.kind", self.kinds, needed=True)
        found += [required("roleRef.name")] if not reference.get("name") else named(reference["name"], "roleRef.name", names.path_segment)
        for at, subject in each(obj.get("subjects"), "subjects"):
            found += self._subject(subject, at)
        return found

    def _subject(self, subject: Object, at: str) -> list[Cause]:
        found = [] if subject.get("name") else [required(f"{at}.name")]
        kind, group = subject.get("kind"), subject.get("apiGroup") or ""
        if kind == "ServiceAccount":
            found += named(subject.get("name"), f"{at}.name", names.dns1123_subdomain)
            if group:
                found.append(not_supported(f"{at}.apiGroup", group, [""]))
            if not subject.get("namespace"):
                found.append(required(f"{at}.namespace"))
        elif kind in ("User", "Group"):
            if group != GROUP:
                found.append(not_supported(f"{at}.apiGroup", group, [GROUP]))
        else:
            found += one_of(kind, f"{at}.kind", ("Group", "ServiceAccount", "User"), needed=True)
        return found

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return unchanged(new.get("roleRef"), old.get("roleRef"), "roleRef", "cannot change roleRef")


class ClusterBindingStrategy(BindingStrategy):
    kinds = ("ClusterRole",)
