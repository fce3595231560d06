"""Pods that wait to be scheduled (backend/queue/scheduling_queue.go). Pure: times come in as arguments, seconds of any one clock.

* active: the next to be tried is on top, by the profile's queueSort (priority, then time).
* back-off: tried in vain, and since then something happened that may help; they wait 1 s after the first failure, twice as long after each further
  one, 10 s at most.
* unschedulable: tried in vain, and nothing happened since. A cluster event moves those to active or back-off that a plug-in, which refused them,
  says it may help (queueing hints); after five minutes they are tried without any.
* gated: kept out by PreEnqueue. Only a change of the pod itself moves them.
"""

import heapq
from collections.abc import Mapping
from enum import Enum
from typing import Any

from agents.scheduler.framework import ClusterEvent, Hint, Plugin, Status
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.profiles import Profile
from apiserver.machinery.objects import Object

BACKOFF_INITIAL_S = 1.0
BACKOFF_MAX_S = 10.0
UNSCHEDULABLE_MAX_S = 300.0


class Place(Enum):
    ACTIVE = "active"
    BACKOFF = "backoff"
    UNSCHEDULABLE = "unschedulable"
    GATED = "gated"
    IN_FLIGHT = "in flight"
    """Popped: a cycle or a binding is at work on it."""


class Queued:
    """A pod in the queue, with its history."""

    __slots__ = ("added_at", "attempts", "failures", "first_added_at", "moves_seen", "place", "pod", "refused_by", "since", "turn")

    def __init__(self, pod: PodInfo, now: float) -> None:
        self.pod = pod
        self.place = Place.IN_FLIGHT
        self.first_added_at = now
        self.added_at = now
        """When it came into the queue last; its rank among pods of equal priority."""
        self.since = now
        """When it came to its place."""
        self.attempts = 0
        self.failures = 0
        """Attempts that found no node: what back-off counts."""
        self.refused_by: frozenset[str] = frozenset()
        self.moves_seen = 0
        """How many events there had been when it was popped."""
        self.turn = 0
        """Which entry of the heaps is the valid one."""


