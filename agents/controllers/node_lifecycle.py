"""Nodes that fall silent: conditions to Unknown, taints, their pods not ready (pkg/controller/nodelifecycle/node_lifecycle_controller.go).

Who takes the pods away is `taint_eviction`.
"""

import argparse
import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from agents.controllers.node_health import (
    NOT_READY,
    UNREACHABLE,
    Limits,
    Pace,
    cut_off,
    eviction_rates,
    execute_taint,
    not_ready_patch,
    ready_status,
    silent_conditions,
    with_taints,
    zone_of,
)
from agents.controllers.pods import PODS
from agents.kit.actions import NORMAL, WARNING, Action, Event, Patch, Requeue
from agents.kit.controller import Context, Controller
from agents.kit.flags import Flags
from agents.kit.indexer import NODE, by_node
from agents.kit.times import to_text
from apiserver.client.rest import MERGE, STRATEGIC
from apiserver.machinery.objects import Object, name_of, namespace_of, resource_version_of, uid_of
from apiserver.machinery.resources import resource

NODES = resource("nodes")
LEASES = resource("leases.coordination.k8s.io", "v1")
LEASE_NAMESPACE = "kube-node-lease"
MONITOR_PERIOD_S = 5.0
DEFAULTS = Limits()
ZONES_KEPT_S = 0.5


def flags(given: Flags) -> None:
    default = Limits()
    given.duration("--node-monitor-period", MONITOR_PERIOD_S, "how often nodes are looked at")
    given.duration("--node-monitor-grace-period", default.node_monitor_grace_period_s, "how long a node may be silent")
    given.duration("--node-startup-grace-period", default.node_startup_grace_period_s, "the same for a node that has never said a thing")
    given.add_argument("--node-eviction-rate", type=float, default=default.node_eviction_rate, help="nodes a second whose pods are evicted")
    secondary = default.secondary_node_eviction_rate
    given.add_argument(
        "--secondary-node-eviction-rate", type=float, default=secondary, help="the same in a large zone in which most nodes are silent"
    )
    given.number("--large-cluster-size-threshold", default.large_cluster_size_threshold, "a zone with more nodes is large; in others it is then 0")
    threshold = default.unhealthy_zone_threshold
    given.add_argument("--unhealthy-zone-threshold", type=float, default=threshold, help="share of silent nodes that makes a zone unhealthy")


