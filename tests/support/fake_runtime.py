"""A container runtime in memory: containers run until a test ends them. For the kubelet's unit tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import Container, ContainerConfig, ExecResult, Image, RuntimeRefused, Sandbox, SandboxConfig


class FakeRuntime:
    name, version = "fake", "1"
    network_ready = True

    def __init__(self, *images: str) -> None:
        self.known_images = {name: Image(f"sha256:{name}", (name,), (), 7, 0) for name in images}
        self.known_sandboxes: dict[str, Sandbox] = {}
        self.known: dict[str, Container] = {}
        self.configs: dict[str, ContainerConfig] = {}
        self.stopped: list[tuple[str, float]] = []
        """Container names with the grace they were given."""
        self.executed: list[tuple[str, ...]] = []
        self.exit_code = 0
        self.down = ""
        """Why it does not answer."""
        self.refuses = ""
        """Why it takes no container as it is described."""
        self.written: dict[str, int] = {}
        """Bytes on disk, by container's name."""
        self.working: dict[str, int] = {}
        """Bytes of memory, by container's name; who is not in it has just gone."""
        self._changes: asyncio.Queue[str] = asyncio.Queue()

    def reopen(self) -> None:
        """For another kubelet in another event loop."""
        self._changes = asyncio.Queue()

    def end(self, name: str, code: int) -> None:
        """The newest container of a name ends by itself."""
        self._end(self.newest(name), code)

    def newest(self, name: str) -> Container:
        return max((each for each in self.known.values() if each.name == name), key=lambda each: each.attempt)

    def _end(self, container: Container, code: int) -> None:
        reason = "Completed" if code == 0 else "Error"
        ended = msgspec.structs.replace(container, state=base.EXITED, exit_code=code, reason=reason, finished_ns=time.time_ns())
        self.known[container.id] = ended
        self._changes.put_nowait(container.sandbox_id)

    def lose(self, sandbox_id: str) -> None:
        """All of a pod's processes are gone."""
        self.known_sandboxes[sandbox_id] = msgspec.structs.replace(self.known_sandboxes[sandbox_id], state=base.SANDBOX_NOT_READY)
        for each in list(self.known.values()):
            if each.sandbox_id == sandbox_id and each.state == base.RUNNING:
                self._end(each, 137)

    async def run_sandbox(self, config: SandboxConfig) -> str:
        sandbox_id = f"s{len(self.known_sandboxes)}"
        self.known_sandboxes[sandbox_id] = Sandbox(sandbox_id, config, base.SANDBOX_READY, time.time_ns(), f"10.0.0.{len(self.known_sandboxes) + 2}")
        return sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        self.lose(sandbox_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        self.known_sandboxes.pop(sandbox_id)
        self.known = {name: each for name, each in self.known.items() if each.sandbox_id != sandbox_id}

    async def sandboxes(self) -> Sequence[Sandbox]:
        return list(self.known_sandboxes.values())

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        if self.refuses:
            raise RuntimeRefused(self.refuses)
        identity = f"{config.name}-{config.attempt}"
        self.configs[identity] = config
        sandbox = self.known_sandboxes[sandbox_id].config
        self.known[identity] = Container(
            identity,
            sandbox_id,
            config.name,
            config.attempt,
            config.image,
            f"sha256:{config.image}",
            base.CREATED,
            time.time_ns(),
            log_path=f"{sandbox.log_folder}/{config.log_path}",
            labels=config.labels,
            annotations=config.annotations,
        )
        return identity

    async def start_container(self, container_id: str) -> None:
        self.known[container_id] = msgspec.structs.replace(self.known[container_id], state=base.RUNNING, started_ns=time.time_ns())

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        container = self.known[container_id]
        if container.state == base.RUNNING:
            self.stopped.append((container.name, grace_s))
            self._end(container, 0)

    async def remove_container(self, container_id: str) -> None:
        self.known.pop(container_id, None)

    async def containers(self) -> Sequence[Container]:
        return list(self.known.values())

    async def exec_sync(self, container_id: str, argv: Sequence[str], timeout_s: float) -> ExecResult:
        self.executed.append(tuple(argv))
        return ExecResult(self.exit_code, b"", b"said")

    async def images(self) -> Sequence[Image]:
        if self.down:
            raise RuntimeRefused(self.down)
        return list(self.known_images.values())

    async def image(self, reference: str) -> Image | None:
        return next((each for each in self.known_images.values() if reference in (each.id, *each.tags)), None)

    async def pull_image(self, reference: str) -> str:
        if (found := await self.image(reference)) is None:
            raise base.ImageMissing("not found")
        return found.id

    async def usage(self, container_id: str) -> base.Usage:
        container = self.known.get(container_id)
        if container is None or container.name not in self.working:
            raise RuntimeRefused(f"container {container_id} not found")
        return base.Usage(time.time_ns(), working_set_bytes=self.working[container.name])

    async def disk_usage(self, container_id: str) -> int:
        return self.written.get(self.known[container_id].name, 0)

    async def changes(self) -> AsyncIterator[str]:
        while True:
            yield await self._changes.get()
