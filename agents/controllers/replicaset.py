"""So many pods as a ReplicaSet says, and the same for ReplicationControllers (pkg/controller/replicaset).

Pods that match and belong to nobody are adopted; pods that no longer match are released. Too few: new ones, slowly at first. Too many: those that
are missed
least go. The status tells what was there before this round.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from agents.controllers import pods as pod_rules
from agents.controllers.pods import PODS, is_active, is_available, is_ready
from agents.kit.actions import Action, Create, Delete, Requeue, SlowStart, Together, UpdateStatus
from agents.kit.controller import Controller
from agents.kit.indexer import CONTROLLER
from agents.kit.owners import claim, settle
from agents.kit.selection import equals, matches
from agents.kit.times import to_text
from apiserver.client.errors import Unreachable
from apiserver.machinery.conditions import condition, with_condition, without
from apiserver.machinery.objects import Object, controller_of, is_terminating, key_of, labels_of, name_of, namespace_of, uid_of
from apiserver.machinery.resources import Resource, resource
from apiserver.machinery.status import ApiError

REPLICA_SETS = resource("replicasets.apps")
REPLICATION_CONTROLLERS = resource("replicationcontrollers")
BURST = 500
"""Pods made or deleted in one round."""


class Observed(Struct, frozen=True):
    """`pods` are the active ones that the owner has; `related` counts, by node, pods of its siblings too."""

    owner: Object
    resource: Resource
    pods: list[Object]
    related: Mapping[str, int]


def wanted(owner: Object) -> int:
    replicas = owner["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def manage(observed: Observed, now_s: float) -> list[Action]:
    """Pods to make or to delete."""
    owner, key = observed.owner, key_of(observed.owner)
    missing = wanted(owner) - len(observed.pods)
    if missing > 0:
        pod = pod_rules.from_template(owner["spec"].get("template") or {}, owner, observed.resource)
        return [SlowStart(tuple(Create(PODS, pod, key, owner) for _ in range(min(missing, BURST))))]
    if missing < 0:
        ranked = pod_rules.rank_for_deletion(observed.pods, observed.related, now_s)
        going = ranked[: min(-missing, BURST)]
        return [Together(tuple(Delete(PODS, namespace_of(pod), name_of(pod), uid_of(pod), "", key, owner) for pod in going))]
    return []


def status_of(observed: Observed, failure: str, now_s: float) -> Object:
    """The status as it should be. `failure` says what went wrong in `manage`, or is empty."""
    owner, pods = observed.owner, observed.pods
    before = owner.get("status") or {}
    template_labels = ((owner["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    min_ready_s = owner["spec"].get("minReadySeconds") or 0
    counts = {
        "fullyLabeledReplicas": sum(equals(template_labels, labels_of(pod)) for pod in pods),
        "readyReplicas": sum(map(is_ready, pods)),
        "availableReplicas": sum(is_available(pod, min_ready_s, now_s) for pod in pods),
    }
    status: Object = {"replicas": len(pods), **{name: count for name, count in counts.items() if count}}
    status["observedGeneration"] = owner["metadata"].get("generation", 0)
    conditions = list(before.get("conditions") or ())
    if failure and condition(before, "ReplicaFailure") is None:
        reason = "FailedCreate" if wanted(owner) > len(pods) else "FailedDelete"
        conditions = with_condition(conditions, {"type": "ReplicaFailure", "status": "True", "reason": reason, "message": failure}, to_text(now_s))
    elif not failure:
        conditions = without(conditions, "ReplicaFailure")
    if conditions:
        status["conditions"] = conditions
    return status


def settle_status(observed: Observed, failure: str, now_s: float) -> list[Action]:
    """The status if it changed, and a look again when pods become available by time alone."""
    owner = observed.owner
    status = status_of(observed, failure, now_s)
    actions: list[Action] = []
    if status != (owner.get("status") or {}):
        actions.append(UpdateStatus(observed.resource, {**owner, "status": status}))
    min_ready_s = owner["spec"].get("minReadySeconds") or 0
    if min_ready_s and status.get("readyReplicas", 0) == wanted(owner) != status.get("availableReplicas", 0):
        actions.append(Requeue(float(min_ready_s)))
    return actions


class ReplicaSets(Controller):
    name = "replicaset-controller"
    component = "replicaset-controller"
    resource = REPLICA_SETS
    workers = 5

    def watch(self) -> None:
        self.sets = self.watched(self.resource, self.enqueue)
        self.pods = self.dependents(PODS, self.resource, also=self._wake_adopters)

    def matcher(self, owner: Object) -> Callable[[Object], bool]:
        selector = owner["spec"].get("selector")
        return lambda pod: matches(selector, labels_of(pod))

    async def sync(self, key: str) -> float | None:
        owner = self.sets.get(key)
        if owner is None:
            self.expectations.forget(key)
            return None
        satisfied = self.expectations.satisfied(key)
        candidates = self.pods.by(CONTROLLER, uid_of(owner)) + [
            pod for pod in self.pods.by(CONTROLLER, "") if namespace_of(pod) == namespace_of(owner)
        ]
        claimed = claim(owner, filter(is_active, candidates), self.matcher(owner))
        owned = await settle(self.client, self.resource, owner, PODS, claimed)
        observed = Observed(owner, self.resource, owned, pod_rules.by_node_count(self._related(owner)))
        failed: ApiError | Unreachable | None = None
        if satisfied and not is_terminating(owner):
            try:
                await self.performer.perform(manage(observed, self.context.now_s()))
            except (ApiError, Unreachable) as error:
                failed = error
        again_s = await self.performer.perform(settle_status(observed, str(failed or ""), self.context.now_s()))
        if failed is not None:
            raise failed
        return again_s

    def _related(self, owner: Object) -> list[Object]:
        """Pods of all sets that have the same controller (a deployment's old and new ones): they count where pods stand close together."""
        reference = controller_of(owner)
        siblings = self.sets.by(CONTROLLER, reference["uid"]) if reference is not None else [owner]
        return [pod for sibling in siblings for pod in self.pods.by(CONTROLLER, uid_of(sibling))]

    def _wake_adopters(self, pod: Object) -> None:
        if controller_of(pod) is None and not is_terminating(pod):
            for owner in self.sets.all(namespace_of(pod)):
                if self.matcher(owner)(pod):
                    self.enqueue(owner)


class ReplicationControllers(ReplicaSets):
    """The same rules; the selector is a plain map."""

    name = "replicationcontroller-controller"
    component = "replication-controller"
    resource = REPLICATION_CONTROLLERS

    def matcher(self, owner: Object) -> Callable[[Object], bool]:
        selector: dict[str, Any] = owner["spec"].get("selector") or {}
        return lambda pod: bool(selector) and equals(selector, labels_of(pod))
