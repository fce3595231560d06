"""Pods that have to go although nobody deleted them: those that use more of the node's disk than they said, and under pressure (the node has no
memory, or no disk left) one at a time, whoever is farthest beyond what it asked for (kubelet's eviction manager). Critical pods stay.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from msgspec import Struct

from agents.kubelet import local_storage, pods, recipe
from agents.kubelet.local_storage import Used
from agents.kubelet.machine import disk_bytes, memory_bytes
from agents.kubelet.pod_worker import EVICTED, Ending, PodWorker, Shared
from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import RuntimeRefused
from agents.kubelet.status import FAILED
from agents.kubelet.thresholds import Threshold
from apiserver.machinery.objects import Object
from apiserver.machinery.quantity import parse
from keelson.cogs.logs import fields

log = logging.getLogger("kubelet")

MEMORY_S, STORAGE_S = 5.0, 10.0
WORTH_BYTES = 1 << 20
"""A pod that has less on the disk is not evicted for it: nothing would be won."""
FREED_S = 30.0
"""How long the next round waits for what was evicted: upstream's podCleanupTimeout."""
NOTHING = parse("0")


class Scarce(Struct, frozen=True):
    """What a node may run out of. `room`: what is there, what is left. `measure`: what pods have of it."""

    name: str
    threshold: Threshold
    room: Callable[[], tuple[int, int]]
    measure: Callable[[Iterable[PodWorker]], Awaitable[Mapping[PodWorker, Used]]]
    worth_bytes: int = 1

    def shortage(self) -> str:
        """What is told to whom it hits; empty while there is enough."""
        whole, left = self.room()
        if not self.threshold.is_passed(whole, left):
            return ""
        return f"The node was low on resource: {self.name}. Threshold quantity: {self.threshold.text(whole)}, available: {left // 1024}Ki. "

    def blamed(self, pod: Object, used: Used) -> str:
        """Containers that had more than they requested."""
        told = ""
        for container in (*pods.containers(pod), *pods.init_containers(pod)):
            size, requested = used.containers.get(container["name"], 0), pods.quantities(container, "requests").get(self.name, NOTHING)
            if size > requested.value:
                told += f"Container {container['name']} was using {size // 1024}Ki, request is {requested}, has larger consumption of {self.name}. "
        return told


class Evictions:
    """`look`: to be called when the node's conditions have changed."""

    def __init__(self, shared: Shared, workers: Mapping[str, PodWorker], look: Callable[[], None]) -> None:
        self._shared, self._workers, self._look = shared, workers, look
        node = shared.node
        self._memory = Scarce("memory", node.eviction.memory, memory_bytes, self._in_memory)
        self._disk = Scarce(local_storage.RESOURCE, node.eviction.disk, lambda: disk_bytes(node.folder), self._on_disk, WORTH_BYTES)

    async def watch_memory(self) -> None:
        while True:
            await asyncio.sleep(MEMORY_S)
            await self._attempt(self._evict_for(self._memory))

    async def watch_storage(self) -> None:
        while True:
            await asyncio.sleep(STORAGE_S)
            await self._attempt(self._evict_beyond_limits())
            await self._attempt(self._evict_for(self._disk))

    async def _attempt(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (RuntimeRefused, OSError) as error:
            log.error("what pods use could not be measured", extra=fields(error=str(error)))

    def _candidates(self) -> list[PodWorker]:
        return [
            each for each in self._workers.values() if each.ending is None and not each.removed and not each.over and not pods.is_critical(each.pod)
        ]

    # --- limits -------------------------------------------------------------------------------------------------------

    async def _evict_beyond_limits(self) -> None:
        limited = [each for each in self._candidates() if local_storage.is_limited(each.pod)]
        found = [(worker, local_storage.why_evicted(worker.pod, used)) for worker, used in (await self._on_disk(limited)).items()]
        await self._evict({worker: why for worker, why in found if why is not None}, disrupted=False)

    async def _evict(self, whys: Mapping[PodWorker, str], *, disrupted: bool) -> None:
        """Returns when they take nothing of the node any more: what there is then is what decides whether others have to go, too."""
        for worker, why in whys.items():
            worker.end(Ending(FAILED, EVICTED, why, grace_s=0.0, disrupted=disrupted))
        await _freed(whys)

    # --- pressure -----------------------------------------------------------------------------------------------------

    async def _evict_for(self, scarce: Scarce) -> None:
        shortage = scarce.shortage()
        if not shortage:
            return
        self._look()
        if scarce is self._disk and await self._released():
            shortage = scarce.shortage()
            if not shortage:
                return
        found = await scarce.measure(self._candidates())
        used = {worker: local_storage.together(worker.pod, each) for worker, each in found.items()}
        victim = farthest_beyond({worker: size for worker, size in used.items() if size >= scarce.worth_bytes}, scarce.name)
        if victim is not None:
            await self._evict({victim: shortage + scarce.blamed(victim.pod, found[victim])}, disrupted=True)

    async def _released(self) -> bool:
        """What pods that are done have left on the disk goes before anybody who still runs; whether there was any."""
        done = [each for each in self._workers.values() if each.over and not each.freed.is_set() and not pods.is_static(each.pod)]
        for each in done:
            each.release()
        await _freed(done)
        return bool(done)

    # --- measuring ----------------------------------------------------------------------------------------------------

    async def _in_memory(self, workers: Iterable[PodWorker]) -> dict[PodWorker, Used]:
        async def working_set(container: base.Container) -> int:
            return (await self._shared.runtime.usage(container.id)).working_set_bytes or 0 if container.state == base.RUNNING else 0

        return {worker: Used(sizes) for worker, sizes in (await self._of_containers(workers, working_set)).items()}

    async def _on_disk(self, workers: Iterable[PodWorker]) -> dict[PodWorker, Used]:
        async def root(container: base.Container) -> int:
            return await self._shared.runtime.disk_usage(container.id)

        volumes, folder = self._shared.volumes, self._shared.node.log_folder
        return {
            worker: await asyncio.to_thread(local_storage.measured, worker.pod, volumes, folder, roots)
            for worker, roots in (await self._of_containers(workers, root)).items()
        }

    async def _of_containers(
        self, workers: Iterable[PodWorker], measure: Callable[[base.Container], Awaitable[int]]
    ) -> dict[PodWorker, dict[str, int]]:
        """Bytes by container's name, of each of the pods. A container that goes meanwhile counts for nothing, and stops nobody."""
        by_uid = {worker.uid: worker for worker in workers}
        found: dict[PodWorker, dict[str, int]] = {worker: {} for worker in by_uid.values()}
        for container in await self._shared.runtime.containers() if by_uid else ():
            worker = by_uid.get(container.labels.get(recipe.POD_UID, ""))
            if worker is not None:
                with contextlib.suppress(RuntimeRefused):
                    found[worker][container.name] = found[worker].get(container.name, 0) + await measure(container)
        return found


async def _freed(workers: Iterable[PodWorker]) -> None:
    """At most as long as upstream waits."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FREED_S):
            for each in workers:
                await each.freed.wait()


def farthest_beyond(used: Mapping[PodWorker, int], name: str) -> PodWorker | None:
    """Those first that use more than they requested, of them the least important, of them who uses most beyond."""

    def rank(worker: PodWorker) -> tuple[bool, int, int]:
        over = used[worker] - pods.requested(worker.pod, name).value
        return (over <= 0, int(worker.pod["spec"].get("priority") or 0), -over)

    return min(used, key=rank, default=None)