class NodeLifecycle(Controller):
    name = "node-lifecycle-controller"
    component = "node-controller"

    def __init__(self, context: Context, limits: Limits = DEFAULTS, period_s: float = MONITOR_PERIOD_S) -> None:
        self.limits, self.period_s = limits, period_s
        self.heard_s: dict[str, float] = {}
        """When each node's Lease or status was last seen to change."""
        self.pace = Pace()
        self._zones: dict[str, list[bool]] = {}
        self._zones_at_s = float("-inf")
        super().__init__(context)

    @classmethod
    def made(cls, context: Context, arguments: argparse.Namespace) -> "NodeLifecycle":
        limits = Limits(
            arguments.node_monitor_grace_period,
            arguments.node_startup_grace_period,
            arguments.node_eviction_rate,
            arguments.secondary_node_eviction_rate,
            arguments.large_cluster_size_threshold,
            arguments.unhealthy_zone_threshold,
        )
        return cls(context, limits, arguments.node_monitor_period)

    def watch(self) -> None:
        self.nodes = self.watched(NODES)
        self.nodes.handle(add=self._registered, update=self._changed, delete=self._removed)
        self.leases = self.watched(LEASES, namespace=LEASE_NAMESPACE)
        self.leases.handle(add=self._heard, update=self._renewed)
        self.pods = self.watched(PODS)
        self.pods.add_index(NODE, by_node)

    # --- hearing ------------------------------------------------------------------------------------------------------

    def _registered(self, node: Object) -> None:
        self._heard(node)
        name = name_of(node)
        self.recorder.event(node, NORMAL, "RegisteredNode", f"Node {name} event: Registered Node {name} in Controller")
        self.enqueue(node)

    def _changed(self, old: Object, new: Object) -> None:
        if _heartbeats(old) != _heartbeats(new):
            self._heard(new)
        self.enqueue(new)

    def _removed(self, node: Object) -> None:
        name = name_of(node)
        self.heard_s.pop(name, None)
        self.recorder.event(node, NORMAL, "RemovingNode", f"Node {name} event: Removing Node {name} from Controller")

    def _heard(self, obj: Object) -> None:
        """A node's Lease has the node's name."""
        self.heard_s[name_of(obj)] = self.context.monotonic_s()

    def _renewed(self, old: Object, new: Object) -> None:
        if (old.get("spec") or {}).get("renewTime") != (new.get("spec") or {}).get("renewTime"):
            self._heard(new)

    def background(self) -> Sequence[tuple[str, Coroutine[Any, Any, None]]]:
        return (("monitor", self._monitor()),)

    async def _monitor(self) -> None:
        while True:
            await asyncio.sleep(self.period_s)
            for node in self.nodes.all():
                self.enqueue(node)

    # --- judging ------------------------------------------------------------------------------------------------------

    def reconcile(self, key: str) -> Sequence[Action]:
        node = self.nodes.get(key)
        if node is None:
            return []
        now_s = self.context.monotonic_s()
        now = to_text(self.context.now_s())
        silent = silent_conditions(node, now_s - self.heard_s.get(key, now_s), self.limits, now)
        actions: list[Action] = []
        if silent:
            actions.append(Patch(NODES, "", key, {"status": {"conditions": silent}}, STRATEGIC, "status"))
            node = _with_conditions(node, silent)
            if any(each["type"] == "Ready" for each in silent):
                actions.append(Event(node, NORMAL, "NodeNotReady", f"Node {key} status is now: NodeNotReady"))
        execute, wait_s = self._eviction(node, now_s)
        taints = with_taints(node, execute, now)
        if taints is not None:
            # A list has to be written whole: the version makes sure that no taint of others is lost.
            version = {"resourceVersion": resource_version_of(node)} if not silent else {"uid": uid_of(node)}
            actions.append(Patch(NODES, "", key, {"metadata": version, "spec": {"taints": taints}}, MERGE))
        if ready_status(node) != "True":
            actions += self._pods_not_ready(node, now)
        if wait_s:
            actions.append(Requeue(wait_s))
        return actions

    def _eviction(self, node: Object, now_s: float) -> tuple[str | None, float]:
        """The NoExecute taint that the node has to have, or None and how long it has to wait for it."""
        wanted = execute_taint(node)
        if not wanted:
            return wanted, 0.0
        zones = self._zones_now(now_s)
        if cut_off(zones, self.limits):
            # What was tainted before the last node fell silent is not to be evicted either.
            return "", 0.0
        has = {each.get("key") for each in (node.get("spec") or {}).get("taints") or () if each.get("effect") == "NoExecute"}
        if has & {NOT_READY, UNREACHABLE}:
            return wanted, 0.0
        zone = zone_of(node)
        wait_s = self.pace.take(zone, eviction_rates(zones, self.limits).get(zone, 0.0), now_s)
        return (None, wait_s) if wait_s else (wanted, 0.0)

    def _zones_now(self, now_s: float) -> dict[str, list[bool]]:
        """Which nodes of each zone speak. Kept for a moment: when a thousand are silent, each of them asks."""
        if now_s - self._zones_at_s > ZONES_KEPT_S:
            self._zones, self._zones_at_s = {}, now_s
            for each in self.nodes.all():
                self._zones.setdefault(zone_of(each), []).append(self._speaks(each, now_s))
        return self._zones

    def _speaks(self, node: Object, now_s: float) -> bool:
        """Ready, and heard of lately: whose turn it is first must not decide how many others seem to be well."""
        silent_s = now_s - self.heard_s.get(name_of(node), now_s)
        return ready_status(node) == "True" and silent_s <= self.limits.node_monitor_grace_period_s

    def _pods_not_ready(self, node: Object, now: str) -> list[Action]:
        actions: list[Action] = []
        for pod in self.pods.by(NODE, name_of(node)):
            patch = not_ready_patch(pod, now)
            if patch is not None:
                actions.append(Patch(PODS, namespace_of(pod), name_of(pod), patch, STRATEGIC, "status"))
                actions.append(Event(pod, WARNING, "NodeNotReady", "Node is not ready"))
        return actions


def _heartbeats(node: Object) -> list[Any]:
    """What the node itself writes: our own changes to its conditions are no sign of life."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return [(each.get("type"), each.get("lastHeartbeatTime")) for each in conditions]


def _with_conditions(node: Object, changed: Sequence[Object]) -> Object:
    status = node.get("status") or {}
    types = {each["type"] for each in changed}
    kept = [each for each in status.get("conditions") or () if each["type"] not in types]
    return {**node, "status": {**status, "conditions": [*kept, *changed]}}