class SchedulingQueue:
    def __init__(
        self, profiles: Mapping[str, Profile], *, backoff_initial_s: float = BACKOFF_INITIAL_S, backoff_max_s: float = BACKOFF_MAX_S
    ) -> None:
        self.profiles = profiles
        self.backoff_initial_s, self.backoff_max_s = backoff_initial_s, backoff_max_s
        self.pods: dict[str, Queued] = {}
        """Everything that waits or is in flight, by uid."""
        self._active: list[tuple[Any, int, str, int]] = []
        self._backoff: list[tuple[float, int, str, int]] = []
        self._count = 0
        self.moves = 0
        self._hints: dict[str, list[tuple[ClusterEvent, str, Hint]]] = {}
        for profile in profiles.values():
            listed = self._hints.setdefault(profile.name, [])
            for plugin in profile.plugins:
                listed += [(event, plugin.name, hint) for event, hint in plugin.events]
        self._sizes: dict[Place, int] = dict.fromkeys(Place, 0)
        self._unschedulable: dict[str, Queued] = {}
        """Those of `pods` that wait for an event, in the order in which they began to."""

    def __len__(self) -> int:
        return len(self.pods)

    def size(self, place: Place) -> int:
        return self._sizes[place]

    # --- in and out ---------------------------------------------------------------------------------------------------

    def add(self, pod: PodInfo, now: float) -> None:
        """A new pod without a node."""
        assert pod.uid not in self.pods
        queued = Queued(pod, now)
        self.pods[pod.uid] = queued
        self._sizes[Place.IN_FLIGHT] += 1
        self._enter(queued, now)

    def update(self, pod: PodInfo, now: float) -> None:
        """Another version of a pod. What it says of itself may cure what it was refused for."""
        queued = self.pods.get(pod.uid)
        if queued is None:
            self.add(pod, now)
            return
        old, queued.pod = queued.pod, pod
        if queued.place is Place.GATED:
            self._enter(queued, now)
        elif queued.place is Place.UNSCHEDULABLE and _changed(old, pod):
            if self._helps(queued, ClusterEvent("pods", "update"), old.pod, pod.pod):
                self._move(queued, now)
        elif queued.place is Place.ACTIVE and old.priority != pod.priority:
            self._place(queued, Place.ACTIVE, now)

    def delete(self, uid: str) -> None:
        queued = self.pods.pop(uid, None)
        if queued is not None:
            self._sizes[queued.place] -= 1
            self._unschedulable.pop(uid, None)

    def pop(self, now: float) -> Queued | None:
        """The next to be tried, in flight from now on; None if there is none at this moment."""
        self.flush(now)
        while self._active:
            _, _, uid, turn = heapq.heappop(self._active)
            queued = self.pods.get(uid)
            if queued is not None and queued.turn == turn:
                queued.attempts += 1
                queued.moves_seen = self.moves
                self._place(queued, Place.IN_FLIGHT, now)
                return queued
        return None

    def done(self, uid: str) -> None:
        """It is bound, or not ours any more."""
        self.delete(uid)

    def reject(self, queued: Queued, plugins: frozenset[str], now: float, *, error: bool = False) -> None:
        """A popped pod found no node. If something happened while it was tried, it is tried again after its back-off, because that might have
        helped; so it is after an error, which nothing in the cluster will cure."""
        if self.pods.get(queued.pod.uid) is not queued:
            return
        queued.failures += 1
        queued.refused_by = plugins
        queued.added_at = now
        if error or self.moves != queued.moves_seen:
            self._place(queued, Place.BACKOFF, now)
        else:
            self._place(queued, Place.UNSCHEDULABLE, now)

    # --- what happens meanwhile ---------------------------------------------------------------------------------------

    def happened(self, event: ClusterEvent, old: Object | None, new: Object | None, now: float) -> int:
        """Moves the pods that the event may help. Returns how many."""
        self.moves += 1
        helped = [each for each in self._unschedulable.values() if self._helps(each, event, old, new)]
        for queued in helped:
            self._move(queued, now)
        return len(helped)

    def activate(self, uid: str, now: float) -> None:
        """Tried at once, whatever it was refused for: its own victims are gone."""
        queued = self.pods.get(uid)
        if queued is not None and queued.place in (Place.UNSCHEDULABLE, Place.BACKOFF):
            self._place(queued, Place.ACTIVE, now)

    def flush(self, now: float) -> None:
        """Back-offs that are over, and pods that nothing has happened for in five minutes."""
        while self._backoff and self._backoff[0][0] <= now:
            _, _, uid, turn = heapq.heappop(self._backoff)
            queued = self.pods.get(uid)
            if queued is not None and queued.turn == turn:
                self._place(queued, Place.ACTIVE, now)

    def flush_forgotten(self, now: float) -> None:
        """Called now and then (upstream: every 30 s)."""
        for queued in list(self._unschedulable.values()):
            if now - queued.since > UNSCHEDULABLE_MAX_S:
                self._move(queued, now)

    def next_due(self) -> float | None:
        """When the next back-off ends."""
        return self._backoff[0][0] if self._backoff else None

    def backoff_s(self, queued: Queued) -> float:
        if not queued.failures:
            return 0.0
        return float(min(self.backoff_initial_s * 2 ** min(queued.failures - 1, 30), self.backoff_max_s))

    # --- places -------------------------------------------------------------------------------------------------------

    def _enter(self, queued: Queued, now: float) -> None:
        gate = self.gate(queued.pod)
        if gate is not None:
            queued.refused_by = frozenset((gate.plugin,))
            self._place(queued, Place.GATED, now)
        else:
            self._place(queued, Place.ACTIVE, now)

    def gate(self, pod: PodInfo) -> Status | None:
        for plugin in self._profile(pod).pre_enqueue:
            status = plugin.pre_enqueue(pod)
            if status is not None:
                return status
        return None

    def _profile(self, pod: PodInfo) -> Profile:
        return self.profiles[pod.scheduler_name]

    def _move(self, queued: Queued, now: float) -> None:
        waited = now - queued.since
        self._place(queued, Place.BACKOFF if waited < self.backoff_s(queued) else Place.ACTIVE, now)

    def _helps(self, queued: Queued, event: ClusterEvent, old: Object | None, new: Object | None) -> bool:
        if not queued.refused_by:
            return True
        for registered, plugin, hint in self._hints[queued.pod.scheduler_name]:
            if plugin in queued.refused_by and registered.covers(event) and hint(queued.pod, old, new):
                return True
        return False

    def _place(self, queued: Queued, place: Place, now: float) -> None:
        self._sizes[queued.place] -= 1
        self._sizes[place] += 1
        queued.turn += 1
        self._count += 1
        if place is Place.ACTIVE:
            sort: Plugin = self._profile(queued.pod).sort
            heapq.heappush(self._active, (sort.sort_key(queued.pod, queued.added_at), self._count, queued.pod.uid, queued.turn))
        elif place is Place.BACKOFF:
            # Counted from the failure, not from the event.
            began = queued.since if queued.place is Place.UNSCHEDULABLE else now
            heapq.heappush(self._backoff, (began + self.backoff_s(queued), self._count, queued.pod.uid, queued.turn))
        queued.place = place
        queued.since = now
        if place is Place.UNSCHEDULABLE:
            self._unschedulable[queued.pod.uid] = queued
        else:
            self._unschedulable.pop(queued.pod.uid, None)


def _changed(old: PodInfo, new: PodInfo) -> bool:
    """In anything but the status, the version and who manages which field."""
    return bool(_essence(old.pod) != _essence(new.pod))


def _essence(pod: Object) -> Any:
    metadata = {key: value for key, value in (pod.get("metadata") or {}).items() if key not in ("resourceVersion", "managedFields", "generation")}
    return metadata, pod.get("spec")
