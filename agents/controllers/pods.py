"""What controllers ask of pods (pkg/api/v1/pod and pkg/controller/controller_utils.go). Pure."""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence

from agents.kit.owners import owner_reference
from agents.kit.times import created_s, to_seconds
from apiserver.machinery.conditions import condition, is_true
from apiserver.machinery.objects import Object, annotations_of, is_terminating, name_of, namespace_of
from apiserver.machinery.resources import Resource, resource

PODS = resource("pods")
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def phase(pod: Object) -> str:
    return (pod.get("status") or {}).get("phase") or "Pending"


def is_finished(pod: Object) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Neither finished nor on its way out."""
    return not is_finished(pod) and not is_terminating(pod)


def is_ready(pod: Object) -> bool:
    return is_true(pod, "Ready")


def ready_since_s(pod: Object) -> float:
    """0.0 if it is not ready."""
    found = condition(pod.get("status") or {}, "Ready")
    return to_seconds(found.get("lastTransitionTime")) if found is not None and found.get("status") == "True" else 0.0


def is_available(pod: Object, min_ready_s: int, now_s: float) -> bool:
    """Ready for at least so long."""
    if not is_ready(pod):
        return False
    return not min_ready_s or ready_since_s(pod) + min_ready_s <= now_s


def restarts(pod: Object) -> int:
    status = pod.get("status") or {}
    return max((each.get("restartCount", 0) for each in status.get("containerStatuses") or ()), default=0)


def from_template(template: Object, owner: Object, owner_resource: Resource, *, name: str = "") -> Object:
    """A pod as a controller makes it: labels, annotations and finalizers of the template, and the owner that controls it."""
    given = template.get("metadata") or {}
    metadata: Object = {"name": name} if name else {"generateName": prefix_of(name_of(owner))}
    metadata["namespace"] = namespace_of(owner)
    for field in ("labels", "annotations", "finalizers"):
        if given.get(field):
            metadata[field] = copy.deepcopy(given[field])
    metadata["ownerReferences"] = [owner_reference(owner, owner_resource)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template.get("spec") or {})}


def prefix_of(owner_name: str) -> str:
    return f"{owner_name}-"


def deletion_cost(pod: Object) -> int:
    try:
        return int(annotations_of(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def rank_for_deletion(pods: Sequence[Object], on_same_node: Mapping[str, int], now_s: float) -> list[Object]:
    """Those that are missed least come first (ActivePodsWithRanks): unassigned, pending, not ready, cheap, crowded, young.

    `on_same_node` counts related pods by node. Ready pods are compared by age on a logarithmic scale, and by uid within a step, so that
    scaling down does not always hit the youngest.
    """

    def age_step(since_s: float) -> int:
        return int(math.log10(now_s - since_s)) if now_s - since_s > 1 else 0

    def order(pod: Object) -> tuple[object, ...]:
        node = (pod.get("spec") or {}).get("nodeName") or ""
        ready = is_ready(pod)
        return (
            bool(node),
            PHASES.get(phase(pod), 2),
            ready,
            deletion_cost(pod),
            -on_same_node.get(node, 0),
            age_step(ready_since_s(pod)) if ready else 0,
            -restarts(pod),
            age_step(created_s(pod)),
            pod["metadata"].get("uid", ""),
        )

    return sorted(pods, key=order)


def by_node_count(pods: Iterable[Object]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName") or ""
        if node and is_active(pod):
            counted[node] = counted.get(node, 0) + 1
    return counted
