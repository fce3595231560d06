"""The kubelet's side of a shim: starting one, asking it, hearing from it (agents.kubelet.shim.main has the requests)."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from agents.kubelet.runtime.base import RuntimeRefused
from agents.kubelet.shim import kernel

MODULE = "agents.kubelet.shim.main"
"""On the command line of every shim, with the folder of its sandbox."""
PROGRAM = f"import sys; sys.path.append({{root!r}}); from {MODULE} import main; main()"
PACKET_BYTES_MAX = 200 << 10
START_TIMEOUT_S = 20.0
READY_FD, INTERPRETER_FD = 200, 201
"""Where the shim finds the pipe on which it says that it listens, and the mount that it is started from; above all that a kubelet may have open by
accident at 0 to 2."""
ANSWER_TIMEOUT_S = 60.0


class ShimGone(RuntimeRefused):
    """No shim listens there: the pod's processes are gone with it."""


async def start(folder: Path) -> None:
    """A shim for the sandbox whose config.json is in `folder`; returns once it listens. Raises RuntimeRefused."""
    root = str(Path(__file__).parents[3])
    ready, telling = os.pipe2(os.O_CLOEXEC)
    arguments = [sys.executable, "-I", "-S", "-E", "-c", PROGRAM.format(root=root), str(folder), str(READY_FD), str(INTERPRETER_FD)]
    interpreter = _interpreter()
    actions = [
        (os.POSIX_SPAWN_DUP2, telling, READY_FD),
        (os.POSIX_SPAWN_DUP2, interpreter, INTERPRETER_FD),
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(folder / "shim.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        pid = os.posix_spawn(f"/proc/self/fd/{INTERPRETER_FD}", arguments, _loader_hints(), file_actions=actions)
    finally:
        os.close(interpreter)
        os.close(telling)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            told = await _read_all(ready)
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise RuntimeRefused(f"the pod's shim did not start within {START_TIMEOUT_S:g} s") from None
    finally:
        os.close(ready)
        # The shim has left its parent by a second fork: it is nobody's child here, and nobody's to wait for.
        await asyncio.to_thread(os.waitpid, pid, 0)
    if told != b"\n":
        raise RuntimeRefused(f"the pod's shim did not start: {told.decode(errors='replace').strip() or 'it ended without a word'}")


def _interpreter() -> int:
    """Python's program as a mount of its own, read-only, that is attached nowhere. The shim forbids execution from it once it runs, so that what a
    container finds behind /proc/PID/exe of a process on its way in can neither be run nor written to (CVE-2019-5736)."""
    tree = kernel.open_tree(kernel.AT_FDCWD, os.path.realpath(sys.executable))
    kernel.set_attributes(tree, kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV)
    return tree


@cache
def _loader_hints() -> dict[str, str]:
    """A program that is attached nowhere has no folder: a library that it seeks beside itself ($ORIGIN) is found where this process has it."""
    used = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libpython" in line}
    return {"LD_LIBRARY_PATH": ":".join(sorted({str(Path(each).parent) for each in used}))} if used else {}


async def _read_all(fd: int) -> bytes:
    os.set_blocking(fd, False)
    found = b""
    while True:
        await readable(fd)
        data = os.read(fd, 4096)
        if not data:
            return found
        found += data


def settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, settle, future)
    try:
        await future
    finally:
        loop.remove_reader(fd)


class Connection:
    """One request and its answers."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        directory = -1
        try:
            directory = os.open(folder, os.O_PATH)
            self._socket.connect(f"/proc/self/fd/{directory}/shim.sock")
        except OSError:
            self._socket.close()
            raise ShimGone(f"no shim in {folder}") from None
        finally:
            if directory >= 0:
                os.close(directory)
        self._socket.setblocking(False)

    def send(self, request: dict[str, Any], fds: Sequence[int] = ()) -> None:
        data = json.dumps(request).encode()
        if len(data) > PACKET_BYTES_MAX:
            raise RuntimeRefused(f"a request of {len(data)} bytes; {PACKET_BYTES_MAX} is the most")
        try:
            socket.send_fds(self._socket, [data], list(fds))
        except OSError as error:
            raise ShimGone(str(error)) from None

    async def receive(self) -> tuple[dict[str, Any], list[int]]:
        """Raises ShimGone at the end, RuntimeRefused for an error."""
        await readable(self._socket.fileno())
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, PACKET_BYTES_MAX, 3)
        except OSError:
            data, fds = b"", []
        if not data:
            raise ShimGone("the shim hung up")
        for fd in fds:
            os.set_inheritable(fd, False)  # the next shim would hold another pod's terminal or input for as long as it lives
        answer = json.loads(data)
        if "error" in answer:
            raise RuntimeRefused(answer["error"])
        return answer, fds

    def close(self) -> None:
        self._socket.close()


async def ask(folder: Path, request: dict[str, Any], fds: Sequence[int] = ()) -> tuple[dict[str, Any], list[int]]:
    connection = Connection(folder)
    try:
        connection.send(request, fds)
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await connection.receive()
    except TimeoutError:
        raise RuntimeRefused(f"the pod's shim did not answer within {ANSWER_TIMEOUT_S:g} s") from None
    finally:
        connection.close()


async def watch(folder: Path, told: Callable[[dict[str, Any]], None]) -> None:
    """Every end of a container, until the shim is gone; then it returns."""
    with contextlib.suppress(ShimGone):
        connection = Connection(folder)
        try:
            connection.send({"do": "watch"})
            while True:
                answer, _ = await connection.receive()
                told(answer)
        finally:
            connection.close()


def running_pid(folder: Path, record: str = "shim.json") -> int:
    """The shim's process, or another that is on record, 0 if it is gone; its start time tells it from another process with the same number."""
    try:
        recorded = json.loads((folder / record).read_text())
        stat = Path(f"/proc/{recorded['pid']}/stat").read_text()
    except (OSError, ValueError, KeyError):
        return 0
    fields = stat.rpartition(")")[2].split()
    return int(recorded["pid"]) if int(fields[19]) == recorded["started"] and fields[0] != "Z" else 0
