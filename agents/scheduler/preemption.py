"""Preemption: which pods of lower priority must go so that a pod finds a node (framework/preemption, plugins/defaultpreemption). Pure.

On each node that refused in a way that evictions may cure: all pods of lower priority are thought away; if the pod then fits, they are given back one
by one, those first whose eviction a disruption budget forbids and of those the more important first, as long as the pod still fits. What could not be
given back are the victims. Of all nodes the one is chosen whose victims hurt least.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from agents.scheduler.framework import Code, CycleState, Plugin, Status
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot
from agents.scheduler.terms import label_matcher
from apiserver.machinery.objects import Object

if TYPE_CHECKING:
    from agents.scheduler.profiles import Profile

NO_VICTIMS = "No preemption victims found for incoming pod"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
BY_SCHEDULER = "PreemptionByScheduler"
PRIORITY_OFFSET = 1 << 31
"""Makes the priorities of victims positive, so that fewer victims are better even if their priorities are negative."""


class RunFilters(Protocol):
    def __call__(
        self, asked: Sequence[Plugin], profile: "Profile", state: CycleState, pod: PodInfo, node: NodeInfo, snapshot: Snapshot, /
    ) -> Status | None: ...


class Preempt(Struct):
    """What is known when no node would do."""

    profile: "Profile"
    state: CycleState
    pod: PodInfo
    snapshot: Snapshot
    statuses: Mapping[str, Status]
    absent: Status
    """What is said of nodes that are not in `statuses`."""
    run_filters: RunFilters


class Victims(Struct):
    node: str
    pods: list[PodInfo]
    """The more important first."""
    violations: int
    """How many of them a disruption budget would have kept."""


class Outcome(Struct):
    victims: Victims | None = None
    message: str = ""
    clear_nomination: bool = False


def may_preempt(asked: Preempt) -> str:
    """Why not, or empty (PodEligibleToPreemptOthers)."""
    pod = asked.pod
    if (pod.pod.get("spec") or {}).get("preemptionPolicy") == "Never":
        return "not eligible due to preemptionPolicy=Never."
    if pod.nominated_node:
        status = asked.statuses.get(pod.nominated_node, asked.absent)
        if status.code is Code.UNRESOLVABLE:
            return ""
        node = asked.snapshot.nodes.get(pod.nominated_node)
        for other in node.pods.values() if node is not None else ():
            if other.priority < pod.priority and _terminating_for_preemption(other):
                return "not eligible due to a terminating pod on the nominated node."
    return ""


def _terminating_for_preemption(pod: PodInfo) -> bool:
    if not pod.terminating:
        return False
    conditions = (pod.pod.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "DisruptionTarget" and each.get("status") == "True" and each.get("reason") == BY_SCHEDULER for each in conditions)


def find_victims(asked: Preempt, candidates_max: int, start: int) -> tuple[list[Victims], dict[str, Status]]:
    """Nodes where evictions would help, at most so many, and what the others said. `start` is the first to be looked at: not always the same pays."""
    potential = [node for node in asked.snapshot.order if asked.statuses.get(node.name, asked.absent).code is Code.UNSCHEDULABLE]
    found: list[Victims] = []
    said: dict[str, Status] = {}
    budgets = list(asked.snapshot.listed["poddisruptionbudgets.policy"].values())
    for position in range(len(potential)):
        node = potential[(start + position) % len(potential)]
        result = victims_on(asked, node, budgets)
        if isinstance(result, Victims):
            found.append(result)
            # One that violates no budget is wanted among the candidates.
            if len(found) >= candidates_max and any(not each.violations for each in found):
                break
        else:
            said[node.name] = result
    return found, said


def victims_on(asked: Preempt, node: NodeInfo, budgets: Sequence[Object]) -> Victims | Status:
    """The pods that must leave one node (SelectVictimsOnNode)."""
    pod, profile = asked.pod, asked.profile
    lower = sorted((each for each in node.pods.values() if each.priority < pod.priority), key=importance)
    if not lower:
        return Status(Code.UNRESOLVABLE, (NO_VICTIMS,))
    state, supposed = asked.state.clone(), node.clone()
    shifted = [plugin for plugin in profile.shifted if plugin.name not in state.skipped_filters]
    filters = [plugin for plugin in profile.filter if plugin.name not in state.skipped_filters]

    def take_away(other: PodInfo) -> None:
        supposed.remove_pod(other)
        for plugin in shifted:
            plugin.pod_removed(state, pod, other, supposed)

    def fits_with(other: PodInfo) -> bool:
        supposed.add_pod(other)
        for plugin in shifted:
            plugin.pod_added(state, pod, other, supposed)
        if asked.run_filters(filters, profile, state, pod, supposed, asked.snapshot) is None:
            return True
        take_away(other)
        return False

    for other in lower:
        take_away(other)
    status = asked.run_filters(filters, profile, state, pod, supposed, asked.snapshot)
    if status is not None:
        return status
    violating, free = by_budgets(lower, budgets)
    kept_out = [other for other in violating if not fits_with(other)]
    violations = len(kept_out)
    kept_out += [other for other in free if not fits_with(other)]
    return Victims(node.name, sorted(kept_out, key=importance), violations)


def importance(pod: PodInfo) -> tuple[int, str]:
    """Sorts the more important first: priority, then who runs longer (MoreImportantPod). Pods that have not started come last of their priority."""
    return (-pod.priority, pod.start_time or "~")


def by_budgets(pods: Sequence[PodInfo], budgets: Sequence[Object]) -> tuple[list[PodInfo], list[PodInfo]]:
    """Those whose eviction a budget forbids, given that all before them go, and the others (filterPodsWithPDBViolation)."""
    left = [(each.get("status") or {}).get("disruptionsAllowed") or 0 for each in budgets]
    matchers = [label_matcher((each.get("spec") or {}).get("selector")) for each in budgets]
    violating: list[PodInfo] = []
    free: list[PodInfo] = []
    for pod in pods:
        violates = False
        for index, budget in enumerate(budgets):
            if not pod.labels or budget["metadata"].get("namespace") != pod.namespace:
                continue
            selector = (budget.get("spec") or {}).get("selector")
            if not selector or not matchers[index](pod.labels):
                continue
            if pod.name in ((budget.get("status") or {}).get("disruptedPods") or {}):
                continue
            left[index] -= 1
            violates = violates or left[index] < 0
        (violating if violates else free).append(pod)
    return violating, free


def best(candidates: Sequence[Victims]) -> Victims:
    """The node whose victims hurt least (pickOneNodeForPreemption): fewest violated budgets, lowest highest priority, lowest sum of priorities,
    fewest victims, latest start of the most important; then the first."""
    for each in candidates:
        if not each.pods:
            return each
    return min(candidates, key=_hurt)


def _hurt(victims: Victims) -> tuple[int, int, int, int, "_Later"]:
    highest = max(each.priority for each in victims.pods)
    earliest = min(each.start_time or "~" for each in victims.pods if each.priority == highest)
    total = sum(each.priority + PRIORITY_OFFSET for each in victims.pods)
    return (victims.violations, highest, total, len(victims.pods), _Later(earliest))


class _Later:
    """Sorts later times first."""

    __slots__ = ("time",)

    def __init__(self, time: str) -> None:
        self.time = time

    def __lt__(self, other: "_Later") -> bool:
        return self.time > other.time

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Later) and self.time == other.time

    __hash__ = None  # type: ignore[assignment]
