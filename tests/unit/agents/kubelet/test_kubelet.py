"""Pods' lives, with an API server and a runtime in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from agents.kit.events import Broadcaster
from agents.kit.informer import Informers
from agents.kubelet import static_pods
from agents.kubelet.images import Images
from agents.kubelet.kubelet import Kubelet
from agents.kubelet.machine import Identity
from agents.kubelet.node import LEASES, NODES, NodeKeeper
from agents.kubelet.pod_worker import PODS, Ending, Node, Shared
from agents.kubelet.probes import Asker
from agents.kubelet.recipe import Dns
from agents.kubelet.references import Remembered
from agents.kubelet.runtime.base import CREATED, SandboxConfig
from agents.kubelet.thresholds import Threshold, Thresholds
from agents.kubelet.volumes import Volumes
from apiserver.client.errors import Unreachable
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import resource
from keelson.cogs.tasks import Tasks
from tests.support.fake_api import FakeApi
from tests.support.fake_runtime import FakeRuntime

IMAGE = "keelson/web:1"


class World:
    """Without thresholds: how full the machine is that runs the tests says nothing of a node."""

    def __init__(self, folder: Path, api: FakeApi, runtime: FakeRuntime, eviction: Thresholds) -> None:
        self.folder, self.api, self.runtime, self.eviction = folder, api, runtime, eviction
        self.manifests = folder / "manifests"

    @asynccontextmanager
    async def kubelet(self) -> AsyncIterator[Kubelet]:
        """As main wires it; leaving the block is the death of the process."""
        client: Any = self.api
        runtime: Any = self.runtime
        self.runtime.reopen()
        informers = Informers(client)
        broadcaster = Broadcaster(client, "node1")
        node = Node("node1", "10.1.0.1", self.folder, self.folder / "logs", Dns(), eviction=self.eviction)
        identity = Identity("node1", "10.1.0.1", 10250, pod_range="10.0.0.0/24", eviction=self.eviction)
        keeper = NodeKeeper(client, runtime, identity, self.folder, lambda: "")
        asker = Asker(runtime)
        shared = Shared(
            client,
            runtime,
            broadcaster.recorder("kubelet"),
            informers.of(resource("services")),
            Remembered(client),
            Volumes(self.folder, client),
            Images(runtime),
            asker,
            node,
        )
        kubelet = Kubelet(shared, informers.of(PODS, field_selector="spec.nodeName=node1"), keeper, client, self.manifests)
        async with Tasks("test") as tasks:
            informers.start(tasks)
            await keeper.register()
            await kubelet.note_what_runs()
            tasks.serve("lease", keeper.keep_lease())
            tasks.serve("events", broadcaster.run())
            tasks.serve("kubelet", kubelet.run())
            yield kubelet
            tasks.cancel()
        await asker.close()

    def pod(self, name: str = "web") -> Object:
        return self.api.objects[PODS.qualified]["default", name]

    def make(self, spec: Object | None = None, name: str = "web") -> Object:
        whole = {"nodeName": "node1", "containers": [{"name": "main", "image": IMAGE}], **(spec or {})}
        return self.api.put(PODS, {"metadata": {"name": name, "namespace": "default"}, "spec": whole})

    def status(self, name: str = "web") -> Object:
        return self.pod(name).get("status") or {}

    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.api.all("events")]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - a world in memory tells nobody of its changes
            await asyncio.sleep(0.002)


def play(tmp_path: Path, body: Callable[[World, Kubelet], Awaitable[None]], eviction: Thresholds = Thresholds()) -> World:  # noqa: B008 - frozen
    api = FakeApi()
    api.graceful_pods = True
    world = World(tmp_path, api, FakeRuntime(IMAGE), eviction)
    world.manifests.mkdir(parents=True)

    async def whole() -> None:
        async with world.kubelet() as kubelet:
            await body(world, kubelet)

    asyncio.run(whole())
    return world


def is_ready(world: World) -> Callable[[], bool]:
    return lambda: any(each["ready"] for each in world.status().get("containerStatuses") or ())


def is_phase(world: World, phase: str, name: str = "web") -> Callable[[], bool]:
    return lambda: bool(world.status(name).get("phase") == phase)


def test_a_node_registers_and_holds_its_lease(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        await until(lambda: bool(world.api.all(LEASES)))

    world = play(tmp_path, body)
    (node,) = world.api.all(NODES)
    conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
    assert conditions == {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}
    assert node["spec"]["podCIDR"] == "10.0.0.0/24" and node["metadata"]["labels"]["kubernetes.io/hostname"] == "node1"
    assert world.api.all(LEASES)[0]["spec"]["holderIdentity"] == "node1"


def test_a_node_whose_runtime_is_down_is_not_ready(tmp_path: Path) -> None:
    def ready(world: World) -> Object:
        (node,) = world.api.all(NODES)
        return next(each for each in node["status"]["conditions"] if each["type"] == "Ready")  # type: ignore[no-any-return]

    async def body(world: World, kubelet: Kubelet) -> None:
        keeper = kubelet._keeper
        async with Tasks("keeper") as tasks:
            tasks.serve("status", keeper.keep_status())
            world.runtime.down = "no such socket"
            keeper.look.set()
            await until(lambda: ready(world)["status"] == "False")
            assert ready(world)["message"] == "container runtime is down: no such socket"
            world.runtime.down = ""
            keeper.look.set()
            await until(lambda: ready(world)["status"] == "True")
            tasks.cancel()

    play(tmp_path, body)


def test_a_node_that_was_taken_for_lost_says_that_it_is_there(tmp_path: Path) -> None:
    def statuses(world: World) -> set[str]:
        (node,) = world.api.all(NODES)
        return {each["status"] for each in node["status"]["conditions"]}

    async def body(world: World, kubelet: Kubelet) -> None:
        keeper = kubelet._keeper
        async with Tasks("keeper") as tasks:
            tasks.serve("status", keeper.keep_status())
            before = statuses(world)

            def unknown(node: Object) -> None:
                for each in node["status"]["conditions"]:
                    each.update(status="Unknown", reason="NodeStatusUnknown")

            world.api.touch(NODES, "", "node1", unknown)
            (node,) = world.api.all(NODES)
            keeper.saw(node)
            await until(lambda: statuses(world) == before == {"True", "False"})
            tasks.cancel()

    play(tmp_path, body)


def test_a_pod_becomes_running_and_ready(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        world.make()
        await until(is_phase(world, "Running"))
        await until(lambda: "Started" in world.reasons())

    world = play(tmp_path, body)
    status = world.status()
    assert status["podIP"] == "10.0.0.2" and status["containerStatuses"][0]["ready"]
    assert world.reasons() == ["Pulled", "Created", "Started"]


def test_a_deleted_pod_ends_in_grace_and_leaves_nothing(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        hook = {"preStop": {"exec": {"command": ["bye"]}}}
        world.make({"terminationGracePeriodSeconds": 30, "containers": [{"name": "main", "image": IMAGE, "lifecycle": hook}]})
        await until(is_phase(world, "Running"))
        await world.api.delete(PODS, "web", "default")
        await until(lambda: not world.api.all(PODS) and not kubelet.workers)

    world = play(tmp_path, body)
    (name, grace_s), *_ = world.runtime.stopped
    assert name == "main" and 29 < grace_s <= 30 and world.runtime.executed == [("bye",)]
    assert not world.runtime.known_sandboxes and not list((tmp_path / "pods").iterdir())


def test_a_crash_is_answered_by_a_restart_and_then_by_a_pause(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        world.make()
        await until(is_phase(world, "Running"))
        world.runtime.end("main", 3)
        await until(lambda: world.runtime.newest("main").attempt == 1)
        world.runtime.end("main", 3)
        await until(lambda: "waiting" in world.status()["containerStatuses"][0]["state"])

    world = play(tmp_path, body)
    container = world.status()["containerStatuses"][0]
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff" and container["restartCount"] == 1
    assert container["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=main pod=web_default(")
    assert container["lastState"]["terminated"]["exitCode"] == 3


def test_a_pod_that_is_done_keeps_its_containers_until_it_is_deleted(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        world.make({"restartPolicy": "Never"})
        await until(is_phase(world, "Running"))
        world.runtime.end("main", 0)
        await until(is_phase(world, "Succeeded"))
        assert world.runtime.known
        await world.api.delete(PODS, "web", "default", grace_s=0)
        await until(lambda: not world.runtime.known)

    play(tmp_path, body)


def test_a_kubelet_that_starts_again_finds_its_pods(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        world.make()
        await until(is_phase(world, "Running"))

    world = play(tmp_path, body)
    world.make(name="gone")
    world.api.remove(PODS, "default", "gone")

    async def again() -> None:
        async with world.kubelet() as kubelet:
            await until(lambda: len(kubelet.workers) == 1)
            world.runtime.end("main", 1)
            await until(lambda: world.runtime.newest("main").attempt == 1)

    asyncio.run(again())
    assert len(world.runtime.known_sandboxes) == 1


def test_a_kubelet_that_starts_again_makes_no_container_unready(tmp_path: Path) -> None:
    probe = {"exec": {"command": ["check"]}, "periodSeconds": 1}

    async def body(world: World, kubelet: Kubelet) -> None:
        world.make({"containers": [{"name": "main", "image": IMAGE, "readinessProbe": probe, "startupProbe": probe}]})
        await until(is_ready(world))

    world = play(tmp_path, body)
    world.runtime.executed.clear()
    told: list[bool] = []

    async def again() -> None:
        async with world.kubelet():
            while not world.runtime.executed:
                told.append(is_ready(world)())
                await asyncio.sleep(0.002)
            world.runtime.exit_code = 1
            await until(lambda: not is_ready(world)())

    asyncio.run(again())
    assert all(told)


def test_a_container_that_the_kubelet_before_only_created_is_made_anew(tmp_path: Path) -> None:
    async def killed(container_id: str) -> None:
        raise asyncio.CancelledError

    async def body(world: World, kubelet: Kubelet) -> None:
        world.runtime.start_container, real = killed, world.runtime.start_container  # type: ignore[method-assign]
        world.make()
        await until(lambda: bool(world.runtime.known))
        world.runtime.start_container = real  # type: ignore[method-assign]

    world = play(tmp_path, body)
    assert world.runtime.newest("main").state == CREATED

    async def again() -> None:
        async with world.kubelet():
            await until(is_phase(world, "Running"))

    asyncio.run(again())
    assert [each.attempt for each in world.runtime.known.values()] == [0]
    assert world.status()["containerStatuses"][0]["restartCount"] == 0


def test_what_no_pod_owns_is_removed(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        world.make()
        await until(is_phase(world, "Running"))

    world = play(tmp_path, body)
    world.api.remove(PODS, "default", "web")

    async def again() -> None:
        async with world.kubelet():
            await until(lambda: not world.runtime.known_sandboxes)

    asyncio.run(again())


def test_a_sandbox_that_is_lost_is_made_anew(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        world.make()
        await until(is_phase(world, "Running"))
        world.runtime.lose("s0")
        await until(lambda: world.status().get("podIP") == "10.0.0.3")
        await until(lambda: "SandboxChanged" in world.reasons())

    world = play(tmp_path, body)
    assert world.status()["containerStatuses"][0]["restartCount"] == 1


def test_a_pod_whose_processes_went_with_the_node_is_told_before_it_is_made_anew(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        world.make()
        await until(is_ready(world))

    world = play(tmp_path, body)
    world.runtime.lose("s0")
    told: list[tuple[bool, bool]] = []
    run_sandbox = world.runtime.run_sandbox

    async def slow(config: SandboxConfig) -> str:
        told.append((is_ready(world)(), kubelets[0]._keeper.look.is_set()))
        return await run_sandbox(config)

    kubelets: list[Kubelet] = []
    world.runtime.run_sandbox = slow  # type: ignore[method-assign]

    async def again() -> None:
        async with world.kubelet() as kubelet:
            kubelets.append(kubelet)
            await until(lambda: world.runtime.newest("main").attempt == 1 and is_ready(world)())
            assert kubelet._keeper.look.is_set()

    asyncio.run(again())
    assert told == [(False, False)]
    assert world.status()["containerStatuses"][0]["restartCount"] == 1


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    def reason(world: World, name: str) -> str:
        states = world.status(name).get("containerStatuses") or [{"state": {}}]
        return str((states[0]["state"].get("waiting") or {}).get("reason"))

    async def body(world: World, kubelet: Kubelet) -> None:
        source = [{"configMapRef": {"name": "missing"}}]
        world.make({"containers": [{"name": "main", "image": "none:1"}]}, "noimage")
        world.make({"containers": [{"name": "main", "image": "UP PER"}]}, "badname")
        world.make({"containers": [{"name": "main", "image": IMAGE, "envFrom": source}]}, "nomap")
        await until(lambda: reason(world, "noimage") in ("ErrImagePull", "ImagePullBackOff"))
        await until(lambda: reason(world, "nomap") == "CreateContainerConfigError")
        await until(lambda: reason(world, "badname") == "InvalidImageName")

    play(tmp_path, body)


def test_a_container_that_the_runtime_does_not_take_is_tried_again(tmp_path: Path) -> None:
    def waiting(world: World) -> Object:
        return next((each["state"].get("waiting") or {} for each in world.status().get("containerStatuses") or ()), {})

    async def body(world: World, kubelet: Kubelet) -> None:
        world.runtime.refuses = "cannot load seccomp profile"
        world.make()
        await until(lambda: waiting(world) == {"reason": "CreateContainerError", "message": "cannot load seccomp profile"})
        world.runtime.refuses = ""
        await until(is_ready(world))

    play(tmp_path, body)


def test_a_pod_with_users_of_its_own_does_not_run_without_them(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        world.make({"hostUsers": False})
        await until(lambda: "FailedCreatePodSandBox" in world.reasons())
        assert not world.runtime.known_sandboxes

    world = play(tmp_path, body)
    (told,) = (event["message"] for event in world.api.all("events") if event["reason"] == "FailedCreatePodSandBox")
    assert told.endswith('RuntimeClass handler "" does not support user namespaces')


def test_a_pod_that_fills_the_disk_is_evicted(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("agents.kubelet.eviction.STORAGE_S", 0.01)
    limited = {"containers": [{"name": "main", "image": IMAGE, "resources": {"limits": {"ephemeral-storage": "1Mi"}}}]}

    async def body(world: World, kubelet: Kubelet) -> None:
        world.make(limited)
        world.make(name="free")
        await until(lambda: is_phase(world, "Running")() and is_phase(world, "Running", "free")())
        world.runtime.written["main"] = 2 << 20
        await until(is_phase(world, "Failed"))
        assert world.status()["reason"] == "Evicted" and "exceeds the total limit of containers 1Mi" in world.status()["message"]
        assert "DisruptionTarget" not in {each["type"] for each in world.status()["conditions"]}, "it has itself to blame"
        assert world.status("free")["phase"] == "Running"

    play(tmp_path, body)


def test_on_a_full_disk_goes_who_has_most_of_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("agents.kubelet.eviction.STORAGE_S", 0.01)
    left = [1 << 30]
    monkeypatch.setattr("agents.kubelet.eviction.disk_bytes", lambda _: (10 << 30, left[0]))

    async def body(world: World, kubelet: Kubelet) -> None:
        for name in ("small", "large", "important"):
            priority = {"priority": 2_000_000_000} if name == "important" else {}
            world.make({"containers": [{"name": name, "image": IMAGE}], **priority}, name)
        await until(lambda: all(is_phase(world, "Running", name)() for name in ("small", "large", "important")))
        world.runtime.written |= {"small": 2 << 20, "large": 50 << 20, "important": 90 << 20}
        left[0] = 1 << 20
        await until(is_phase(world, "Failed", "large"))
        left[0] = 1 << 30
        text = f"The node was low on resource: ephemeral-storage. Threshold quantity: {1 << 30}, available: 1024Ki. "
        assert world.status("large")["message"].startswith(text)
        assert world.status("important")["phase"] == "Running", "the cluster cannot do without it"

    play(tmp_path, body, Thresholds(disk=Threshold("10%")))


def test_on_a_full_disk_goes_first_what_pods_that_are_done_have_left(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("agents.kubelet.eviction.STORAGE_S", 0.01)
    monkeypatch.setattr("agents.kubelet.eviction.disk_bytes", lambda _: (10 << 30, 1 << 30))

    async def body(world: World, kubelet: Kubelet) -> None:
        def of_done() -> bool:
            return any(each.name == "done" for each in world.runtime.known.values())

        world.make({"containers": [{"name": "done", "image": IMAGE}], "restartPolicy": "Never"}, "done")
        world.make()
        await until(lambda: is_phase(world, "Running")() and is_phase(world, "Running", "done")())
        world.runtime.written["main"] = 50 << 20
        world.runtime.end("done", 0)
        await until(is_phase(world, "Succeeded", "done"))
        before = world.status("done")
        monkeypatch.setattr("agents.kubelet.eviction.disk_bytes", lambda _: (10 << 30, 0 if of_done() else 1 << 30))
        worker = next(each for each in kubelet.workers.values() if each.pod["metadata"]["name"] == "done")
        await until(worker.freed.is_set)
        assert not of_done() and world.status("done") == before

    assert play(tmp_path, body, Thresholds(disk=Threshold("10%"))).status()["phase"] == "Running"


def test_without_memory_goes_who_has_most_of_it_though_a_container_goes_meanwhile(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("agents.kubelet.eviction.MEMORY_S", 0.01)
    left = [1 << 30]
    monkeypatch.setattr("agents.kubelet.eviction.memory_bytes", lambda: (10 << 30, left[0]))

    async def body(world: World, kubelet: Kubelet) -> None:
        for name in ("gone", "small", "large"):
            world.make({"containers": [{"name": name, "image": IMAGE, "resources": {"requests": {"memory": "1Mi"}}}]}, name)
        await until(lambda: all(is_phase(world, "Running", name)() for name in ("gone", "small", "large")))
        world.runtime.working = {"small": 2 << 20, "large": 50 << 20}
        left[0] = 1 << 20
        await until(is_phase(world, "Failed", "large"))
        left[0] = 1 << 30
        low = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 1024Ki. "
        assert world.status("large")["message"] == f"{low}Container large was using 51200Ki, request is 1Mi, has larger consumption of memory. "
        (told,) = (each for each in world.status("large")["conditions"] if each["type"] == "DisruptionTarget")
        assert (told["status"], told["reason"], told["message"]) == ("True", "TerminationByKubelet", world.status("large")["message"])

    play(tmp_path, body, Thresholds(memory=Threshold("100Mi")))


def test_a_node_without_memory_or_disk_says_so(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        await until(lambda: bool(world.api.all(LEASES)))

    def under_pressure(name: str, eviction: Thresholds) -> set[str]:
        (node,) = play(tmp_path / name, body, eviction).api.all(NODES)
        return {each["type"] for each in node["status"]["conditions"] if each["type"] != "Ready" and each["status"] == "True"}

    whole = Threshold("100%")
    assert under_pressure("memory", Thresholds(memory=whole)) == {"MemoryPressure"}
    assert under_pressure("disk", Thresholds(disk=whole)) == {"DiskPressure"}


def test_a_pod_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        world.make({"containers": [{"name": "main", "image": IMAGE, "resources": {"requests": {"cpu": "10k"}}}]})
        await until(is_phase(world, "Failed"))

    world = play(tmp_path, body)
    assert world.status()["reason"] == "OutOfcpu" and not world.runtime.known_sandboxes


def test_a_liveness_probe_that_fails_restarts(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        world.runtime.exit_code = 1
        probe = {"exec": {"command": ["check"]}, "failureThreshold": 1}
        world.make({"containers": [{"name": "main", "image": IMAGE, "livenessProbe": probe}]})
        await until(lambda: bool(world.runtime.known) and world.runtime.newest("main").attempt == 1)
        await until(lambda: "Killing" in world.reasons())

    world = play(tmp_path, body)
    told = {event["reason"]: event["message"] for event in world.api.all("events")}
    assert told["Unhealthy"] == "Liveness probe failed: said"
    assert told["Killing"] == "Container main failed liveness probe, will be restarted"


def test_static_pods_run_and_have_mirrors(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(static_pods, "CHECK_S", 0.01)

    async def body(world: World, kubelet: Kubelet) -> None:
        manifest = {"kind": "Pod", "metadata": {"name": "own"}, "spec": {"containers": [{"name": "main", "image": IMAGE}]}}
        (world.manifests / "own.yaml").write_text(yaml.safe_dump(manifest))
        await until(lambda: bool(world.api.all(PODS)) and world.status("own-node1").get("phase") == "Running")
        (world.manifests / "own.yaml").unlink()
        await until(lambda: not world.runtime.known_sandboxes)

    world = play(tmp_path, body)
    assert world.runtime.stopped[0][0] == "main"


def test_what_a_pod_kept_in_its_volumes_goes_when_it_has_ended(tmp_path: Path) -> None:
    """Long before it is deleted: a pod that was evicted for the disk would free none of it, and the next one would have to go, too."""

    async def body(world: World, kubelet: Kubelet) -> None:
        world.make({"volumes": [{"name": "scratch", "emptyDir": {}}]})
        await until(is_ready(world))
        worker = next(iter(kubelet.workers.values()))
        place = kubelet.shared.volumes.empty_folder(worker.uid, "scratch")
        (place / "data").write_text("much")
        worker.end(Ending("Failed", "Evicted", "too much", grace_s=0.0))
        await until(is_phase(world, "Failed"))
        await until(lambda: not place.exists())
        assert world.status()["reason"] == "Evicted"

    play(tmp_path, body)


def written(log: Path) -> Path:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("much")
    return log


def test_of_a_pod_that_was_evicted_stays_its_status_alone(tmp_path: Path) -> None:
    async def body(world: World, kubelet: Kubelet) -> None:
        world.make()
        await until(is_ready(world))
        log = await asyncio.to_thread(written, Path(world.runtime.newest("main").log_path))
        worker = next(iter(kubelet.workers.values()))
        worker.end(Ending("Failed", "Evicted", "too much", grace_s=0.0))
        await until(worker.freed.is_set)
        assert not world.runtime.known and not world.runtime.known_sandboxes and not await asyncio.to_thread(log.exists)
        assert not kubelet.shared.volumes.pod_folder(worker.uid).exists()

    world = play(tmp_path, body)
    status = world.status()
    assert status["containerStatuses"][0]["state"]["terminated"]["containerID"] == "fake://main-0"

    async def again() -> None:
        async with world.kubelet() as kubelet:
            await until(lambda: bool(kubelet.workers))
            worker = next(iter(kubelet.workers.values()))
            await until(worker.freed.is_set)
            assert world.status() == status and not world.runtime.known, "nothing of it is told anew, or begun"
            await world.api.delete(PODS, "web", "default")
            await until(lambda: not world.api.all(PODS))

    asyncio.run(again())


def test_a_pod_that_was_evicted_gives_its_room_also_while_no_api_server_answers(tmp_path: Path, monkeypatch: Any) -> None:
    async def silent(*_: Any, **__: Any) -> Object:
        raise Unreachable("nobody answers")

    async def body(world: World, kubelet: Kubelet) -> None:
        monkeypatch.setattr("agents.kubelet.pod_worker.RETRY_FIRST_S", 0.005)
        world.make()
        await until(is_ready(world))
        answering = world.api.patch
        monkeypatch.setattr(world.api, "patch", silent)
        worker = next(iter(kubelet.workers.values()))
        worker.end(Ending("Failed", "Evicted", "too much", grace_s=0.0))
        await until(worker.freed.is_set)
        assert world.status()["phase"] == "Running" and not world.runtime.known
        monkeypatch.setattr(world.api, "patch", answering)
        worker.wake()
        await until(is_phase(world, "Failed"))
        assert world.status()["containerStatuses"][0]["state"]["terminated"]["containerID"] == "fake://main-0"

    play(tmp_path, body)


def runs(world: World, attempt: int) -> Callable[[], bool]:
    """And it has been told."""
    return lambda: any(each["ready"] and each["restartCount"] == attempt for each in world.status().get("containerStatuses") or ())


def test_of_each_container_the_last_that_ended_stays(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("agents.kubelet.plan.BACKOFF_FIRST_S", 0.0)

    async def body(world: World, kubelet: Kubelet) -> None:
        world.make({"restartPolicy": "OnFailure"})
        for attempt in range(3):
            await until(runs(world, attempt))
            world.runtime.end("main", 0 if attempt == 2 else 10 + attempt)
        await until(is_phase(world, "Succeeded"))
        await until(lambda: list(world.runtime.known) == ["main-2"])
        container = world.status()["containerStatuses"][0]
        assert (container["state"]["terminated"]["containerID"], container["restartCount"]) == ("fake://main-2", 2)
        assert container["lastState"]["terminated"]["exitCode"] == 11, "told before, and nothing is left of it"

    play(tmp_path, body)
