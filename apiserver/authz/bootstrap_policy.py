"""The default roles and bindings as objects, and what a reconciliation adds to those that are there (pkg/registry/rbac/reconciliation).

Every API server does it at its start. It only adds: a rule or subject that somebody took away comes back, one that somebody added stays; an object
whose annotation rbac.authorization.kubernetes.io/autoupdate says "false" is left alone.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from apiserver.authz import bootstrap_roles as data
from apiserver.authz.rbac import BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, ROLES
from apiserver.authz.rules import Rule, uncovered
from apiserver.machinery.objects import Object, annotations_of, labels_of, metadata, name_of, namespace_of
from apiserver.request import Writer

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
API = "rbac.authorization.k8s.io"


async def ensure(writer: Writer) -> int:
    """Make or complete every default object; returns how many were not as they should be. Raises ApiError."""
    changed = 0
    for resource, wanted in objects():
        if await writer.create(resource, wanted):
            changed += 1
            continue
        before: list[Object] = []

        def complete(found: Object, wanted: Object = wanted, before: list[Object] = before) -> Object:
            done = reconciled(found, wanted)
            before.append(found)
            return found if done is None else done

        after = await writer.update(resource, namespace_of(wanted), name_of(wanted), complete)
        changed += after is not None and bool(before) and after is not before[-1]
    return changed


def objects() -> Iterator[tuple[str, Object]]:
    """Resource and object, roles before the bindings that refer to them."""
    for name, lines in data.CLUSTER_ROLES.items():
        yield CLUSTER_ROLES, _role(name, rules(lines), labels=_aggregate_label(name))
    for name, covers in data.AGGREGATED.items():
        role = _role(name, None, labels={f"{AGGREGATE}{above}": "true" for above, below in data.AGGREGATED.items() if name in below})
        role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {f"{AGGREGATE}{name}": "true"}}]}
        assert all(each in data.AGGREGATED for each in covers)
        yield CLUSTER_ROLES, role
    for name, lines in data.CONTROLLER_ROLES.items():
        yield CLUSTER_ROLES, _role(f"system:controller:{name}", rules(lines))
    yield CLUSTER_ROLES, _role(data.CONTROLLERS, controllers_rules())
    for (namespace, name), lines in data.NAMESPACE_ROLES.items():
        yield ROLES, _role(name, rules(lines), namespace)
    for name, subjects in data.CLUSTER_BINDINGS.items():
        yield CLUSTER_BINDINGS, _binding(name, "ClusterRole", name, subjects)
    for name in data.CONTROLLER_ROLES:
        whole = f"system:controller:{name}"
        yield CLUSTER_BINDINGS, _binding(whole, "ClusterRole", whole, (("ServiceAccount", f"kube-system/{name}"),))
    yield CLUSTER_BINDINGS, _binding(data.CONTROLLERS, "ClusterRole", data.CONTROLLERS, (("User", "system:kube-controller-manager"),))
    for (namespace, name), (role_name, subjects) in data.NAMESPACE_BINDINGS.items():
        yield BINDINGS, _binding(name, "Role", role_name or name, subjects, namespace)


def rules(lines: Iterable[str]) -> list[Rule]:
    """The table's lines as PolicyRules."""
    return [_rule([part.split() for part in line.split("|")]) for line in lines]


def controllers_rules() -> list[Rule]:
    """All that the controllers may, each rule once."""
    found: list[Rule] = []
    for lines in data.CONTROLLER_ROLES.values():
        for rule in rules(lines):
            if "update" in rule["verbs"] and "patch" not in rule["verbs"]:
                rule["verbs"].append("patch")
            if uncovered(found, [rule]):
                found.append(rule)
    # Every controller elects its one active instance, and its leases are its own.
    found.append({"verbs": ["get", "create", "update", "patch"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"]})
    return found


def reconciled(found: Object, wanted: Object) -> Object | None:
    """`found` with all that `wanted` has and it lacks; None if it lacks nothing, or is not to be touched."""
    if annotations_of(found).get(AUTOUPDATE) == "false":
        return None
    new = copy.deepcopy(found)
    for key, said in (("labels", labels_of(wanted)), ("annotations", annotations_of(wanted))):
        metadata(new)[key] = {**said, **(metadata(new).get(key) or {})}
    if "aggregationRule" in wanted:
        rule = new.setdefault("aggregationRule", {})
        selectors = rule.setdefault("clusterRoleSelectors", [])
        selectors += [each for each in wanted["aggregationRule"]["clusterRoleSelectors"] if each not in selectors]
    elif "rules" in wanted:
        new["rules"] = [*(new.get("rules") or ()), *uncovered(new.get("rules") or (), wanted["rules"])]
    if "roleRef" in wanted:
        subjects = new.get("subjects") or []
        lacking = [each for each in wanted.get("subjects") or () if each not in subjects]
        if lacking:
            new["subjects"] = [*subjects, *lacking]
    same = {**found, "metadata": {"labels": {}, "annotations": {}, **(found.get("metadata") or {})}}
    return None if new in (same, found) else new


def _rule(parts: list[list[str]]) -> Rule:
    if len(parts) == 2:
        return {"verbs": parts[0], "nonResourceURLs": parts[1]}
    groups = ["" if each == "core" else each for each in parts[1]]
    rule: Rule = {"verbs": parts[0], "apiGroups": groups, "resources": parts[2]}
    return {**rule, "resourceNames": parts[3]} if len(parts) > 3 else rule


def _metadata(name: str, namespace: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    said: dict[str, Any] = {"name": name, "labels": {**BOOTSTRAPPING, **(labels or {})}, "annotations": {AUTOUPDATE: "true"}}
    return {**said, "namespace": namespace} if namespace else said


def _role(name: str, of_rules: list[Rule] | None, namespace: str = "", labels: dict[str, str] | None = None) -> Object:
    kind = "Role" if namespace else "ClusterRole"
    return {"apiVersion": f"{API}/v1", "kind": kind, "metadata": _metadata(name, namespace, labels), "rules": of_rules}


def _binding(name: str, role_kind: str, role: str, subjects: data.Subjects, namespace: str = "") -> Object:
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    made: Object = {"apiVersion": f"{API}/v1", "kind": kind, "metadata": _metadata(name, namespace)}
    made["roleRef"] = {"apiGroup": API, "kind": role_kind, "name": role}
    if subjects:
        made["subjects"] = [_subject(*each) for each in subjects]
    return made


def _subject(kind: str, name: str) -> Object:
    if kind == "ServiceAccount":
        namespace, _, account = name.partition("/")
        return {"kind": kind, "name": account, "namespace": namespace}
    return {"kind": kind, "apiGroup": API, "name": name}


def _aggregate_label(name: str) -> dict[str, str]:
    return {f"{AGGREGATE}{name.removeprefix('system:aggregate-to-')}": "true"} if name.startswith("system:aggregate-to-") else {}
