"""What a node's silence means: conditions, taints, and how fast pods are taken from nodes that are gone (pkg/controller/nodelifecycle). Pure.

Whether a node is alive is judged by this process's own clock, from when its Lease or its status last changed: the times written in them may be of
a clock that differs.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from msgspec import Struct

from apiserver.machinery.conditions import condition
from apiserver.machinery.objects import Object

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "NoExecute"
CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
TAINT_OF_CONDITION: Mapping[str, Mapping[str, str]] = {
    "Ready": {"False": NOT_READY, "Unknown": UNREACHABLE},
    "MemoryPressure": {"True": "node.kubernetes.io/memory-pressure"},
    "DiskPressure": {"True": "node.kubernetes.io/disk-pressure"},
    "PIDPressure": {"True": "node.kubernetes.io/pid-pressure"},
    "NetworkUnavailable": {"True": "node.kubernetes.io/network-unavailable"},
}
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
MANAGED_NO_SCHEDULE = frozenset({UNSCHEDULABLE, *(key for keys in TAINT_OF_CONDITION.values() for key in keys.values())})


class Limits(Struct, frozen=True):
    """The flags of kube-controller-manager of these names."""

    node_monitor_grace_period_s: float = 50.0
    node_startup_grace_period_s: float = 60.0
    node_eviction_rate: float = 0.1
    secondary_node_eviction_rate: float = 0.01
    large_cluster_size_threshold: int = 50
    unhealthy_zone_threshold: float = 0.55


def ready_status(node: Object) -> str:
    """True, False, or Unknown (also if nobody has ever said)."""
    found = condition(node.get("status") or {}, "Ready")
    return "Unknown" if found is None else str(found.get("status"))


def silent_conditions(node: Object, silent_s: float, limits: Limits, now: str) -> list[Object]:
    """The conditions that have to be turned to Unknown, because the node was silent for so long; none while it may still speak."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    known = {each["type"]: each for each in conditions}
    grace_s = limits.node_monitor_grace_period_s if "Ready" in known else limits.node_startup_grace_period_s
    if silent_s <= grace_s:
        return []
    changed: list[Object] = []
    for type_ in CONDITIONS:
        before = known.get(type_)
        if before is None:
            wanted = {"reason": "NodeStatusNeverUpdated", "message": "Kubelet never posted node status."}
            changed.append({"type": type_, "status": "Unknown", **wanted, "lastHeartbeatTime": now, "lastTransitionTime": now})
        elif before.get("status") != "Unknown":
            wanted = {"reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
            changed.append({**before, "status": "Unknown", **wanted, "lastTransitionTime": now})
    return changed


def schedule_taints(node: Object) -> set[str]:
    """Keys of the NoSchedule taints that follow from conditions and from a cordon."""
    wanted = {UNSCHEDULABLE} if (node.get("spec") or {}).get("unschedulable") else set()
    for each in (node.get("status") or {}).get("conditions") or ():
        key = TAINT_OF_CONDITION.get(each.get("type", ""), {}).get(each.get("status", ""))
        if key:
            wanted.add(key)
    return wanted


def execute_taint(node: Object) -> str:
    """Key of the NoExecute taint that follows from Ready; empty for a ready node."""
    return TAINT_OF_CONDITION["Ready"].get(ready_status(node), "")


def with_taints(node: Object, execute: str | None, now: str) -> list[Object] | None:
    """The node's taints as they have to be; None if they are so already. `execute` None leaves the NoExecute taints as they are (an eviction that has
    to wait), empty removes them. Taints of others stay."""
    before: Sequence[Object] = (node.get("spec") or {}).get("taints") or ()
    wanted = schedule_taints(node)
    kept: list[Object] = []
    for taint in before:
        key, effect = taint.get("key"), taint.get("effect")
        if effect == NO_SCHEDULE and key in MANAGED_NO_SCHEDULE:
            if key not in wanted:
                continue
            wanted.discard(str(key))
        elif effect == NO_EXECUTE and key in (NOT_READY, UNREACHABLE) and execute is not None and key != execute:
            continue
        kept.append(taint)
    kept += [{"key": key, "effect": NO_SCHEDULE, "timeAdded": now} for key in sorted(wanted)]
    if execute and not any(each.get("key") == execute and each.get("effect") == NO_EXECUTE for each in kept):
        kept.append({"key": execute, "effect": NO_EXECUTE, "timeAdded": now})
    return None if kept == list(before) else kept


class ZoneState(Enum):
    NORMAL = "Normal"
    PARTIAL_DISRUPTION = "PartialDisruption"
    FULL_DISRUPTION = "FullDisruption"


def zone_of(node: Object) -> str:
    """Region and zone, as one name."""
    labels = (node.get("metadata") or {}).get("labels") or {}
    return f"{labels.get('topology.kubernetes.io/region', '')}:\x00:{labels.get('topology.kubernetes.io/zone', '')}"


def zone_state(ready: Sequence[bool], limits: Limits) -> ZoneState:
    """Of the nodes of one zone (ComputeZoneState)."""
    silent = sum(1 for each in ready if not each)
    if silent and silent == len(ready):
        return ZoneState.FULL_DISRUPTION
    if silent > 2 and silent / len(ready) >= limits.unhealthy_zone_threshold:
        return ZoneState.PARTIAL_DISRUPTION
    return ZoneState.NORMAL


def cut_off(zones: Mapping[str, Sequence[bool]], limits: Limits) -> bool:
    """If no zone has a ready node left, it is not the nodes that failed, it is we who do not hear them."""
    return bool(zones) and all(zone_state(ready, limits) is ZoneState.FULL_DISRUPTION for ready in zones.values())


def eviction_rates(zones: Mapping[str, Sequence[bool]], limits: Limits) -> dict[str, float]:
    """How many nodes a second of each zone may be given their NoExecute taint; none while we are cut off."""
    if cut_off(zones, limits):
        return dict.fromkeys(zones, 0.0)
    states = {zone: zone_state(ready, limits) for zone, ready in zones.items()}
    rates: dict[str, float] = {}
    for zone, state in states.items():
        if state is ZoneState.PARTIAL_DISRUPTION:
            large = len(zones[zone]) > limits.large_cluster_size_threshold
            rates[zone] = limits.secondary_node_eviction_rate if large else 0.0
        else:
            rates[zone] = limits.node_eviction_rate
    return rates


class Pace:
    """When the next node of each zone may be evicted; times are seconds of any one clock."""

    def __init__(self) -> None:
        self._next_s: dict[str, float] = {}

    def take(self, zone: str, rate: float, now_s: float) -> float:
        """0 if it may be now (and counts), otherwise how long to wait; with a rate of zero, a look again in ten seconds."""
        if rate <= 0:
            return 10.0
        due_s = self._next_s.get(zone, now_s)
        if due_s > now_s:
            return due_s - now_s
        self._next_s[zone] = now_s + 1 / rate
        return 0.0


def not_ready_patch(pod: Object, now: str) -> Any:
    """The strategic merge patch that says of a pod on a silent node that it is not ready; None if it says so already."""
    found = condition(pod.get("status") or {}, "Ready")
    if found is None or found.get("status") != "True":
        return None
    return {"status": {"conditions": [{**found, "status": "False", "lastTransitionTime": now}]}}
