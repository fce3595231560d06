"""A container runtime with real processes in real namespaces, for tests, and small containers in it."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agents.kubelet.oci import toolbox
from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import ContainerConfig, Runtime, SandboxConfig

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and mounts need root")

POD_RANGE = "10.250.77.0/24"
CGROUP = f"keelson-test-{os.getpid()}"

Opened = Callable[[], Runtime]


@asynccontextmanager
async def pod(runtime: Runtime, tmp_path: Path, name: str = "web", **settings: object) -> AsyncIterator[str]:
    config = SandboxConfig(name, "default", "uid-1", log_folder=str(tmp_path / "logs"), cgroup=f"pod{name}", **settings)  # type: ignore[arg-type]
    sandbox = await runtime.run_sandbox(config)
    try:
        yield sandbox
    finally:
        await runtime.remove_sandbox(sandbox)


def shell(words: str, name: str = "main", **settings: object) -> ContainerConfig:
    return ContainerConfig(name, toolbox.TOOLBOX, command=("sh", "-c"), args=(words,), log_path=f"{name}.log", **settings)  # type: ignore[arg-type]


async def started(runtime: Runtime, sandbox: str, config: ContainerConfig) -> str:
    container = await runtime.create_container(sandbox, config)
    await runtime.start_container(container)
    return container


async def seen(runtime: Runtime, container: str) -> base.Container:
    return next(each for each in await runtime.containers() if each.id == container)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - a file is looked at, and tells nobody
            await asyncio.sleep(0.01)


async def ended(runtime: Runtime, container: str) -> base.Container:
    async with asyncio.timeout(20):
        async for _ in runtime.changes():
            found = await seen(runtime, container)
            if found.state == base.EXITED:
                return found
    raise AssertionError("the changes came to an end")


def lines(tmp_path: Path, name: str = "main") -> list[tuple[str, str, str]]:
    """Stream, tag and text of each line of a log."""
    return [tuple(line.split(" ", 3)[1:]) for line in (tmp_path / "logs" / f"{name}.log").read_text().splitlines()]  # type: ignore[misc]


def run(opened: Opened, body: Callable[[Runtime], Awaitable[None]]) -> None:
    async def whole() -> None:
        runtime = opened()
        await runtime.open()
        try:
            await body(runtime)
        finally:
            await runtime.close()

    asyncio.run(whole())
