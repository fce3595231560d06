"""How many pods may be disrupted at the moment: the status of PodDisruptionBudgets (pkg/controller/disruption)."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

from msgspec import Struct

from agents.controllers.pods import PODS, is_ready
from agents.kit.actions import NORMAL, WARNING, Action, Event, Requeue, UpdateStatus
from agents.kit.controller import Controller
from agents.kit.selection import matches
from agents.kit.times import to_seconds, to_text
from apiserver.machinery.conditions import with_condition
from apiserver.machinery.objects import Object, controller_of, is_terminating, labels_of, name_of, namespace_of
from apiserver.machinery.resources import resource

BUDGETS = resource("poddisruptionbudgets.policy")
DELETION_TIMEOUT_S = 120.0
"""An eviction was granted: if the pod is not deleted by then, it counts as healthy again."""
SCALED = {
    "ReplicaSet": resource("replicasets.apps"),
    "Deployment": resource("deployments.apps"),
    "StatefulSet": resource("statefulsets.apps"),
    "ReplicationController": resource("replicationcontrollers"),
}


class CannotCount(Exception):
    """How many pods there should be cannot be found out; the budget then allows no disruption."""


class Counts(Struct, frozen=True):
    expected: int
    desired_healthy: int


Scale = Callable[[Object], tuple[str, int] | None]
"""The controller that decides a pod's number, by uid, and that number; None: no such controller."""


def scaled(value: int | str, total: int) -> int:
    """A number, or a percentage of `total` rounded up. Raises CannotCount."""
    if isinstance(value, int):
        return value
    digits = value.removesuffix("%")
    if digits == value or not digits.isdigit():
        raise CannotCount(f'invalid value "{value}": neither a number nor a percentage')
    return ceil(total * int(digits) / 100)


def expected_scale(pods: Sequence[Object], scale: Scale) -> int:
    """The sum over the controllers of the pods, each once. Raises CannotCount."""
    controllers: dict[str, int] = {}
    for pod in pods:
        found = scale(pod)
        if found is None:
            raise CannotCount(f'found no controllers for pod "{name_of(pod)}"')
        controllers[found[0]] = found[1]
    return sum(controllers.values())


def counts(budget: Object, pods: Sequence[Object], scale: Scale) -> Counts:
    """How many pods there should be, and how many of them healthy. Raises CannotCount."""
    spec = budget.get("spec") or {}
    if spec.get("maxUnavailable") is not None:
        expected = expected_scale(pods, scale)
        return Counts(expected, max(expected - scaled(spec["maxUnavailable"], expected), 0))
    minimum = spec.get("minAvailable")
    if minimum is None:
        return Counts(0, 0)
    if isinstance(minimum, int):
        return Counts(len(pods), minimum)
    expected = expected_scale(pods, scale)
    return Counts(expected, scaled(minimum, expected))


class Disrupted(Struct, frozen=True):
    """Evictions that were granted and are not seen yet: time of each by pod name. `late` were never carried out; `next_s`: when the next is late."""

    pods: Mapping[str, str]
    late: list[Object]
    next_s: float | None


def disrupted_pods(budget: Object, pods: Sequence[Object], now_s: float) -> Disrupted:
    given = (budget.get("status") or {}).get("disruptedPods") or {}
    kept: dict[str, str] = {}
    late: list[Object] = []
    next_s: float | None = None
    for pod in pods:
        when = given.get(name_of(pod))
        if when is None or is_terminating(pod):
            continue
        left_s = to_seconds(when) + DELETION_TIMEOUT_S - now_s
        if left_s <= 0:
            late.append(pod)
        else:
            kept[name_of(pod)] = when
            next_s = left_s if next_s is None else min(next_s, left_s)
    return Disrupted(kept, late, next_s)


def status_of(budget: Object, pods: Sequence[Object], found: Counts, disrupted: Mapping[str, str], now: str) -> Object:
    healthy = sum(1 for pod in pods if is_ready(pod) and not is_terminating(pod) and name_of(pod) not in disrupted)
    allowed = max(healthy - found.desired_healthy, 0) if found.expected > 0 else 0
    status: Object = {
        "observedGeneration": budget["metadata"].get("generation", 0),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": found.desired_healthy,
        "expectedPods": found.expected,
    }
    if disrupted:
        status["disruptedPods"] = dict(disrupted)
    reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    status["conditions"] = _condition(budget, *reason, "", now)
    return status


