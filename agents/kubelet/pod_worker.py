"""One pod's life on this node, from its first appearance to its last trace: a loop that looks at what is wanted and what there is, does what `plan`
says, and tells the API server.

    setting up   volumes, sandbox, init containers, containers
    running      restarts, probes, volumes kept up to date
    ending       deleted, refused, evicted, past its deadline, or all done: containers stopped in grace, sandbox down, last status told
    over         of an API pod that was deleted: deleted for good; of one that is done: its last dead containers stay until it is deleted or the
                 disk is full; of one that was evicted: nothing stays but its status
    gone         everything of it removed

Nothing is remembered that cannot be seen again: a kubelet that is restarted finds sandbox and containers at the runtime, and goes on.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Mapping
from math import inf
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from agents.kit.events import Recorder
from agents.kit.informer import Informer
from agents.kit.times import to_seconds
from agents.kubelet import leftovers, logs, pods, recipe
from agents.kubelet.environment import ConfigError, Sources, environment
from agents.kubelet.images import ImageProblem, Images
from agents.kubelet.plan import Crashes, Observed, next_crash, pause_left_s, plan
from agents.kubelet.probes import LIVENESS, READINESS, STARTUP, Asker, Prober, Verdict, probes_of, target_of
from agents.kubelet.references import Remembered
from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import Mount, Runtime, RuntimeRefused
from agents.kubelet.status import FAILED, SUCCEEDED, Seen, Waiting, patch, pod_status
from agents.kubelet.thresholds import Thresholds
from agents.kubelet.volumes import VolumeError, Volumes, hosts_file, mounts_of, node_hosts_file
from apiserver.client.errors import Unreachable
from apiserver.client.rest import STRATEGIC, Client
from apiserver.machinery.objects import Object, is_terminating, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.cogs.logs import fields
from keelson.cogs.tasks import Tasks, TaskSet

log = logging.getLogger("kubelet")

PODS = resource("pods")
RESYNC_S = 60.0
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 30.0
LEAST_GRACE_S = 2.0
"""What a container has after a preStop hook that took all of its grace."""
MESSAGE_BYTES_MAX, FALLBACK_BYTES_MAX, FALLBACK_LINES_MAX = 4096, 2048, 80

EVICTED = "Evicted"

T = TypeVar("T")


class Node(Struct):
    """What workers need to know of their node. `allocatable` and the rest are filled in when they are known."""

    name: str
    ip: str
    folder: Path
    log_folder: Path
    dns: recipe.Dns
    allocatable: dict[str, str] = {}
    memory_bytes: int = 0
    seccomp_default: bool = False
    pids_limit: int = 0
    """Of a pod; 0: none."""
    eviction: Thresholds = Thresholds()

    @property
    def profiles(self) -> recipe.Profiles:
        return recipe.Profiles(str(self.folder / "seccomp"), self.seccomp_default)


class Shared(Struct):
    """What all workers of a kubelet use together."""

    client: Client
    runtime: Runtime
    recorder: Recorder
    services: Informer
    remembered: Remembered
    volumes: Volumes
    images: Images
    asker: Asker
    node: Node


class NotCreated(RuntimeRefused):
    """The runtime did not take a container as it is described: another start will not help, but what it names on the node may come."""


class Ending(Struct):
    """Why a pod ends although nobody deleted it, and how long its containers have. `refused`: it never began, and shows no containers."""

    phase: str
    reason: str = ""
    message: str = ""
    grace_s: float | None = None
    refused: bool = False
    disrupted: bool = False
    """It did nothing wrong: the node was short of something (what a job's podFailurePolicy may not count)."""

    @property
    def frees(self) -> bool:
        """Whether it ended for what it took of the node: nothing of it stays there."""
        return self.reason == EVICTED


class PodWorker:
    def __init__(self, shared: Shared, pod: Object) -> None:
        self.shared = shared
        self.pod = pod
        """As the API server (or the file) has it."""
        self.mirror: Object | None = None
        self.ending: Ending | None = None
        self.removed = False
        """The API server (or the folder of static pods) does not have it any more."""
        self.over = False
        self.looked = asyncio.Event()
        """It has been looked at once, by this kubelet."""
        self.gone = asyncio.Event()
        self.freed = asyncio.Event()
        """It has ended and takes nothing of the node any more."""
        self.pod_ip = ""
        self._seen: Object | None = None
        self._unwanted = False
        self._wake = asyncio.Event()
        self._deleted = asyncio.Event()
        self._waiting: dict[str, Waiting] = {}
        self._crashes: dict[str, Crashes] = {}
        self._started: set[str] = set()
        self._ready: set[str] = set()
        """Containers, by id: startup probe passed, readiness good."""
        self._recall(pod)
        self._unhealthy: dict[str, str] = {}
        self._probers: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._tasks = TaskSet(f"pod {namespace_of(pod)}/{name_of(pod)}")
        self._retry_s = RETRY_FIRST_S

    @property
    def uid(self) -> str:
        return uid_of(self.pod)

    @property
    def status(self) -> Object:
        """As this kubelet saw it last, or another one before it."""
        return self._seen or (self.mirror or self.pod).get("status") or {}

    def _recall(self, pod: Object) -> None:
        """What the kubelet before us knew of containers that run on: a restart of the kubelet alone makes no container unready."""
        for each in pods.told_statuses(pod):
            container_id = str(each.get("containerID") or "").rpartition("://")[2]
            if each.get("started"):
                self._started.add(container_id)
            if each.get("ready"):
                self._ready.add(container_id)

    # --- what others tell ---------------------------------------------------------------------------------------------

    def update(self, pod: Object) -> None:
        """A newer state of it."""
        self.pod = pod
        if is_terminating(pod):
            self._deleted.set()
        self.wake()

    def remove(self) -> None:
        self.removed = True
        self._deleted.set()
        self.wake()

    def end(self, ending: Ending) -> None:
        if self.ending is None:
            self.ending = ending
            self._deleted.set()
            self.wake()

    def release(self) -> None:
        """The node needs the room: what a pod that is done has left goes (`freed`), its logs with it."""
        self._unwanted = True
        self.wake()

    def wake(self) -> None:
        self._wake.set()

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until nothing of the pod is left."""
        try:
            while not self.gone.is_set():
                self._wake.clear()
                wait_s = await self._look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
        finally:
            await self._tasks.close()

    async def _look(self) -> float:
        """One round; how long until the next one, if nothing happens before."""
        try:
            wait_s = await self._round()
        except (ApiError, Unreachable, RuntimeRefused, OSError) as error:
            log.warning("error syncing pod, skipping", extra=fields(pod=pods.described(self.pod), error=str(error)))
            self._retry_s = min(self._retry_s * 2, RETRY_MAX_S)
            return self._retry_s
        finally:
            self.looked.set()
        self._retry_s = RETRY_FIRST_S
        return wait_s

    async def _round(self) -> float:
        if self.removed or is_terminating(self.pod) or self.ending is not None:
            return await self._finish()
        told = self.pod.get("status") or {}
        if told.get("phase") in (SUCCEEDED, FAILED) and not pods.is_static(self.pod):
            self.ending = Ending(told["phase"], told.get("reason") or "", told.get("message") or "")
            self.over = True
            return await self._finish()
        if self._deadline_left_s() <= 0:
            text = "Pod was active on the node longer than the specified deadline"
            self._event("Normal", "DeadlineExceeded", text)
            self.ending = Ending(FAILED, "DeadlineExceeded", text)
            return await self._finish()
        return await self._advance()

    def _deadline_left_s(self) -> float:
        """Until activeDeadlineSeconds are over; endless without one."""
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        started_s = to_seconds((self.pod.get("status") or {}).get("startTime"))
        return inf if limit is None or not started_s else started_s + int(limit) - time.time()

    # --- setting up and running ---------------------------------------------------------------------------------------

    async def _advance(self) -> float:
        shared, pod = self.shared, self.pod
        history = await self._history()
        sandbox = await self._sandbox()
        found = plan(pod, self._observed(history, sandbox))
        if found.done:
            self.ending = Ending(FAILED if found.failed else SUCCEEDED)
            return await self._finish()
        await shared.remembered.refresh(pod)
        places = await self._volumes()
        if places is None:
            await self._tell(history)
            return RETRY_FIRST_S
        if found.sandbox:
            await self._new_sandbox()
            return 0.0
        assert sandbox is not None, "a pod without a sandbox gets one first"
        self.pod_ip = sandbox.ip or (shared.node.ip if pods.host_network(pod) else "")
        self._keep_probing(history, sandbox.id)
        for kill in found.kill:
            await self._restart(kill.container_id, kill.name, kill.message)
        for name in found.start:
            if self._deleted.is_set():
                return 0.0
            await self._start(name, history, sandbox.id, places)
        for name, left_s in found.waiting.items():
            self._wait_out(name, left_s, history)
        if found.start or found.kill:
            history = await self._history()
            self._keep_probing(history, sandbox.id)
        await self._tell(history)
        await self._collect(history)
        waits = [RESYNC_S, self._deadline_left_s(), *found.waiting.values(), *(self._image_pause_s(name) for name in self._waiting)]
        if found.start and not self._waiting:
            return 0.0 if pods.init_containers(pod) else min(waits)
        return max(min(waits), 0.05)

    def _image_pause_s(self, name: str) -> float:
        container = pods.container_named(self.pod, name)
        left_s = self.shared.images.pause_left_s(container["image"]) if container is not None else 0.0
        waiting = self._waiting[name]
        return RETRY_FIRST_S if waiting.reason in ("CreateContainerConfigError", "CreateContainerError") else left_s or RESYNC_S

    async def _history(self) -> dict[str, list[base.Container]]:
        """The pod's containers by name, oldest first."""
        found: dict[str, list[base.Container]] = {}
        for each in await self.shared.runtime.containers():
            if each.labels.get(recipe.POD_UID) == self.uid:
                found.setdefault(each.name, []).append(each)
        for containers in found.values():
            containers.sort(key=lambda each: (each.attempt, each.created_ns))
        return found

    async def _sandboxes(self) -> list[base.Sandbox]:
        found = [each for each in await self.shared.runtime.sandboxes() if each.config.uid == self.uid]
        return sorted(found, key=lambda each: each.config.attempt)

    async def _sandbox(self) -> base.Sandbox | None:
        """The newest, if it is ready."""
        found = await self._sandboxes()
        return found[-1] if found and found[-1].state == base.SANDBOX_READY else None

    def _observed(self, history: Mapping[str, list[base.Container]], sandbox: base.Sandbox | None) -> Observed:
        latest = {name: each[-1] for name, each in history.items()}
        unhealthy = {name: self._unhealthy[each.id] for name, each in latest.items() if each.id in self._unhealthy}
        for container in pods.long_running(self.pod):
            running = latest.get(container["name"])
            if running is not None and running.state == base.RUNNING and running.annotations.get(recipe.HASH) != recipe.spec_hash(container):
                unhealthy[container["name"]] = f"Container {container['name']} definition changed, will be restarted"
        started = frozenset(name for name, each in latest.items() if each.id in self._started)
        return Observed(latest, sandbox.id if sandbox else "", sandbox is not None, started, unhealthy, self._crashes, time.time())

    def _sources(self) -> Sources:
        shared = self.shared
        node = shared.node
        return Sources(
            shared.remembered.config_map, shared.remembered.secret, shared.services.all(), node.allocatable, node.name, node.ip, self.pod_ip
        )

    async def _volumes(self) -> dict[str, Path] | None:
        try:
            places = await self.shared.volumes.prepare(self.pod, self._sources())
        except VolumeError as error:
            self._event("Warning", "FailedMount", str(error))
            return None
        return places

    async def _new_sandbox(self) -> None:
        shared = self.shared
        old = await self._sandboxes()
        for each in old:
            await shared.runtime.stop_sandbox(each.id)
        if old:
            self._event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        attempt = old[-1].config.attempt + 1 if old else 0
        log_folder = shared.node.log_folder / logs.pod_folder_name(self.pod)
        config = recipe.sandbox_config(self.pod, attempt, str(log_folder), shared.node.dns, shared.node.pids_limit)
        # Before it takes its time: a pod whose processes are gone must not go on as ready.
        await self._tell(await self._history())
        try:
            if self.pod["spec"].get("hostUsers") is False:
                raise RuntimeRefused('RuntimeClass handler "" does not support user namespaces')
            await shared.runtime.run_sandbox(config)
        except RuntimeRefused as error:
            text = f"Failed to create pod sandbox: rpc error: code = Unknown desc = {error}"
            self._event("Warning", "FailedCreatePodSandBox", text)
            raise
        for each in old[:-1]:
            await shared.runtime.remove_sandbox(each.id)

    async def _start(self, name: str, history: Mapping[str, list[base.Container]], sandbox_id: str, places: dict[str, Path]) -> None:
        container = pods.container_named(self.pod, name)
        assert container is not None, "the plan names containers of the pod"
        before = history.get(name) or []
        if before and before[-1].state == base.CREATED:
            await self.shared.runtime.remove_container(before[-1].id)
            before = before[:-1]
        attempt = before[-1].attempt + 1 if before else 0
        try:
            await self._begin(container, attempt, sandbox_id, places)
        except ImageProblem as problem:
            self._event_of(container, "Warning", "Failed", f"Error: {problem.reason}")
            self._waiting[name] = Waiting(problem.reason, str(problem))
        except ConfigError as error:
            self._event_of(container, "Warning", "Failed", f"Error: {error}")
            self._waiting[name] = Waiting("CreateContainerConfigError", str(error))
        except NotCreated as error:
            self._event_of(container, "Warning", "Failed", f"Error: {error}")
            self._waiting[name] = Waiting("CreateContainerError", str(error))
        except RuntimeRefused as error:
            self._event_of(container, "Warning", "Failed", f"Error: {error}")
            self._waiting[name] = Waiting("RunContainerError", str(error))
        else:
            self._waiting.pop(name, None)
        if (before and name not in self._waiting) or self._waiting.get(name, Waiting("")).reason == "RunContainerError":
            last = before[-1] if before else await self._latest(name)
            if last is not None:
                self._crashes[name] = next_crash(self._crashes.get(name), last)

    async def _latest(self, name: str) -> base.Container | None:
        found = (await self._history()).get(name)
        return found[-1] if found else None

    async def _begin(self, container: Object, attempt: int, sandbox_id: str, places: dict[str, Path]) -> None:
        shared, pod = self.shared, self.pod
        image = await shared.images.ensure(container, lambda *told: self._event_of(container, *told))
        known = environment(pod, container, self._sources())
        mounts = mounts_of(pod, container, places, known)
        folder = shared.volumes.pod_folder(self.uid) / "containers" / container["name"]
        folder.mkdir(parents=True, exist_ok=True)
        message_file = folder / str(attempt)
        message_file.touch()
        message_file.chmod(0o666)
        if not any(mount.target == "/etc/hosts" for mount in mounts):
            mounts.append(Mount(str(self._hosts_file()), "/etc/hosts"))
        config = recipe.container_config(
            pod,
            container,
            attempt=attempt,
            image=image,
            environment=known,
            mounts=mounts,
            message_file=str(message_file),
            memory_capacity_bytes=shared.node.memory_bytes,
            target=await self._target(container),
            profiles=shared.node.profiles,
        )
        try:
            container_id = await shared.runtime.create_container(sandbox_id, config)
        except RuntimeRefused as error:
            raise NotCreated(str(error)) from None
        self._event_of(container, "Normal", "Created", f"Created container: {container['name']}")
        await shared.runtime.start_container(container_id)
        self._event_of(container, "Normal", "Started", f"Started container {container['name']}")
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook:
            await self._post_start(container, container_id, hook)

    async def _target(self, container: Object) -> str:
        """The container that an ephemeral one wants to look into. Raises ConfigError if it does not run."""
        name = container.get("targetContainerName")
        if not name:
            return ""
        found = await self._latest(name)
        if found is None or found.state != base.RUNNING:
            raise ConfigError(f"unable to find target container {name}")
        return found.id

    def _hosts_file(self) -> Path:
        """Never the node's own file: root in a container may write to what is mounted there."""
        path = self.shared.volumes.pod_folder(self.uid) / "etc-hosts"
        path.parent.mkdir(parents=True, exist_ok=True)
        if pods.host_network(self.pod):
            path.write_text(node_hosts_file(self.pod, Path("/etc/hosts").read_text(errors="replace")))
        else:
            path.write_text(hosts_file(self.pod, recipe.hostname_of(self.pod), self.pod_ip))
        path.chmod(0o644)
        return path

    async def _post_start(self, container: Object, container_id: str, hook: Object) -> None:
        try:
            failure = await self._unless_deleted(self.shared.asker.hook(hook, target_of(container, container_id, self.pod_ip)))
        except RuntimeRefused as error:
            failure = str(error)
        if failure:
            self._event_of(container, "Warning", "FailedPostStartHook", "PostStartHook failed")
            await self._kill(container, container_id, pods.grace_s(self.pod), "FailedPostStartHook")

    async def _unless_deleted(self, work: Awaitable[T]) -> T | None:
        """The work's result; None if the pod is to end before there is one."""
        async with Tasks(self._tasks.owner) as tasks:
            working = tasks.start("hook", _as_coroutine(work))
            ending = tasks.start("deleted", _as_coroutine(self._deleted.wait()))
            await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
            result = working.result() if working.done() and not working.cancelled() else None
            tasks.cancel()
        return result

    def _wait_out(self, name: str, left_s: float, history: Mapping[str, list[base.Container]]) -> None:
        container = pods.container_named(self.pod, name)
        crashes = self._crashes.get(name)
        assert container is not None and crashes is not None, "who waits has crashed before"
        text = f"back-off {_go_duration(crashes.pause_s)} restarting failed container={name} pod={pods.described(self.pod)}"
        if self._waiting.get(name) != Waiting("CrashLoopBackOff", text):
            told = f"Back-off restarting failed container {name} in pod {pods.described(self.pod)}"
            self._event_of(container, "Warning", "BackOff", told)
        self._waiting[name] = Waiting("CrashLoopBackOff", text)

    async def _restart(self, container_id: str, name: str, message: str) -> None:
        container = pods.container_named(self.pod, name)
        assert container is not None
        self._event_of(container, "Normal", "Killing", message)
        self._unhealthy.pop(container_id, None)
        probe_grace = (container.get("livenessProbe") or {}).get("terminationGracePeriodSeconds")
        await self._kill(container, container_id, pods.grace_s(self.pod) if probe_grace is None else int(probe_grace), "")

    async def _collect(self, history: Mapping[str, list[base.Container]]) -> None:
        """After what is seen of them was told."""
        await leftovers.remove(self.shared.runtime, leftovers.superfluous(history))

    # --- probes -------------------------------------------------------------------------------------------------------

    def _keep_probing(self, history: Mapping[str, list[base.Container]], sandbox_id: str) -> None:
        running = {
            each[-1].id: (each[-1], container)
            for container in pods.long_running(self.pod)
            if (each := history.get(container["name"])) and each[-1].state == base.RUNNING and each[-1].sandbox_id == sandbox_id
        }
        for (container_id, kind), task in list(self._probers.items()):
            if container_id not in running:
                task.cancel()
                del self._probers[container_id, kind]
        self._started &= running.keys()
        self._ready &= running.keys()
        for container_id, (seen, container) in running.items():
            probes = dict(probes_of(container))
            if STARTUP not in probes:
                self._started.add(container_id)
            if READINESS not in probes and container_id in self._started:
                self._ready.add(container_id)
            for kind, probe in probes.items():
                if kind == STARTUP and container_id in self._started:
                    continue  # it has passed
                if (container_id, kind) not in self._probers:
                    age_s = max(time.time() - seen.started_ns / 1e9, 0)
                    prober = Prober(
                        self.shared.asker, kind, probe, target_of(container, container_id, self.pod_ip), self._answer(container, container_id), age_s
                    )
                    self._probers[container_id, kind] = self._tasks.start(
                        f"{kind} of {container['name']}", prober.run(self._gate(kind, container_id))
                    )

    def _gate(self, kind: str, container_id: str):  # type: ignore[no-untyped-def]
        async def open_when_started() -> None:
            while kind != STARTUP and container_id not in self._started:  # noqa: ASYNC110 - a second late at most
                await asyncio.sleep(0.2)

        return open_when_started

    def _answer(self, container: Object, container_id: str):  # type: ignore[no-untyped-def]
        def answered(kind: str, verdict: Verdict, changed: bool, success: bool, output: str) -> None:
            name = container["name"]
            if not success:
                self._event_of(container, "Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {output}")
            if kind == READINESS:
                (self._ready.add if verdict.good else self._ready.discard)(container_id)
            elif kind == STARTUP and verdict.good:
                self._started.add(container_id)
            elif verdict.good is False and kind in (LIVENESS, STARTUP):
                self._unhealthy[container_id] = f"Container {name} failed {kind} probe, will be restarted"
                changed = True
            if changed:
                self.wake()

        return answered

    # --- ending -------------------------------------------------------------------------------------------------------

    async def _finish(self) -> float:
        shared = self.shared
        if self.ending is not None and self.ending.refused:
            await self._tell_refused()
            if not self.removed and not is_terminating(self.pod):
                return RESYNC_S
        grace_s = self._grace_s()
        if not self.over:
            self._event_ends()
            await self._kill_all(grace_s)
            for each in await self._sandboxes():
                await shared.runtime.stop_sandbox(each.id)
            await asyncio.to_thread(shared.volumes.empty, self.uid)
            self.over = True
        if not self.removed:
            history = await self._history()
            if not self.freed.is_set():
                await self._see(history, terminating=True)
            try:
                if self._gives_way:
                    await self._free()  # before it is told: the room is wanted also while no API server answers
            finally:
                await self._send_seen()
            await self._collect(history)
            if not is_terminating(self.pod) or pods.is_static(self.pod):
                return RESYNC_S  # done: of each name one dead container stays, for its log
            try:
                await shared.client.delete(PODS, name_of(self.pod), namespace_of(self.pod), grace_s=0, uid=self.uid)
            except ApiError as error:
                if error.reason not in ("NotFound", "Conflict"):
                    raise
        await self._clean()
        return 0.0

    @property
    def _gives_way(self) -> bool:
        """Whether what it has left is to go. Not a static pod's: a kubelet that starts anew knows by its containers alone that it is done."""
        wanted = self._unwanted or (self.ending is not None and self.ending.frees)
        return wanted and not self.freed.is_set() and not pods.is_static(self.pod)

    def _event_ends(self) -> None:
        if self.ending is not None and self.ending.frees:
            self._event("Warning", "Evicted", self.ending.message)

    def _grace_s(self) -> float:
        if self.removed and not is_terminating(self.pod) and not pods.is_static(self.pod):
            return 0.0  # deleted with force: nobody waits any more
        if self.ending is not None and self.ending.grace_s is not None:
            return self.ending.grace_s
        return float(pods.grace_s(self.pod))

    async def _kill_all(self, grace_s: float) -> None:
        """Containers together, then sidecars, the last one first; a grace that shrinks meanwhile holds at once."""
        for (container_id, kind), task in list(self._probers.items()):
            task.cancel()
            del self._probers[container_id, kind]
        self._ready.clear()
        started_s = time.monotonic()

        async def stop(containers: list[base.Container], left_s: float) -> None:
            async with Tasks("stop") as tasks:
                for each in containers:
                    spec = pods.container_named(self.pod, each.name) or {"name": each.name}
                    tasks.start(each.name, self._kill(spec, each.id, left_s, "Killing"))

        async def stop_all() -> None:
            history = await self._history()
            running = [each for containers in history.values() for each in containers if each.state in (base.RUNNING, base.CREATED)]
            order = [each["name"] for each in pods.init_containers(self.pod) if pods.is_sidecar(each)]
            await stop([each for each in running if each.name not in order], grace_s)
            for name in reversed(order):
                await stop([each for each in running if each.name == name], max(grace_s - (time.monotonic() - started_s), LEAST_GRACE_S))

        async with Tasks("end") as tasks:
            stopping = tasks.start("containers", stop_all())
            current_s = grace_s
            while not stopping.done():
                self._wake.clear()
                woken = tasks.start("woken", _as_coroutine(self._wake.wait()))
                await asyncio.wait({stopping, woken}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                if self._grace_s() < current_s and not stopping.done():
                    current_s = self._grace_s()
                    for containers in (await self._history()).values():
                        for each in containers:
                            if each.state == base.RUNNING:
                                tasks.start("sooner", self.shared.runtime.stop_container(each.id, current_s))
        self._wake.set()

    async def _kill(self, container: Object, container_id: str, grace_s: float, why: str) -> None:
        if why == "Killing":
            self._event_of(container, "Normal", "Killing", f"Stopping container {container['name']}")
        started_s = time.monotonic()
        hook = (container.get("lifecycle") or {}).get("preStop")
        if hook and grace_s > 0:
            try:
                async with asyncio.timeout(grace_s):
                    failure = await self.shared.asker.hook(hook, target_of(container, container_id, self.pod_ip))
            except TimeoutError:
                failure = ""
            except RuntimeRefused as error:
                failure = str(error)
            if failure:
                self._event_of(container, "Warning", "FailedPreStopHook", "PreStopHook failed")
        left_s = max(grace_s - (time.monotonic() - started_s), LEAST_GRACE_S) if grace_s > 0 else 0.0
        await self.shared.runtime.stop_container(container_id, left_s)

    async def _clean(self) -> None:
        await self._free()
        self.gone.set()

    async def _free(self) -> None:
        """Nothing of it stays on the node."""
        for each in await self._sandboxes():
            await self.shared.runtime.remove_sandbox(each.id)
        await asyncio.to_thread(self.shared.volumes.remove, self.uid)
        await asyncio.to_thread(logs.remove_pod, self.shared.node.log_folder, self.pod)
        self.freed.set()

    # --- telling ------------------------------------------------------------------------------------------------------

    async def _tell(self, history: Mapping[str, list[base.Container]]) -> None:
        await self._see(history)
        await self._send_seen()

    async def _see(self, history: Mapping[str, list[base.Container]], *, terminating: bool = False) -> None:
        """Its status as it is now."""
        shared = self.shared
        sandbox = await self._sandbox()
        latest = {name: each[-1] for name, each in history.items()}
        waiting = {name: each for name, each in self._waiting.items() if self._still_waits(name, latest.get(name))}
        images = {image.id: image.tags[0] for image in await shared.runtime.images() if image.tags}
        seen = Seen(
            history=history,
            waiting=waiting,
            started=frozenset(name for name, each in latest.items() if each.id in self._started),
            ready=frozenset(name for name, each in latest.items() if each.id in self._ready),
            messages={each.id: self._message(each) for containers in history.values() for each in containers if each.state == base.EXITED},
            images=images,
            sandbox_ready=sandbox is not None,
            pod_ip=self.pod_ip,
            host_ip=shared.node.ip,
            runtime_name=shared.runtime.name,
            terminating=terminating,
            now_s=time.time(),
        )
        if terminating:
            seen.phase, seen.reason, seen.message = self._last_phase(latest)
        elif self.ending is not None:
            seen.phase, seen.reason, seen.message = self.ending.phase, self.ending.reason, self.ending.message
        seen.disrupted = self.ending is not None and self.ending.disrupted
        if (target := self._target_of_status) is not None:
            basis = {**self.pod, "status": target.get("status"), "metadata": {**self.pod["metadata"], **_generation(target)}}
            self._seen = pod_status(basis, seen)

    @property
    def _target_of_status(self) -> Object | None:
        return self.pod if not pods.is_static(self.pod) else self.mirror

    async def _send_seen(self) -> None:
        target = self._target_of_status
        if target is None or self._seen is None:
            return
        if not self.freed.is_set() or (target.get("status") or {}).get("phase") != self._seen["phase"]:  # what is over for good is told once
            await self._patch(target, self._seen)

    def _still_waits(self, name: str, latest: base.Container | None) -> bool:
        """A reason to wait belongs to a container that does not run."""
        return latest is None or latest.state != base.RUNNING

    def _last_phase(self, latest: Mapping[str, base.Container]) -> tuple[str, str, str]:
        if self.ending is not None:
            return self.ending.phase, self.ending.reason, self.ending.message
        old = (self.pod.get("status") or {}).get("phase")
        if old in (SUCCEEDED, FAILED):
            return old, "", ""
        ended = [latest.get(each["name"]) for each in pods.containers(self.pod)]
        good = all(each is not None and each.exit_code == 0 for each in ended)
        return (SUCCEEDED if good else FAILED), "", ""

    async def _tell_refused(self) -> None:
        assert self.ending is not None
        status = {"phase": self.ending.phase, "reason": self.ending.reason, "message": self.ending.message, "qosClass": pods.qos_class(self.pod)}
        if not self.removed and (self.pod.get("status") or {}).get("phase") != self.ending.phase:
            await self._send(self.pod, {"metadata": {"uid": self.uid}, "status": status})

    async def _patch(self, target: Object, wanted: Object) -> None:
        change = patch(target, wanted)
        if change is not None:
            await self._send(target, change)

    async def _send(self, target: Object, change: Object) -> None:
        try:
            answer = await self.shared.client.patch(PODS, name_of(target), change, namespace_of(target), kind=STRATEGIC, subresource="status")
        except ApiError as error:
            if error.reason in ("NotFound", "Conflict", "Invalid") and error.reason != "Invalid":
                return  # gone, or another one of the same name: the informer will say so
            raise
        known = self.pod if target is self.pod else self.mirror
        if known is not None and uid_of(answer) == uid_of(known):
            kept = {**known, "status": answer.get("status")}
            if target is self.pod:
                self.pod = kept
            else:
                self.mirror = kept

    def _message(self, container: base.Container) -> str:
        path = Path(container.annotations.get(recipe.MESSAGE_FILE, ""))
        text = ""
        if path.name and path.is_file():
            with path.open("rb") as file:
                text = file.read(MESSAGE_BYTES_MAX).decode(errors="replace")
        if not text and container.exit_code != 0 and container.annotations.get(recipe.MESSAGE_POLICY) == "FallbackToLogsOnError":
            text = logs.tail(Path(container.log_path), FALLBACK_LINES_MAX, FALLBACK_BYTES_MAX)
        return text

    def _event(self, kind: str, reason: str, message: str) -> None:
        self.shared.recorder.event(self.mirror or self.pod, kind, reason, message)

    def _event_of(self, container: Object, kind: str, reason: str, message: str) -> None:
        field = "initContainers" if container in pods.init_containers(self.pod) else "containers"
        self.shared.recorder.event_in(self.mirror or self.pod, f"spec.{field}{{{container['name']}}}", kind, reason, message)


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work


def _generation(target: Object) -> Object:
    """A mirror's own, not the file's."""
    return {key: target["metadata"].get(key) for key in ("uid", "generation") if key in target["metadata"]}


def _go_duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


__all__ = ["Ending", "Node", "PodWorker", "Shared", "pause_left_s"]
