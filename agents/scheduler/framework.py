"""The extension points of the scheduling framework and what plug-ins answer (k8s.io/kube-scheduler/framework, `interface.go`).

A plug-in overrides the points that it has something to say at; `has` finds them. None means success everywhere: it is by far the commonest answer,
and costs nothing to make. Everything up to Reserve is pure: a cycle is a function of a pod and a snapshot. What must be written for a
chosen node (PreBind, Bind) is done by the shell through `Hands`.

Score and NormalizeScore take all feasible nodes at once: a plug-in then looks at the pod once and runs one loop, which is what makes a cycle over
hundreds of nodes fast in Python.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from msgspec import Struct

from apiserver.machinery.objects import Object, labels_of, uid_of

if TYPE_CHECKING:
    from agents.scheduler.nodeinfo import NodeInfo
    from agents.scheduler.podinfo import PodInfo
    from agents.scheduler.snapshot import Snapshot

SCORE_MAX = 100
"""MaxNodeScore: the best that a plug-in may say of a node after NormalizeScore."""


class Code(IntEnum):
    SUCCESS = 0
    ERROR = 1
    """Not the pod's fault: it is tried again after its back-off."""
    UNSCHEDULABLE = 2
    """Not now; evicting other pods might help."""
    UNRESOLVABLE = 3
    """UnschedulableAndUnresolvable: evicting other pods does not help."""
    WAIT = 4
    """Permit: the pod waits for an approval."""
    SKIP = 5
    """PreFilter, PreScore: the plug-in's Filter or Score has nothing to say about this pod. Bind: another plug-in may bind."""
    PENDING = 6
    """Unschedulable until something outside the scheduler happens; no back-off when it does."""


class Status(Struct, frozen=True):
    code: Code
    reasons: tuple[str, ...] = ()
    plugin: str = ""

    @property
    def message(self) -> str:
        return ", ".join(self.reasons)

    @property
    def rejected(self) -> bool:
        """Whether the pod, and not the machinery, is why it does not go on."""
        return self.code in (Code.UNSCHEDULABLE, Code.UNRESOLVABLE, Code.PENDING)


SKIP = Status(Code.SKIP)


class ClusterEvent(Struct, frozen=True):
    """Something that happened in the cluster, as far as it may make a pod schedulable."""

    resource: str
    """Qualified plural: `nodes`, `pods`, `persistentvolumes`, `storageclasses.storage.k8s.io`, ..., or `*`."""
    action: str
    """add, update, delete, or `*`."""

    def covers(self, other: "ClusterEvent") -> bool:
        return self.resource in ("*", other.resource) and self.action in ("*", other.action)


Hint = Callable[["PodInfo", Object | None, Object | None], bool]
"""A queueing hint: whether an event (old object, new object) may make the pod schedulable. Wrongly True costs a cycle, wrongly False five minutes."""


def always(pod: "PodInfo", old: Object | None, new: Object | None) -> bool:
    return True


def own_pod(pod: "PodInfo", old: Object | None, new: Object | None) -> bool:
    """The waiting pod itself was changed."""
    return new is not None and uid_of(new) == pod.uid


def placement_changed(pod: "PodInfo", old: Object | None, new: Object | None) -> bool:
    """A pod came, went, or has other labels: not one whose status alone changed, which happens all the time."""
    return old is None or new is None or labels_of(old) != labels_of(new) or uid_of(new) == pod.uid


def node_changed(pod: "PodInfo", old: Object | None, new: Object | None) -> bool:
    """A node came, went, or has other labels or taints: not one whose status alone changed."""
    return old is None or new is None or labels_of(old) != labels_of(new) or old.get("spec") != new.get("spec")


ANY_EVENT = ClusterEvent("*", "*")


class CycleState:
    """What plug-ins remember from one extension point to the next for one pod. A value with a `clone` method is cloned with the state: preemption
    tries what would be if pods went."""

    __slots__ = ("nodes", "nodes_by", "skipped_filters", "skipped_scores", "values")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.skipped_filters: set[str] = set()
        self.skipped_scores: set[str] = set()
        self.nodes: set[str] | None = None
        """PreFilterResult: the only nodes that can come into question; None for all."""
        self.nodes_by: set[str] = set()
        """The plug-ins that narrowed `nodes`."""

    def narrow(self, names: Iterable[str], plugin: str) -> None:
        chosen = set(names)
        self.nodes = chosen if self.nodes is None else self.nodes & chosen
        self.nodes_by.add(plugin)

    def clone(self) -> "CycleState":
        other = CycleState()
        other.values = {key: value.clone() if hasattr(value, "clone") else value for key, value in self.values.items()}
        other.skipped_filters, other.skipped_scores = self.skipped_filters, self.skipped_scores
        other.nodes, other.nodes_by = self.nodes, self.nodes_by
        return other


