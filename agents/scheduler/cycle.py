"""One scheduling cycle: a pod and the snapshot in, a decision out (schedule_one.go). Pure: `chance` is the caller's.

What is said when no node will do is Kubernetes' own wording, which people and tools search for:

    0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. preemption: 0/3 nodes are available: ...
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from agents.scheduler.diagnosis import fit_error
from agents.scheduler.framework import Code, CycleState, Plugin, Status
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.preemption import Preempt, Victims
from agents.scheduler.profiles import Profile
from agents.scheduler.snapshot import Snapshot

FEASIBLE_MIN = 100
"""So many feasible nodes are looked for however large the cluster is (minFeasibleNodesToFind)."""
PERCENTAGE_MIN = 5
NO_NODES = "no nodes available to schedule pods"

Chance = Callable[[int], int]
"""A number from 0 up to (not including) the argument; chooses among nodes of equal score."""


class Placed(Struct):
    """The pod goes to `node`. `evaluated` and `feasible`: how many nodes were looked at, and would do."""

    node: str
    state: CycleState
    evaluated: int
    feasible: int
    scores: dict[str, int] = {}
    """Weighted sums by node, where there was a choice."""


class Rejected(Struct):
    """No node will do now. `plugins` are those that refused: what may cure them decides when the pod is tried again."""

    message: str
    plugins: frozenset[str]
    victims: Victims | None = None
    """Pods whose eviction makes room on a node; None: no such node."""
    clear_nomination: bool = False
    """A node nominated before is of no use any more."""
    error: bool = False
    """A fault of ours and not of the pod."""
    statuses: Mapping[str, Status] = {}


Decision = Placed | Rejected


def nodes_to_find(total: int, percentage: int) -> int:
    """How many feasible nodes are enough (numFeasibleNodesToFind): 0 means adaptive, from 50 % of a small cluster down to 5 % of a huge one."""
    if total < FEASIBLE_MIN or percentage >= 100:
        return total
    if not percentage:
        percentage = max(50 - total // 125, PERCENTAGE_MIN)
    return max(total * percentage // 100, FEASIBLE_MIN)


class Cycle:
    """The cycles of one scheduler. It remembers one thing: from which node on the next pod looks, so that all get their turn."""

    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        self.next_start = 0

    def decide(self, profile: Profile, pod: PodInfo, snapshot: Snapshot) -> Decision:
        nodes = snapshot.order
        if not nodes:
            return Rejected(NO_NODES, frozenset())
        state = CycleState()
        refused = pre_filter(profile, state, pod, snapshot)
        if refused is not None:
            if not refused.rejected:
                return Rejected(refused.message, frozenset((refused.plugin,)), error=True)
            return self._post_filter(profile, state, pod, snapshot, {}, refused)
        feasible, statuses, evaluated = self._filter(profile, state, pod, snapshot)
        if not feasible:
            return self._post_filter(profile, state, pod, snapshot, statuses, None)
        if len(feasible) == 1:
            return Placed(feasible[0].name, state, evaluated, 1)
        totals = score(profile, state, pod, snapshot, feasible)
        best = max(totals)
        ties = [node for node, total in zip(feasible, totals, strict=True) if total == best]
        chosen = ties[self.chance(len(ties))] if len(ties) > 1 else ties[0]
        scores = {node.name: total for node, total in zip(feasible, totals, strict=True)}
        return Placed(chosen.name, state, evaluated, len(feasible), scores)

    def _filter(self, profile: Profile, state: CycleState, pod: PodInfo, snapshot: Snapshot) -> tuple[list[NodeInfo], dict[str, Status], int]:
        nodes: Sequence[NodeInfo] = snapshot.order
        if state.nodes is not None:
            nodes = [node for node in nodes if node.name in state.nodes]
        asked = [plugin for plugin in profile.filter if plugin.name not in state.skipped_filters]
        if pod.nominated_node:
            # Room was made for it there: if it is still free, nothing else need be looked at.
            nominated = snapshot.nodes.get(pod.nominated_node)
            eligible = nominated is not None and nominated.node is not None and (state.nodes is None or nominated.name in state.nodes)
            if nominated is not None and eligible and run_filters(asked, profile, state, pod, nominated, snapshot) is None:
                return [nominated], {}, 1
        statuses: dict[str, Status] = {}
        feasible: list[NodeInfo] = []
        wanted = nodes_to_find(len(nodes), profile.percentage_of_nodes_to_score)
        start = self.next_start % len(nodes) if nodes else 0
        evaluated = 0
        for node in _from(nodes, start):
            evaluated += 1
            status = run_filters(asked, profile, state, pod, node, snapshot)
            if status is None:
                feasible.append(node)
                if len(feasible) == wanted:
                    break
            else:
                statuses[node.name] = status
        if nodes:
            self.next_start = (start + evaluated) % len(nodes)
        return feasible, statuses, evaluated

    def _post_filter(
        self, profile: Profile, state: CycleState, pod: PodInfo, snapshot: Snapshot, statuses: dict[str, Status], refused: Status | None
    ) -> Rejected:
        total = len(snapshot.order)
        if refused is not None:
            absent = Status(Code.UNRESOLVABLE if refused.code is not Code.UNSCHEDULABLE else Code.UNSCHEDULABLE)
            plugins = frozenset((refused.plugin,))
        else:
            absent = Status(Code.UNRESOLVABLE, (f"node(s) didn't satisfy plugin(s) [{' '.join(sorted(state.nodes_by))}]",) if state.nodes_by else ())
            plugins = frozenset(each.plugin for each in statuses.values()) | state.nodes_by
            broken = next((each for each in statuses.values() if each.code is Code.ERROR), None)
            if broken is not None:
                return Rejected(broken.message, plugins, error=True)
        message = fit_error(total, statuses, absent, "" if refused is None else refused.message)
        rejected = Rejected(message, plugins, statuses=statuses)
        for plugin in profile.post_filter:
            found = plugin.post_filter(Preempt(profile, state, pod, snapshot, statuses, absent, run_filters), self.chance)
            rejected.victims, rejected.clear_nomination = found.victims, found.clear_nomination
            if found.message:
                rejected.message += f" preemption: {found.message}"
        return rejected


def _from(nodes: Sequence[NodeInfo], start: int) -> Iterable[NodeInfo]:
    yield from nodes[start:]
    yield from nodes[:start]


def pre_filter(profile: Profile, state: CycleState, pod: PodInfo, snapshot: Snapshot) -> Status | None:
    """The refusal for all nodes, if there is one."""
    for plugin in profile.pre_filter:
        status = plugin.pre_filter(state, pod, snapshot)
        if status is None:
            continue
        if status.code is Code.SKIP:
            state.skipped_filters.add(plugin.name)
        else:
            return status
    return None


def run_filters(asked: Sequence[Plugin], profile: Profile, state: CycleState, pod: PodInfo, node: NodeInfo, snapshot: Snapshot) -> Status | None:
    """The first refusal. Pods of no lower priority that are nominated to the node count as if they ran there; and since they may end elsewhere, the
    node must do without them as well (RunFilterPluginsWithNominatedPods)."""
    nominated = snapshot.nominated.get(node.name)
    if nominated:
        equal_or_higher = [each for each in nominated.values() if each.priority >= pod.priority and each.uid != pod.uid and each.uid not in node.pods]
        if equal_or_higher:
            with_them, supposed = state.clone(), node.clone()
            for other in equal_or_higher:
                supposed.add_pod(other)
                for plugin in profile.shifted:
                    if plugin.name not in state.skipped_filters:
                        plugin.pod_added(with_them, pod, other, supposed)
            status = _first_refusal(asked, with_them, pod, supposed)
            if status is not None:
                return status
    return _first_refusal(asked, state, pod, node)


def _first_refusal(asked: Sequence[Plugin], state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
    for plugin in asked:
        status = plugin.filter(state, pod, node)
        if status is not None:
            return status
    return None


def score(profile: Profile, state: CycleState, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> list[int]:
    """The weighted sum for each node."""
    for plugin in profile.pre_score:
        status = plugin.pre_score(state, pod, snapshot, nodes)
        if status is not None and status.code is Code.SKIP:
            state.skipped_scores.add(plugin.name)
    totals = [0] * len(nodes)
    for plugin, weight in profile.score:
        if plugin.name in state.skipped_scores:
            continue
        found = plugin.normalize(state, pod, nodes, plugin.score(state, pod, nodes))
        totals = [total + weight * each for total, each in zip(totals, found, strict=True)]
    return totals
