"""Which requests are recorded, and how much of them: --audit-policy-file (apiserver/pkg/audit/policy). The first rule that fits decides."""

from pathlib import Path
from typing import Any

from apiserver.config_files import Unusable, document
from apiserver.filters.request_info import RequestInfo
from apiserver.request import User

LEVELS = ("None", "Metadata", "Request", "RequestResponse")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
FIELDS = ("level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs", "omitStages", "omitManagedFields")


class Policy:
    def __init__(self, rules: list[dict[str, Any]], omit_stages: tuple[str, ...] = (), omit_managed_fields: bool = False) -> None:
        self._rules = rules
        self._omit_stages = omit_stages
        self._omit_managed_fields = omit_managed_fields

    def of(self, user: User, info: RequestInfo) -> tuple[str, frozenset[str], bool]:
        """Level, the stages that are recorded, and whether managed fields are left out. What no rule fits is not recorded."""
        for rule in self._rules:
            if _fits(rule, user, info):
                omitted = {*self._omit_stages, *(rule.get("omitStages") or ())}
                managed = rule.get("omitManagedFields")
                return rule["level"], frozenset(STAGES) - omitted, self._omit_managed_fields if managed is None else bool(managed)
        return "None", frozenset(), False


def read(path: Path) -> Policy:
    """Raises Unusable, OSError."""
    policy = document(path, "Policy", ("audit.k8s.io/v1",))
    rules = policy.get("rules")
    if not isinstance(rules, list) or not rules:
        raise Unusable(f"{path}: expected at least one rule")
    for number, rule in enumerate(rules):
        _check(rule, f"{path}: rules[{number}]")
    return Policy(rules, _stages(policy.get("omitStages"), str(path)), bool(policy.get("omitManagedFields")))


def _check(rule: Any, where: str) -> None:
    if not isinstance(rule, dict) or rule.get("level") not in LEVELS:
        raise Unusable(f"{where}: expected a level, one of {', '.join(LEVELS)}")
    unknown = [key for key in rule if key not in FIELDS]
    if unknown:
        raise Unusable(f"{where}: unknown field {unknown[0]!r}")
    for key in ("users", "userGroups", "verbs", "namespaces", "nonResourceURLs"):
        if not isinstance(rule.get(key) or [], list) or not all(isinstance(each, str) for each in rule.get(key) or ()):
            raise Unusable(f"{where}.{key}: expected a list of names")
    if not isinstance(rule.get("resources") or [], list) or not all(isinstance(each, dict) for each in rule.get("resources") or ()):
        raise Unusable(f"{where}.resources: expected a list of groups")
    if rule.get("nonResourceURLs") and (rule.get("resources") or rule.get("namespaces")):
        raise Unusable(f"{where}: rules cannot apply to both regular resources and non-resource URLs")
    _stages(rule.get("omitStages"), where)


def _stages(given: Any, where: str) -> tuple[str, ...]:
    found = given or []
    if not isinstance(found, list) or any(each not in STAGES for each in found):
        raise Unusable(f"{where}.omitStages: expected some of {', '.join(STAGES)}")
    return tuple(found)


def _fits(rule: dict[str, Any], user: User, info: RequestInfo) -> bool:
    if rule.get("users") and user.name not in rule["users"]:
        return False
    if rule.get("userGroups") and not any(group in rule["userGroups"] for group in user.groups):
        return False
    if rule.get("verbs") and info.verb not in rule["verbs"]:
        return False
    if rule.get("namespaces") or rule.get("resources"):
        return info.is_resource and _fits_resource(rule, info)
    if rule.get("nonResourceURLs"):
        return not info.is_resource and any(_fits_path(each, info.path) for each in rule["nonResourceURLs"])
    return True


def _fits_resource(rule: dict[str, Any], info: RequestInfo) -> bool:
    if rule.get("namespaces") and info.namespace not in rule["namespaces"]:
        return False
    groups = rule.get("resources") or ()
    return not groups or any(_fits_group(each, info) for each in groups)


def _fits_group(group: dict[str, Any], info: RequestInfo) -> bool:
    if (group.get("group") or "") != info.group:
        return False
    names, resources = group.get("resourceNames") or (), group.get("resources") or ()
    if names and info.name not in names:
        return False
    if not resources:
        return True
    whole = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    either = (whole, "*", f"*/{info.subresource}", f"{info.resource}/*") if info.subresource else (whole, "*")
    return any(each in resources for each in either)


def _fits_path(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern.rstrip("*")))