class Hands(Protocol):
    """What PreBind and Bind may do to the cluster."""

    async def bind(self, pod: "PodInfo", node: str) -> None: ...

    async def patch(self, resource: str, namespace: str, name: str, patch: Object) -> Object: ...

    async def wait_until(self, settled: Callable[[], bool | None], timeout_s: float) -> bool:
        """Waits until `settled()` says True (None or False: not yet), asked again whenever volumes or claims change."""


class Plugin:
    """Base of all plug-ins: it says nothing anywhere."""

    name: ClassVar[str] = ""
    events: Sequence[tuple[ClusterEvent, Hint]] = ()
    """What may cure a rejection by this plug-in (EnqueueExtensions)."""

    def pre_enqueue(self, pod: "PodInfo") -> Status | None:
        """A status keeps the pod out of the active queue."""
        return None

    def sort_key(self, pod: "PodInfo", added_at: float) -> Any:
        """QueueSort: smaller comes first."""
        raise NotImplementedError

    def pre_filter(self, state: CycleState, pod: "PodInfo", snapshot: "Snapshot") -> Status | None:
        """Once per pod, before Filter. A rejection is for all nodes; SKIP: Filter need not be asked."""
        return None

    def filter(self, state: CycleState, pod: "PodInfo", node: "NodeInfo") -> Status | None:
        """Whether the pod can run there."""
        return None

    def pod_added(self, state: CycleState, pod: "PodInfo", other: "PodInfo", node: "NodeInfo") -> None:
        """PreFilterExtensions.AddPod: `other` is supposed to run on `node` as well."""

    def pod_removed(self, state: CycleState, pod: "PodInfo", other: "PodInfo", node: "NodeInfo") -> None:
        """PreFilterExtensions.RemovePod."""

    def pre_score(self, state: CycleState, pod: "PodInfo", snapshot: "Snapshot", nodes: Sequence["NodeInfo"]) -> Status | None:
        return None

    def score(self, state: CycleState, pod: "PodInfo", nodes: Sequence["NodeInfo"]) -> list[int]:
        """One number for each node, in any range if `normalize` brings it into 0 to SCORE_MAX."""
        raise NotImplementedError

    def normalize(self, state: CycleState, pod: "PodInfo", nodes: Sequence["NodeInfo"], scores: list[int]) -> list[int]:
        return scores

    def reserve(self, state: CycleState, pod: "PodInfo", node: str, snapshot: "Snapshot") -> Status | None:
        """The node is chosen: take in the snapshot what the pod will need."""
        return None

    def unreserve(self, state: CycleState, pod: "PodInfo", node: str, snapshot: "Snapshot") -> None:
        """It came to nothing: give it back. Called for every plug-in, even if its `reserve` was not."""

    def permit(self, state: CycleState, pod: "PodInfo", node: str) -> tuple[Status | None, float]:
        """WAIT with a time-out in seconds holds the binding back."""
        return None, 0.0

    async def pre_bind(self, state: CycleState, pod: "PodInfo", node: str, hands: Hands) -> Status | None:
        return None

    async def bind(self, state: CycleState, pod: "PodInfo", node: str, hands: Hands) -> Status | None:
        return SKIP

    def post_bind(self, state: CycleState, pod: "PodInfo", node: str) -> None:
        """The pod is bound: for the record only."""


def has(plugin: Plugin, point: str) -> bool:
    """Whether the plug-in says anything at an extension point."""
    return getattr(type(plugin), point) is not getattr(Plugin, point)


def normalized(scores: list[int], reverse: bool = False) -> list[int]:
    """Scales to 0..SCORE_MAX by the largest; `reverse` turns the best into the worst (plugins/helper/normalize_score.go)."""
    largest = max(scores, default=0)
    if largest == 0:
        return [SCORE_MAX] * len(scores) if reverse else scores
    if reverse:
        return [SCORE_MAX - SCORE_MAX * score // largest for score in scores]
    return [SCORE_MAX * score // largest for score in scores]
