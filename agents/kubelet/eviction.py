"""Pods that have to go although nobody deleted them: those that use more of the node's disk than they said, and under pressure (the node has no
memory, or no disk left) one at a time, whoever is farthest beyond what it asked for (kubelet's eviction manager). Critical pods stay.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from agents.kubelet import local_storage, pods, recipe
from agents.kubelet.local_storage import Used
from agents.kubelet.pod_worker import Ending, PodWorker, Shared
from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import RuntimeRefused
from agents.kubelet.status import FAILED
from keelson.cogs.logs import fields

log = logging.getLogger("kubelet")

MEMORY_S, STORAGE_S = 5.0, 10.0
WORTH_BYTES = 1 << 20
"""A pod that has less on the disk is not evicted for it: nothing would be won."""


def memory_bytes() -> tuple[int, int]:
    """Of the machine: what is there, what is left."""
    found = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(found["MemTotal"].split()[0]) * 1024, int(found["MemAvailable"].split()[0]) * 1024


def disk_bytes(folder: Path) -> tuple[int, int]:
    """Of the file system: what is there, what is left."""
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


class Evictions:
    """`look`: to be called when the node's conditions have changed."""

    def __init__(self, shared: Shared, workers: Mapping[str, PodWorker], look: Callable[[], None]) -> None:
        self._shared, self._workers, self._look = shared, workers, look
        self._thresholds = shared.node.eviction

    async def watch_memory(self) -> None:
        while True:
            await asyncio.sleep(MEMORY_S)
            whole, left = memory_bytes()
            if left >= self._thresholds.memory.bytes_of(whole):
                continue
            self._look()
            try:
                await self._evict_for_memory(whole, left)
            except RuntimeRefused as error:
                log.error("nothing can be evicted", extra=fields(error=str(error)))

    async def watch_storage(self) -> None:
        while True:
            await asyncio.sleep(STORAGE_S)
            try:
                await self._evict_beyond_limits()
                await self._evict_for_disk()
            except (RuntimeRefused, OSError) as error:
                log.error("local storage could not be measured", extra=fields(error=str(error)))

    def _candidates(self) -> list[PodWorker]:
        return [
            each for each in self._workers.values() if each.ending is None and not each.removed and not each.over and not pods.is_critical(each.pod)
        ]

    async def _containers(self, worker: PodWorker) -> list[base.Container]:
        return [each for each in await self._shared.runtime.containers() if each.labels.get(recipe.POD_UID) == worker.uid]

    # --- memory -------------------------------------------------------------------------------------------------------

    async def _evict_for_memory(self, whole: int, left: int) -> None:
        used: dict[str, int] = {}
        for worker in self._candidates():
            for container in await self._containers(worker):
                if container.state == base.RUNNING:
                    usage = await self._shared.runtime.usage(container.id)
                    used[worker.uid] = used.get(worker.uid, 0) + (usage.working_set_bytes or 0)
        victim = farthest_beyond(self._candidates(), used, "memory")
        if victim is not None:
            text = (
                f"{_low('memory', self._thresholds.memory.text(whole), left)} "
                f"Container {pods.containers(victim.pod)[0]['name']} was using more than it requested. "
            )
            victim.end(Ending(FAILED, "Evicted", text, grace_s=0.0))

    # --- disk ---------------------------------------------------------------------------------------------------------

    async def _used(self, worker: PodWorker) -> Used:
        roots: dict[str, int] = {}
        for container in await self._containers(worker):
            with contextlib.suppress(RuntimeRefused):  # removed meanwhile
                roots[container.name] = roots.get(container.name, 0) + await self._shared.runtime.disk_usage(container.id)
        return await asyncio.to_thread(local_storage.measured, worker.pod, self._shared.volumes, self._shared.node.log_folder, roots)

    async def _evict_beyond_limits(self) -> None:
        for worker in self._candidates():
            if local_storage.is_limited(worker.pod):
                why = local_storage.why_evicted(worker.pod, await self._used(worker))
                if why is not None:
                    worker.end(Ending(FAILED, "Evicted", why, grace_s=0.0))

    async def _evict_for_disk(self) -> None:
        whole, left = disk_bytes(self._shared.node.folder)
        if left >= self._thresholds.disk.bytes_of(whole):
            return
        self._look()
        found = {worker.uid: await self._used(worker) for worker in self._candidates()}
        used = {uid: local_storage.on_disk(self._workers[uid].pod, each) for uid, each in found.items() if uid in self._workers}
        victim = farthest_beyond(self._candidates(), {uid: size for uid, size in used.items() if size >= WORTH_BYTES}, local_storage.RESOURCE)
        if victim is not None:
            most = max(found[victim.uid].containers.items(), key=lambda each: each[1])
            text = (
                f"{_low(local_storage.RESOURCE, self._thresholds.disk.text(whole), left)} "
                f"Container {most[0]} was using {most[1] // 1024}Ki, request is {pods.requested(victim.pod, local_storage.RESOURCE)}, "
                "has larger consumption of ephemeral-storage. "
            )
            victim.end(Ending(FAILED, "Evicted", text, grace_s=0.0))


def _low(name: str, threshold: str, left: int) -> str:
    return f"The node was low on resource: {name}. Threshold quantity: {threshold}, available: {left // 1024}Ki."


def farthest_beyond(candidates: list[PodWorker], used: Mapping[str, int], name: str) -> PodWorker | None:
    """Those first that use more than they requested, of them the least important, of them who uses most beyond. Who uses nothing helps nobody."""

    def rank(worker: PodWorker) -> tuple[bool, int, int]:
        over = used[worker.uid] - pods.requested(worker.pod, name).value
        return (over <= 0, int(worker.pod["spec"].get("priority") or 0), -over)

    return min((each for each in candidates if used.get(each.uid)), key=rank, default=None)