def fail_safe(budget: Object, why: str, now: str) -> Object:
    """The status as it was, but nothing may be disrupted."""
    status = dict(budget.get("status") or {})
    status |= {"disruptionsAllowed": 0, "observedGeneration": budget["metadata"].get("generation", 0)}
    for field in ("currentHealthy", "desiredHealthy", "expectedPods"):
        status.setdefault(field, 0)
    status["conditions"] = _condition(budget, "False", "SyncFailed", why, now)
    return status


def _condition(budget: Object, status: str, reason: str, message: str, now: str) -> list[Object]:
    new = {
        "type": "DisruptionAllowed",
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": budget["metadata"].get("generation", 0),
    }
    before = (budget.get("status") or {}).get("conditions") or ()
    kept = with_condition(before, new, now)
    # Same status and reason: only what it is about moves on.
    return [{**each, "observedGeneration": new["observedGeneration"], "message": message} if each["type"] == new["type"] else each for each in kept]


class Disruptions(Controller):
    name = "disruption-controller"
    component = "controllermanager"

    def watch(self) -> None:
        self.budgets = self.watched(BUDGETS, self.enqueue)
        self.pods = self.watched(PODS)
        self.pods.handle(add=self._wake, update=self._changed, delete=self._wake)
        self.scaled = {kind: self.watched(each) for kind, each in SCALED.items()}
        for informer in self.scaled.values():
            informer.handle(update=self._rescaled)

    def _wake(self, pod: Object) -> None:
        for budget in self.budgets.all(namespace_of(pod)):
            if _selects(budget, pod):
                self.enqueue(budget)

    def _changed(self, old: Object, new: Object) -> None:
        self._wake(new)
        if labels_of(old) != labels_of(new):
            self._wake(old)

    def _rescaled(self, old: Object, new: Object) -> None:
        if (old.get("spec") or {}).get("replicas") != (new.get("spec") or {}).get("replicas"):
            for budget in self.budgets.all(namespace_of(new)):
                self.enqueue(budget)

    def scale(self, pod: Object) -> tuple[str, int] | None:
        """A ReplicaSet of a Deployment is as large as the Deployment says."""
        found = self._owner(pod)
        if found is not None and found.get("kind", "ReplicaSet") == "ReplicaSet":
            found = self._owner(found) or found
        if found is None:
            return None
        replicas = (found.get("spec") or {}).get("replicas")
        return found["metadata"]["uid"], 1 if replicas is None else int(replicas)

    def _owner(self, obj: Object) -> Object | None:
        reference = controller_of(obj)
        if reference is None or reference.get("kind") not in self.scaled:
            return None
        found = self.scaled[reference["kind"]].get(f"{namespace_of(obj)}/{reference['name']}")
        return found if found is not None and found["metadata"]["uid"] == reference["uid"] else None

    def reconcile(self, key: str) -> Sequence[Action]:
        budget = self.budgets.get(key)
        if budget is None:
            return []
        now_s = self.context.now_s()
        now = to_text(now_s)
        pods = [pod for pod in self.pods.all(namespace_of(budget)) if _selects(budget, pod)]
        actions: list[Action] = []
        if not pods:
            actions.append(Event(budget, NORMAL, "NoPods", "No matching pods found"))
        disrupted = disrupted_pods(budget, pods, now_s)
        for pod in disrupted.late:
            told = f"Pod was expected by PDB {key} to be deleted but it wasn't"
            actions.append(Event(pod, WARNING, "NotDeleted", told))
        try:
            status = status_of(budget, pods, counts(budget, pods, self.scale), disrupted.pods, now)
        except CannotCount as error:
            told = f"Failed to calculate the number of expected pods: {error}"
            actions.append(Event(budget, WARNING, "CalculateExpectedPodCountFailed", told))
            status = fail_safe(budget, str(error), now)
        if status != (budget.get("status") or {}):
            actions.append(UpdateStatus(BUDGETS, {**budget, "status": status}))
        if disrupted.next_s is not None:
            actions.append(Requeue(disrupted.next_s))
        return actions


def _selects(budget: Object, pod: Object) -> bool:
    selector: Mapping[str, Any] | None = (budget.get("spec") or {}).get("selector")
    return matches(selector, labels_of(pod))
