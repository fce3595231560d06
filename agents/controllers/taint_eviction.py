"""Pods leave nodes whose NoExecute taints they do not tolerate, or tolerate only for so long (pkg/controller/tainteviction).

A pod's time runs from when the taint was put there (or from the pod's creation, if it came later), so that a change of the active controller manager
gives no pod a second term.
"""

from collections.abc import Sequence
from typing import Any

from agents.controllers.pods import PODS
from agents.kit.actions import NORMAL, STRATEGIC_STATUS, Action, Delete, Event, Patch, Requeue
from agents.kit.controller import Controller
from agents.kit.indexer import NODE, by_node
from agents.kit.node_terms import tolerations_of
from agents.kit.times import created_s, to_seconds, to_text
from apiserver.machinery.objects import Object, is_terminating, key_of, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource

NODES = resource("nodes")


def tolerates(toleration: Object, taint: Object) -> bool:
    (read,) = tolerations_of((toleration,))
    return read.tolerates(taint.get("key", ""), taint.get("value") or "", taint.get("effect", ""))


def eviction_due_s(pod: Object, taints: Sequence[Object], now_s: float) -> float | None:
    """When the pod has to go, seconds of the time of day; None: never. A taint that nothing tolerates: at once. Of several tolerations of a taint the
    shortest counts, as upstream; those without tolerationSeconds last for ever."""
    due: float | None = None
    for taint in taints:
        matching = [each for each in (pod.get("spec") or {}).get("tolerations") or () if tolerates(each, taint)]
        if not matching:
            return now_s
        limits = [max(each["tolerationSeconds"], 0) for each in matching if each.get("tolerationSeconds") is not None]
        if limits:
            began_s = max(to_seconds(taint.get("timeAdded")) or now_s, created_s(pod))
            due = began_s + min(limits) if due is None else min(due, began_s + min(limits))
    return due


def execute_taints(node: Object | None) -> list[Object]:
    return [each for each in ((node or {}).get("spec") or {}).get("taints") or () if each.get("effect") == "NoExecute"]


def eviction(pod: Object, now: str) -> list[Action]:
    """Says why, then deletes."""
    condition: Any = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint",
        "lastTransitionTime": now,
    }
    namespace, name = namespace_of(pod), name_of(pod)
    return [
        Event(pod, NORMAL, "TaintManagerEviction", f"Marking for deletion Pod {key_of(pod)}"),
        Patch(PODS, namespace, name, {"status": {"conditions": [condition]}}, *STRATEGIC_STATUS),
        Delete(PODS, namespace, name, uid_of(pod)),
    ]


class TaintEviction(Controller):
    """Keys are pods."""

    name = "taint-eviction-controller"
    component = "taint-eviction-controller"
    workers = 8

    def watch(self) -> None:
        self.waiting: set[str] = set()
        """Pods whose end is set."""
        self.pods = self.watched(PODS, self.enqueue)
        self.pods.add_index(NODE, by_node)
        self.nodes = self.watched(NODES)
        self.nodes.handle(add=self._wake, update=self._tainted)

    def _tainted(self, old: Object, new: Object) -> None:
        if execute_taints(old) != execute_taints(new):
            self._wake(new)

    def _wake(self, node: Object) -> None:
        for pod in self.pods.by(NODE, name_of(node)):
            self.enqueue(pod)

    def reconcile(self, key: str) -> Sequence[Action]:
        pod = self.pods.get(key)
        node_name = ((pod or {}).get("spec") or {}).get("nodeName")
        taints = execute_taints(self.nodes.get(node_name)) if node_name else []
        if pod is None or not taints or is_terminating(pod):
            return self._cancelled(key, pod)
        now_s = self.context.now_s()
        due_s = eviction_due_s(pod, taints, now_s)
        if due_s is None:
            return self._cancelled(key, pod)
        if due_s > now_s:
            self.waiting.add(key)
            return [Requeue(due_s - now_s)]
        self.waiting.discard(key)
        return eviction(pod, to_text(now_s))

    def _cancelled(self, key: str, pod: Object | None) -> Sequence[Action]:
        if key not in self.waiting:
            return []
        self.waiting.discard(key)
        if pod is None or is_terminating(pod):
            return []
        return [Event(pod, NORMAL, "TaintManagerEviction", f"Cancelling deletion of Pod {key}")]
