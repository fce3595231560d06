"""What the embedded runtime leaves where something breaks in the middle: nothing that nobody knows of."""

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from agents.kubelet.oci.store import Store
from agents.kubelet.runtime import base, embedded, shims
from agents.kubelet.runtime.base import Runtime, RuntimeRefused
from agents.kubelet.runtime.embedded import EmbeddedRuntime
from tests.support.sandboxes import CGROUP, POD_RANGE, Opened, ended, needs_root, pod, run, seen, shell, started, until

pytestmark = [needs_root, pytest.mark.usefixtures("own_network", "own_cgroups")]


@pytest.fixture
def opened(store: Store, tmp_path: Path) -> Opened:
    return lambda: EmbeddedRuntime(tmp_path / "runtime", store, pod_range=POD_RANGE, cgroup_root=CGROUP, bridge="cnihalf")


def read(path: str) -> str:
    return Path(path).read_text()


def test_a_pod_whose_first_process_was_ended_begins_anew(opened: Opened, tmp_path: Path) -> None:
    """Any container of such a pod may ask it to end, and its number may be somebody else's soon."""

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path, share_pids=True) as sandbox:
            one = await started(runtime, sandbox, shell("sleep 61", "one"))
            with contextlib.suppress(RuntimeRefused):  # it ends with the rest
                await runtime.exec_sync(one, ["sh", "-c", "kill -TERM 1"], 10)
            assert (await ended(runtime, one)).exit_code == 137
            async with asyncio.timeout(20):
                while (await runtime.sandboxes())[0].state == base.SANDBOX_READY:  # noqa: ASYNC110 - it tells when it has changed, not when it will
                    await asyncio.sleep(0.01)

    run(opened, body)


def test_a_container_that_cannot_be_written_down_does_not_run(opened: Opened, tmp_path: Path) -> None:
    """A full disk: what nobody knows of nobody would end, and its successor would find it at its files."""

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await runtime.create_container(sandbox, shell("sleep 60", "main"))
            (tmp_path / "runtime" / "sandboxes" / sandbox / "containers" / container / "state.json.new").mkdir()
            with pytest.raises(RuntimeRefused):
                await runtime.start_container(container)
            shim = shims.running_pid(tmp_path / "runtime" / "sandboxes" / sandbox)
            assert read(f"/proc/{shim}/task/{shim}/children") == ""
            assert (await seen(runtime, container)).state == base.EXITED
            await asyncio.wait_for(runtime.stop_sandbox(sandbox), 20)

    run(opened, body)


def test_a_sandbox_that_cannot_be_made_leaves_nothing(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, config: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(embedded, "_write_resolv_conf", full)

    async def body(runtime: Runtime) -> None:
        for _ in range(2):
            with pytest.raises((OSError, RuntimeRefused)):
                async with pod(runtime, tmp_path):
                    pass
        assert list((tmp_path / "runtime" / "sandboxes").iterdir()) == []
        assert str(tmp_path) not in read("/proc/self/mounts")

    run(opened, body)


def test_a_shim_that_does_not_answer_goes_with_the_sandbox_that_failed(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = []

    async def hung(self: EmbeddedRuntime, sandbox_id: str, folder: Path) -> str:
        pids.append(shims.running_pid(folder))
        os.kill(pids[-1], signal.SIGSTOP)
        raise RuntimeRefused("no address")

    monkeypatch.setattr(EmbeddedRuntime, "_connect_network", hung)
    monkeypatch.setattr(shims, "ANSWER_TIMEOUT_S", 0.1)

    async def body(runtime: Runtime) -> None:
        with pytest.raises(RuntimeRefused, match="no address"):
            async with pod(runtime, tmp_path):
                pass
        try:
            await until(lambda: not Path(f"/proc/{pids[0]}").exists() or "Z" in Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2])
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[0], signal.SIGKILL)

    run(opened, body)


def test_what_came_with_a_request_that_is_refused_is_closed(opened: Opened, tmp_path: Path) -> None:
    """A probe of a container that has just ended, again and again: the shim lives as long as the pod."""

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            folder = tmp_path / "runtime" / "sandboxes" / sandbox
            container = await started(runtime, sandbox, shell("true"))
            await ended(runtime, container)
            before = descriptors(shims.running_pid(folder))
            for what in ("exec", "attach"):
                with pytest.raises(RuntimeRefused, match="not running"):
                    await shims.ask(folder, {"do": what, "id": container, "argv": ["true"]}, (0, 1, 2))
            await until(lambda: descriptors(shims.running_pid(folder)) <= before)  # its ends of the connections go a moment after ours

    run(opened, body)


def test_the_end_of_a_container_on_a_full_disk_is_its_own_alone(opened: Opened, tmp_path: Path) -> None:
    """It cannot be written down, but it is told, and the others of the pod run on."""

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            folder = tmp_path / "runtime" / "sandboxes" / sandbox
            one = await started(runtime, sandbox, shell("sleep 60", "one"))
            other = await started(runtime, sandbox, shell("sleep 60", "other"))
            (folder / "containers" / one / "exit.json.new").mkdir()
            os.kill(pid_of(folder, one), signal.SIGKILL)
            assert (await ended(runtime, one)).exit_code == 137
            assert (await seen(runtime, other)).state == base.RUNNING

    run(opened, body)


def pid_of(sandbox: Path, container: str) -> int:
    return int(json.loads((sandbox / "containers" / container / "state.json").read_text())["pid"])


def descriptors(process: int) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))
