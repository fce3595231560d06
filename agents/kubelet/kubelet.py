"""The kubelet: which pods this node has, a worker for each of them, and what belongs to none of them is removed."""

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path

from agents.kit.informer import Informer
from agents.kubelet import admission, logs, pods, static_pods
from agents.kubelet.eviction import Evictions
from agents.kubelet.node import NodeKeeper
from agents.kubelet.pod_worker import Ending, PodWorker, Shared
from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import RuntimeRefused
from agents.kubelet.status import FAILED, SUCCEEDED
from apiserver.client.errors import Unreachable
from apiserver.client.rest import Client
from apiserver.machinery.objects import Object, annotations_of, is_terminating, key_of, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.cogs.logs import fields
from keelson.cogs.tasks import Tasks

log = logging.getLogger("kubelet")

PODS = resource("pods")
HOUSEKEEPING_S = 10.0
MIRROR_S = 10.0


class Kubelet:
    def __init__(self, shared: Shared, pods_informer: Informer, keeper: NodeKeeper, client: Client, manifests: Path | None) -> None:
        self.shared, self._informer, self._keeper, self._client, self._manifests = shared, pods_informer, keeper, client, manifests
        self.workers: dict[str, PodWorker] = {}
        self._tasks: Tasks | None = None
        self._mirrors: dict[str, Object] = {}
        """By namespace/name."""

    async def run(self) -> None:
        async with Tasks("kubelet") as tasks:
            self._tasks = tasks
            if self._manifests is not None:
                await self._read_manifests()
                tasks.serve("manifests", self._keep_manifests())
                tasks.serve("mirrors", self._keep_mirrors())
            await self._informer.synced.wait()
            self._informer.handle(self._added, lambda _, pod: self._added(pod), self._deleted)
            tasks.start("first look", self._look_first(list(self.workers.values())))
            tasks.serve("changes", self._follow_runtime())
            tasks.serve("housekeeping", self._keep_house())
            evictions = Evictions(self.shared, self.workers, self._keeper.look.set)
            tasks.serve("memory", evictions.watch_memory())
            tasks.serve("local storage", evictions.watch_storage())
            await asyncio.Event().wait()

    async def _look_first(self, workers: list[PodWorker]) -> None:
        """The node says how it is when it has seen what became of its pods."""
        for worker in workers:
            await worker.looked.wait()
        self._keeper.look.set()

    # --- where pods come from -----------------------------------------------------------------------------------------

    def _added(self, pod: Object) -> None:
        if pods.is_mirror(pod):
            self._mirrors[key_of(pod)] = pod
            worker = self._static_worker(key_of(pod))
            if worker is not None and annotations_of(pod).get(pods.CONFIG_MIRROR) == worker.uid:
                worker.mirror = pod
                worker.wake()
            return
        worker = self.workers.get(uid_of(pod))
        if worker is not None:
            worker.update(pod)
            return
        self._begin(pod)

    def _deleted(self, pod: Object) -> None:
        if pods.is_mirror(pod):
            self._mirrors.pop(key_of(pod), None)
            worker = self._static_worker(key_of(pod))
            if worker is not None:
                worker.mirror = None
            return
        worker = self.workers.get(uid_of(pod))
        if worker is not None:
            worker.remove()

    def _static_worker(self, key: str) -> PodWorker | None:
        return next((each for each in self.workers.values() if pods.is_static(each.pod) and key_of(each.pod) == key), None)

    def _begin(self, pod: Object) -> None:
        assert self._tasks is not None, "pods come while it runs"
        worker = PodWorker(self.shared, pod)
        if is_terminating(pod):
            worker.update(pod)
        phase = (pod.get("status") or {}).get("phase")
        if phase not in (SUCCEEDED, FAILED) and not is_terminating(pod) and not self._known_to_runtime(pod):
            refused = admission.forbidden_sysctl(pod) or admission.unenforceable(pod)
            if refused is None and self._keeper.node is not None:
                others = [each.pod for each in self.workers.values() if not each.over and each.ending is None]
                refused = admission.refusal(pod, others, self._keeper.node, self._keeper.allocatable)
            if refused is not None:
                self.shared.recorder.event(pod, "Warning", refused[0], refused[1].removeprefix("Pod was rejected: "))
                worker.end(Ending(FAILED, *refused, grace_s=0.0, refused=True))
        self.workers[uid_of(pod)] = worker
        self._tasks.start(f"pod {key_of(pod)}", self._work(worker))

    def _known_to_runtime(self, pod: Object) -> bool:
        """A pod that runs already has been let in by the kubelet that was here before."""
        return uid_of(pod) in self._seen

    _seen: frozenset[str] = frozenset()

    async def _work(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        except Exception:
            # One pod's trouble is no other pod's: it begins anew.
            log.exception("a pod's worker failed", extra=fields(pod=pods.described(worker.pod)))
            await asyncio.sleep(1.0)
            self.workers.pop(worker.uid, None)
            current = self._informer.get(key_of(worker.pod))
            if current is not None and uid_of(current) == worker.uid:
                self._begin(current)
        else:
            self.workers.pop(worker.uid, None)

    # --- static pods --------------------------------------------------------------------------------------------------

    async def _keep_manifests(self) -> None:
        while True:
            await asyncio.sleep(static_pods.CHECK_S)
            await self._read_manifests()

    async def _read_manifests(self) -> None:
        assert self._manifests is not None
        found = {uid_of(pod): pod for pod in await asyncio.to_thread(static_pods.read, self._manifests, self.shared.node.name)}
        going = set()
        for uid, worker in self.workers.items():
            if pods.is_static(worker.pod) and uid not in found:
                worker.remove()
                going.add(key_of(worker.pod))
        for uid, pod in found.items():
            if uid not in self.workers and key_of(pod) not in going:  # its predecessor of the same name goes first
                self._begin(pod)

    async def _keep_mirrors(self) -> None:
        await self._informer.synced.wait()
        while True:
            try:
                await self._mend_mirrors()
            except (ApiError, Unreachable) as error:
                log.error("Failed creating a mirror pod", extra=fields(error=str(error)))
            await asyncio.sleep(MIRROR_S if self._mirrors else 1.0)

    async def _mend_mirrors(self) -> None:
        wanted = {key_of(each.pod): each for each in self.workers.values() if pods.is_static(each.pod) and not each.removed}
        for key, mirror in list(self._mirrors.items()):
            worker = wanted.get(key)
            if worker is None or annotations_of(mirror).get(pods.CONFIG_MIRROR) != worker.uid:
                with contextlib.suppress(ApiError):
                    await self._client.delete(PODS, name_of(mirror), namespace_of(mirror), grace_s=0, uid=uid_of(mirror))
                self._mirrors.pop(key, None)
        for key, worker in wanted.items():
            if key not in self._mirrors:
                try:
                    made = await self._client.create(PODS, static_pods.mirror_of(worker.pod, self._keeper.node), namespace_of(worker.pod))
                except ApiError as error:
                    if error.reason != "AlreadyExists":
                        raise
                    continue
                self._mirrors[key] = made
                worker.mirror = made
                worker.wake()

    # --- the runtime --------------------------------------------------------------------------------------------------

    async def note_what_runs(self) -> None:
        """Before the first pod comes: these need no admission."""
        self._seen = frozenset(each.config.uid for each in await self.shared.runtime.sandboxes())

    async def _follow_runtime(self) -> None:
        async for sandbox_id in self.shared.runtime.changes():
            with contextlib.suppress(RuntimeRefused):  # every worker looks again by itself, and will be told why
                for each in await self.shared.runtime.sandboxes():
                    if each.id == sandbox_id and (worker := self.workers.get(each.config.uid)) is not None:
                        worker.wake()

    async def _keep_house(self) -> None:
        while True:
            try:
                await self._clean_up()
            except (RuntimeRefused, OSError) as error:
                log.error("housekeeping failed", extra=fields(error=str(error)))
            await asyncio.sleep(HOUSEKEEPING_S)

    async def _clean_up(self) -> None:
        runtime = self.shared.runtime
        for sandbox in await runtime.sandboxes():
            if sandbox.config.uid not in self.workers:
                log.info("removing what no pod owns any more", extra=fields(sandbox=sandbox.id, pod=sandbox.config.name))
                for container in await runtime.containers():
                    if container.sandbox_id == sandbox.id and container.state == base.RUNNING:
                        await runtime.stop_container(container.id, 2.0)
                await runtime.remove_sandbox(sandbox.id)
        for uid in self.shared.volumes.kept():
            if uid not in self.workers:
                await asyncio.to_thread(self.shared.volumes.remove, uid)
        if self.shared.node.log_folder.is_dir():
            for folder in self.shared.node.log_folder.iterdir():
                if folder.name.rpartition("_")[2] not in self.workers:
                    await asyncio.to_thread(shutil.rmtree, folder, True)
        for container in await runtime.containers():
            if container.state == base.RUNNING and await asyncio.to_thread(logs.turn_over, Path(container.log_path)):
                await runtime.reopen_log(container.id)
