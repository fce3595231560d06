"""What objects count for a ResourceQuota: used by the quota controller for the status, and by admission for a write (pkg/quota/v1/evaluator).

Amounts are exact (`Quantity`), names are those of `spec.hard`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from apiserver.machinery.effective import add, effective
from apiserver.machinery.objects import Object
from apiserver.machinery.quantity import Quantity, parse

Usage = dict[str, Quantity]

COUNTED = {
    "pods": "pods",
    "services": "services",
    "replicationcontrollers": "replicationcontrollers",
    "resourcequotas": "resourcequotas",
    "secrets": "secrets",
    "configmaps": "configmaps",
    "persistentvolumeclaims": "persistentvolumeclaims",
}
"""Resources that have a name of their own beside `count/PLURAL.GROUP`."""
COMPUTE = ("cpu", "memory", "ephemeral-storage")
SCOPES = ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity")


def one() -> Quantity:
    return Quantity(1)


def resources_of(hard: Mapping[str, Any]) -> set[str]:
    """Qualified plurals of the resources that a quota with these limits counts."""
    found: set[str] = set()
    for name in hard:
        if name.startswith("count/"):
            found.add(name.removeprefix("count/"))
        elif name in COUNTED:
            found.add(COUNTED[name])
        elif name.startswith("services."):
            found.add("services")
        elif name == "requests.storage" or ".storageclass.storage.k8s.io/" in name:
            found.add("persistentvolumeclaims")
        else:
            found.add("pods")
    return found


def usage(resource: str, obj: Object) -> Usage:
    """Everything that one object uses, whatever a quota limits. `resource` is the qualified plural."""
    found: Usage = {f"count/{resource}": one()}
    if resource in COUNTED and resource != "pods":
        found[COUNTED[resource]] = one()
    if resource == "pods":
        found |= _pod(obj)
    elif resource == "services":
        found |= _service(obj)
    elif resource == "persistentvolumeclaims":
        found |= _claim(obj)
    return found


def counts(obj: Object, resource: str) -> bool:
    """Finished pods take no compute resources and no place; `count/pods` counts them all the same."""
    return resource != "pods" or (obj.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def used(quota: Object, objects: Iterable[tuple[str, Object]]) -> dict[str, str]:
    """status.used of a quota: every name in spec.hard with the sum over `objects` (resource and object), in its canonical form."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    total: Usage = {name: parse(0) for name in hard}
    for resource, obj in objects:
        if not in_scope(quota, resource, obj):
            continue
        for name, amount in usage(resource, obj).items():
            if name in total:
                total[name] = total[name] + amount
    return {name: str(amount) for name, amount in total.items()}


# --- pods -------------------------------------------------------------------------------------------------------------


def _pod(pod: Object) -> Usage:
    if not counts(pod, "pods"):
        return {}
    found: Usage = {"pods": one()}
    requests, limits = pod_amounts(pod, "requests"), pod_amounts(pod, "limits")
    for name, amount in requests.items():
        if name in COMPUTE:
            found[name] = amount
        found[f"requests.{name}"] = amount
        if name.startswith("hugepages-"):
            found[name] = amount
    for name, amount in limits.items():
        found[f"limits.{name}"] = amount
    return found


def pod_amounts(pod: Object, field: str) -> Usage:
    """The larger of the containers' sum and of what is needed while an init container runs, sidecars counted from their start on; the pod's own
    amounts, where it has some, instead; overhead on top."""
    spec = pod.get("spec") or {}
    total = effective(spec, lambda container: _amounts(container, field))
    total.update(_amounts(spec, field))
    if field == "requests" or total:
        overhead = {name: parse(value) for name, value in (spec.get("overhead") or {}).items()}
        add(total, {name: amount for name, amount in overhead.items() if field == "requests" or name in total})
    return total


def _amounts(holder: Mapping[str, Any], field: str) -> Usage:
    return {name: parse(value) for name, value in ((holder.get("resources") or {}).get(field) or {}).items()}


# --- services and claims ----------------------------------------------------------------------------------------------


def _service(service: Object) -> Usage:
    spec = service.get("spec") or {}
    ports = len(spec.get("ports") or ())
    found: Usage = {"services.nodeports": parse(0), "services.loadbalancers": parse(0)}
    if spec.get("type") == "NodePort":
        found["services.nodeports"] = Quantity(ports)
    elif spec.get("type") == "LoadBalancer":
        with_node_ports = sum(1 for port in spec.get("ports") or () if port.get("nodePort"))
        found["services.nodeports"] = Quantity(with_node_ports if spec.get("allocateLoadBalancerNodePorts") is False else ports)
        found["services.loadbalancers"] = one()
    return found


def _claim(claim: Object) -> Usage:
    spec = claim.get("spec") or {}
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    found: Usage = {}
    if asked is not None:
        found["requests.storage"] = parse(asked)
    if spec.get("storageClassName"):
        prefix = f"{spec['storageClassName']}.storageclass.storage.k8s.io/"
        found[f"{prefix}persistentvolumeclaims"] = one()
        if asked is not None:
            found[f"{prefix}requests.storage"] = parse(asked)
    return found


# --- scopes -----------------------------------------------------------------------------------------------------------


def in_scope(quota: Object, resource: str, obj: Object) -> bool:
    """Whether all scopes of the quota hold for an object. Scopes are about pods: with one, nothing else is counted."""
    spec = quota.get("spec") or {}
    selected = list(((spec.get("scopeSelector") or {}).get("matchExpressions")) or ())
    selected += [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    if not selected:
        return True
    return resource == "pods" and all(_scope_holds(each, obj) for each in selected)


def _scope_holds(scope: Mapping[str, Any], pod: Object) -> bool:
    name, spec = scope.get("scopeName"), pod.get("spec") or {}
    if name == "Terminating":
        return spec.get("activeDeadlineSeconds") is not None
    if name == "NotTerminating":
        return spec.get("activeDeadlineSeconds") is None
    if name in ("BestEffort", "NotBestEffort"):
        return bool(is_best_effort(pod) == (name == "BestEffort"))
    if name == "PriorityClass":
        found, values = spec.get("priorityClassName") or "", scope.get("values") or ()
        operator = scope.get("operator")
        if operator == "In":
            return bool(found in values)
        if operator == "NotIn":
            return bool(found not in values)
        return bool(found) == (operator == "Exists")
    return name == "CrossNamespacePodAffinity" and _crosses_namespaces(spec)


def is_best_effort(pod: Object) -> bool:
    spec = pod.get("spec") or {}
    holders = [spec, *(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    for holder in holders:
        resources = holder.get("resources") or {}
        for field in ("requests", "limits"):
            if any(name in ("cpu", "memory") and parse(value) for name, value in (resources.get(field) or {}).items()):
                return False
    return True


def _crosses_namespaces(spec: Mapping[str, Any]) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        terms += [each.get("podAffinityTerm") or {} for each in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False
