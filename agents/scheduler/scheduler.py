"""The shell around the cycle: informers feed snapshot and queue, one loop decides pod after pod, and bindings go on beside it.

    informer -> snapshot (pods with a node, nodes, ...) \\
             -> queue (pods without one)                  -> cycle.decide -> Placed   -> assume -> binding (a task)
                                                                          -> Rejected -> event, condition, victims -> queue

A pod that is placed counts on its node at once (`snapshot.assume`); the next cycle does not wait until the API server has taken the binding.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from agents.kit.actions import NORMAL, WARNING
from agents.kit.informer import Informers
from agents.kit.performer import Recorder
from agents.scheduler.binder import TRUNCATED_AT, Binder, condition_patch
from agents.scheduler.cycle import Cycle, Decision, Placed, Rejected
from agents.scheduler.framework import ClusterEvent, Code, CycleState
from agents.scheduler.metrics import ERROR, SCHEDULED, UNSCHEDULABLE, Metrics
from agents.scheduler.podinfo import PodInfo, is_finished
from agents.scheduler.profiles import Profile
from agents.scheduler.queue import Queued, SchedulingQueue
from agents.scheduler.snapshot import LISTED, Snapshot
from apiserver.client.errors import Unreachable
from apiserver.client.rest import Client
from apiserver.machinery.objects import Object, labels_of, name_of, uid_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.cogs.logs import fields
from keelson.cogs.tasks import Tasks

log = logging.getLogger(__name__)

BINDINGS_MAX = 64
"""Bindings under way at once; the loop waits when there are more, so that a slow API server is not asked ever more."""
FLUSH_S = 30.0
"""How often pods are looked for that nothing has happened for in five minutes."""
VOLUMES = ("persistentvolumes", "persistentvolumeclaims")


class Scheduler:
    """`now_s` is the time of day, `monotonic_s` a clock that never goes back; `chance(n)` a number below n."""

    def __init__(
        self,
        client: Client,
        profiles: Mapping[str, Profile],
        recorder: Callable[[str], Recorder],
        *,
        now_s: Callable[[], float],
        monotonic_s: Callable[[], float],
        chance: Callable[[int], int],
    ) -> None:
        self.profiles = profiles
        self.snapshot = Snapshot()
        self.queue = SchedulingQueue(profiles)
        self.cycle = Cycle(chance)
        self.binder = Binder(client)
        self.metrics = Metrics(self.queue, self.snapshot)
        self._now_s, self._monotonic_s = now_s, monotonic_s
        self._recorders = {name: recorder(name) for name in profiles}
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(BINDINGS_MAX)
        self._tasks: Tasks | None = None

    # --- what informers tell ------------------------------------------------------------------------------------------

    def follow(self, informers: Informers) -> None:
        informers.of(resource("pods")).handle(self.pod_added, self.pod_updated, self.pod_deleted)
        informers.of(resource("nodes")).handle(
            lambda node: self.node_set(None, node), self.node_set, lambda node: self.node_removed(name_of(node), node)
        )
        for name in LISTED:
            self._follow(informers, name)

    def _follow(self, informers: Informers, name: str) -> None:
        def put(old: Object | None, new: Object) -> None:
            self.snapshot.set_object(name, new)
            self._happened(ClusterEvent(name, "add" if old is None else "update"), old, new)

        def removed(obj: Object) -> None:
            self.snapshot.remove_object(name, obj)
            self._happened(ClusterEvent(name, "delete"), obj, None)

        informers.of(resource(name)).handle(lambda obj: put(None, obj), put, removed)

    def _happened(self, event: ClusterEvent, old: Object | None, new: Object | None) -> None:
        if event.resource in VOLUMES:
            self.binder.changed()
        if self.queue.happened(event, old, new, self._monotonic_s()):
            self._woken.set()

    def node_set(self, old: Object | None, node: Object) -> None:
        self.snapshot.set_node(node)
        if old is not None and _same_for_pods(old, node):
            return
        self._happened(ClusterEvent("nodes", "add" if old is None else "update"), old, node)

    def node_removed(self, name: str, node: Object) -> None:
        self.snapshot.remove_node(name)
        self._happened(ClusterEvent("nodes", "delete"), node, None)

    def pod_added(self, pod: Object) -> None:
        self.pod_updated(None, pod)

    def pod_updated(self, old: Object | None, pod: Object) -> None:
        info = PodInfo(pod)
        if info.node_name:
            self._bound_pod(old, pod, info)
        elif info.uid in self.snapshot.assumed and info.uid not in self.queue.pods:
            # Its binding was answered before the informer has seen it: this is what the pod was before.
            return
        elif info.scheduler_name in self.profiles and not is_finished(pod) and not info.terminating:
            if info.nominated_node:
                self.snapshot.nominate(info, info.nominated_node)
            elif old is not None and (old.get("status") or {}).get("nominatedNodeName"):
                self.snapshot.unnominate(info.uid)
            self.queue.update(info, self._monotonic_s())
            self._woken.set()
        else:
            self._not_ours(info.uid)

    def _bound_pod(self, old: Object | None, pod: Object, info: PodInfo) -> None:
        was_bound = old is not None and bool((old.get("spec") or {}).get("nodeName"))
        self.queue.delete(info.uid)
        self.snapshot.unnominate(info.uid)
        self.snapshot.set_pod(info)
        if is_finished(pod):
            if was_bound and old is not None and not is_finished(old):
                self._happened(ClusterEvent("pods", "delete"), old, None)
        elif was_bound:
            if old is not None and labels_of(old) == labels_of(pod) and old.get("spec") == pod.get("spec"):
                return
            self._happened(ClusterEvent("pods", "update"), old, pod)
        else:
            self._happened(ClusterEvent("pods", "add"), None, pod)

    def _not_ours(self, uid: str) -> None:
        self.queue.delete(uid)
        self.snapshot.unnominate(uid)

    def pod_deleted(self, pod: Object) -> None:
        uid = uid_of(pod)
        self._not_ours(uid)
        counted = uid in self.snapshot.pods
        self.snapshot.remove_pod(uid)
        if counted:
            self._happened(ClusterEvent("pods", "delete"), pod, None)

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled. The informers have their first state when this is called."""
        async with Tasks("scheduler") as tasks:
            self._tasks = tasks
            tasks.serve("flush", self._flush())
            while True:
                await self._slots.acquire()
                try:
                    queued = await self._next()
                except BaseException:
                    self._slots.release()
                    raise
                self.schedule_one(queued)
                # Whoever waits (informers, bindings) gets a turn between two pods.
                await asyncio.sleep(0)

    async def _next(self) -> Queued:
        while True:
            self._woken.clear()
            queued = self.queue.pop(self._monotonic_s())
            if queued is not None:
                return queued
            due = self.queue.next_due()
            try:
                async with asyncio.timeout(None if due is None else max(due - self._monotonic_s(), 0.001)):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self.queue.flush_forgotten(self._monotonic_s())
            self._woken.set()

    def schedule_one(self, queued: Queued) -> None:
        """One cycle; what follows from it becomes a task, which gives the slot back."""
        assert self._tasks is not None
        pod, began = queued.pod, self._monotonic_s()
        profile = self.profiles[pod.scheduler_name]
        decision = self._decide(profile, pod)
        if isinstance(decision, Placed):
            refused = self._take(profile, decision.state, pod, decision.node)
            if refused is None:
                self._tasks.start(f"binding of {pod.key}", self._bind(profile, queued, decision, began))
                return
            decision = Rejected(refused, frozenset(), error=True)
        took_s = self._monotonic_s() - began
        self.metrics.attempt(ERROR if decision.error else UNSCHEDULABLE, profile.name, took_s)
        self._put_back(queued, decision)
        self._tasks.start(f"failure of {pod.key}", self._tell_failure(pod, decision))

    def _decide(self, profile: Profile, pod: PodInfo) -> Decision:
        """A pod on which a plug-in breaks must not keep the others from being scheduled, now or after a restart."""
        try:
            return self.cycle.decide(profile, pod, self.snapshot)
        except Exception as error:
            log.exception("a plugin failed", extra=fields(pod=pod.key))
            return Rejected(f"running the plugins failed: {type(error).__name__}: {error}", frozenset(), error=True)

    def _take(self, profile: Profile, state: CycleState, pod: PodInfo, node: str) -> str | None:
        """Reserve and Permit; the message of who refused, with everything given back."""
        self.snapshot.assume(pod, node)
        for plugin in profile.reserve:
            status = plugin.reserve(state, pod, node, self.snapshot)
            if status is not None and status.code is not Code.SUCCESS:
                self._give_back(profile, state, pod, node)
                return status.message
        for plugin in profile.permit:
            status, _ = plugin.permit(state, pod, node)
            if status is not None and status.code is not Code.SUCCESS:
                self._give_back(profile, state, pod, node)
                return "waiting at Permit is not supported" if status.code is Code.WAIT else status.message
        self.snapshot.unnominate(pod.uid)
        return None

    def _give_back(self, profile: Profile, state: CycleState, pod: PodInfo, node: str) -> None:
        for plugin in reversed(profile.reserve):
            plugin.unreserve(state, pod, node, self.snapshot)
        self.snapshot.forget(pod.uid)

    def _put_back(self, queued: Queued, decision: Rejected) -> None:
        pod = queued.pod
        if decision.victims is not None:
            # From now on the room that the victims leave is kept for it.
            self.snapshot.nominate(pod, decision.victims.node)
        elif decision.clear_nomination:
            self.snapshot.unnominate(pod.uid)
        self.queue.reject(queued, decision.plugins, self._monotonic_s(), error=decision.error)

    # --- writing ------------------------------------------------------------------------------------------------------

    async def _bind(self, profile: Profile, queued: Queued, placed: Placed, began: float) -> None:
        pod, node = queued.pod, placed.node
        try:
            failure = await self._bound(profile, placed.state, pod, node)
            if failure is None:
                self.queue.done(pod.uid)
                now = self._monotonic_s()
                self.metrics.attempt(SCHEDULED, profile.name, now - began)
                self.metrics.scheduled(queued.attempts, now - queued.first_added_at)
                self._recorders[profile.name].event(pod.pod, NORMAL, "Scheduled", f"Successfully assigned {pod.key} to {node}")
                for plugin in profile.post_bind:
                    plugin.post_bind(placed.state, pod, node)
                return
            self.metrics.attempt(ERROR, profile.name, self._monotonic_s() - began)
            self._give_back(profile, placed.state, pod, node)
            log.warning("binding failed", extra=fields(pod=pod.key, node=node, error=failure))
            decision = Rejected(failure, frozenset(), error=True)
            self._put_back(queued, decision)
            # For the others it is as if the pod had been deleted.
            self._happened(ClusterEvent("pods", "delete"), {**pod.pod, "spec": {**pod.pod.get("spec", {}), "nodeName": node}}, None)
            self._woken.set()
            await self._told(pod, decision)
        finally:
            self._slots.release()

    async def _bound(self, profile: Profile, state: CycleState, pod: PodInfo, node: str) -> str | None:
        """PreBind and Bind. Why it failed, or None."""
        try:
            for plugin in profile.pre_bind:
                status = await plugin.pre_bind(state, pod, node, self.binder)
                if status is not None and status.code is not Code.SUCCESS:
                    return status.message
            for plugin in profile.bind:
                status = await plugin.bind(state, pod, node, self.binder)
                if status is None or status.code is not Code.SKIP:
                    return None if status is None else status.message
        except (ApiError, Unreachable) as error:
            return f"binding rejected: {error}"
        except Exception as error:
            log.exception("a plugin failed", extra=fields(pod=pod.key, node=node))
            return f"running the plugins failed: {type(error).__name__}: {error}"
        return "no plugin has bound it"

    async def _tell_failure(self, pod: PodInfo, decision: Rejected) -> None:
        try:
            await self._told(pod, decision)
        finally:
            self._slots.release()

    async def _told(self, pod: PodInfo, decision: Rejected) -> None:
        """Event, condition and nomination; then the victims go. What cannot be written is tried again at the next attempt."""
        recorder = self._recorders[pod.scheduler_name]
        recorder.event(pod.pod, WARNING, "FailedScheduling", decision.message[:TRUNCATED_AT])
        victims = decision.victims
        nominated = victims.node if victims is not None else "" if decision.clear_nomination else None
        reason = "SchedulerError" if decision.error else "Unschedulable"
        try:
            patch = condition_patch(pod.pod, reason, decision.message, self._now_s(), nominated)
            if patch is not None:
                await self.binder.write_status(pod, patch)
            if victims is not None:
                self.metrics.preemption_attempts += 1
                self.metrics.victims.observe(float(len(victims.pods)))
                for victim in victims.pods:
                    if await self.binder.evict(victim, pod.scheduler_name, self._now_s()):
                        recorder.event(victim.pod, NORMAL, "Preempted", f"Preempted by pod {pod.uid} on node {victims.node}")
        except (ApiError, Unreachable) as error:
            log.warning("could not say why a pod is not scheduled", extra=fields(pod=pod.key, error=str(error)))


def _same_for_pods(old: Object, new: Object) -> bool:
    """Whether a node offers what it did. Heartbeats change its status all the time, and are no reason to look at every waiting pod."""
    before, now = (old.get("status") or {}).get("allocatable"), (new.get("status") or {}).get("allocatable")
    return labels_of(old) == labels_of(new) and old.get("spec") == new.get("spec") and before == now
