"""One container as its shim holds it: the process, the ends of its streams, who is attached, and the record of its end."""

import contextlib
import errno
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from agents.kubelet.shim import cgroups, kernel, process, rootfs
from agents.kubelet.shim.log import LogFile

READ_BYTES = 64 << 10


class Failed(Exception):
    """Told to the kubelet in place of an answer."""


def write_file(path: str, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    with open(f"{path}.new", "w") as file:
        json.dump(content, file)
    os.rename(f"{path}.new", path)


def spawn(child: Callable[[int], None], pid_namespace: int | None, own_namespace: int, stdio_ends: tuple[int, ...]) -> tuple[int, int]:
    """Fork `child` (which is told where to report) into a new process namespace (None), a given one, or the shim's own.

    Returns the process id once the program runs, and its terminal's other side (-1 without one); raises Failed with what the child reported. The
    ends in `stdio_ends` are closed here.
    """
    told, telling = socket.socketpair()
    try:
        if pid_namespace is None:
            kernel.unshare(kernel.CLONE_NEWPID)
        elif pid_namespace != own_namespace:
            kernel.setns(pid_namespace, kernel.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            child(telling.fileno())
            os._exit(128)
    except OSError as error:
        told.close()
        raise Failed(str(error.strerror)) from None
    finally:
        # Only children are in the namespace, and only until the next one.
        kernel.setns(own_namespace, kernel.CLONE_NEWPID)
        telling.close()
        for fd in stdio_ends:
            os.close(fd)
    text, terminal = _report(told)
    if text:
        if terminal >= 0:
            os.close(terminal)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        raise Failed(text.decode(errors="replace"))
    return pid, terminal


def _report(told: socket.socket) -> tuple[bytes, int]:
    """Until the child has told all, or has become the program."""
    text, terminal = b"", -1
    with told:
        while True:
            data, fds, _, _ = socket.recv_fds(told, 4096, 1)
            if not data:
                return text, terminal
            if fds:
                terminal = fds[0]
                os.set_inheritable(terminal, False)
                data = data.removeprefix(process.TERMINAL)
            text += data


class Container:
    """Created when it is started; `outputs` maps a readable end to its stream's name."""

    def __init__(self, folder: str, config: dict[str, Any]) -> None:
        self.folder = folder
        self.config = config
        self.pid = 0
        self.started_ns = 0
        self.outputs: dict[int, str] = {}
        self.stdin = -1
        """What is written here the container reads; for a terminal, the terminal's other side."""
        self.attached: list[tuple[str, int]] = []
        self.log = LogFile(config["log_path"])

    def start(self, pid_namespace: int | None, own_namespace: int) -> None:
        stdio = self._streams()
        config = self.config

        def prepare() -> None:
            kernel.unshare(kernel.CLONE_NEWNS)
            _set_oom_score(config["oom_score_adj"])
            rootfs.enter(config, self.folder)

        def child(told: int) -> None:
            cgroups.join(config["cgroups"])
            process.run(prepare, config, config["argv"], config["cwd"], stdio, config["tty"], told)

        try:
            self.pid, terminal = spawn(child, pid_namespace, own_namespace, tuple(set(stdio)))
        except Failed as failure:
            self.close()
            self.record_end(128, "StartError", str(failure))
            raise
        if terminal >= 0:
            os.set_blocking(terminal, False)
            self.outputs[terminal], self.stdin = "stdout", terminal
        self.started_ns = time.time_ns()
        write_file(f"{self.folder}/state.json", {"pid": self.pid, "started_ns": self.started_ns})

    def _streams(self) -> tuple[int, ...]:
        """The container's ends; ours are in `outputs` and `stdin`. A terminal is opened in the container itself."""
        if self.config["tty"]:
            return ()
        if self.config["stdin"]:
            stdin, self.stdin = os.pipe2(os.O_CLOEXEC)
        else:
            stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        ends = []
        for name in ("stdout", "stderr"):
            ours, theirs = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(ours, False)
            self.outputs[ours] = name
            ends.append(theirs)
        return stdin, ends[0], ends[1]

    def read(self, fd: int) -> bool:
        """Take what is there, once; whether the stream goes on."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno != errno.EIO:  # how a terminal says that nobody holds its other side any more
                raise
            data = b""
        stream = self.outputs[fd]
        if data:
            self.log.write(stream, data)
            self._fan_out(stream, data)
            return True
        del self.outputs[fd]
        if fd != self.stdin:
            os.close(fd)
        return False

    def drain(self) -> None:
        """What was written before the end belongs to the log before the end is told."""
        for fd in list(self.outputs):
            while fd in self.outputs and _readable(fd):
                if not self.read(fd):
                    break

    def _fan_out(self, stream: str, data: bytes) -> None:
        for each in list(self.attached):
            if each[0] != stream:
                continue
            try:
                os.write(each[1], data)
            except OSError:
                # Gone, or slower than the container for a whole pipe's length: it is let go, not waited for.
                self.attached.remove(each)
                os.close(each[1])

    def attach(self, outputs: list[tuple[str, int]]) -> None:
        for _, fd in outputs:
            os.set_blocking(fd, False)
        self.attached += outputs

    def ended(self, status: int) -> dict[str, Any]:
        """The process has ended with `status` (of waitpid): what there is to record."""
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        folders = self.config["cgroups"]
        if self.config["shared_pids"]:
            cgroups.kill_all(folders)
        out_of_memory = cgroups.oom_kills(folders) > 0 and code != 0
        self.drain()
        self.close()
        return self.record_end(code, "OOMKilled" if out_of_memory else "Completed" if code == 0 else "Error", "")

    def record_end(self, code: int, reason: str, message: str) -> dict[str, Any]:
        end = {"code": code, "finished_ns": time.time_ns(), "reason": reason, "message": message}
        write_file(f"{self.folder}/exit.json", end)
        return end

    def signal(self, number: int) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def close(self) -> None:
        self.log.close()
        for fd in {*self.outputs, *(fd for _, fd in self.attached), *([self.stdin] if self.stdin >= 0 else [])}:
            with contextlib.suppress(OSError):
                os.close(fd)
        self.outputs, self.attached, self.stdin = {}, [], -1


def execute(container: Container, request: dict[str, Any], stdio: tuple[int, ...], own_namespace: int) -> tuple[int, int]:
    """One more process beside the container's own: its namespaces, user, limits and environment, other words. Raises Failed."""
    config = {**container.config, "makes_cwd": False}
    try:
        mounts = os.open(f"/proc/{container.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        pids = os.open(f"/proc/{container.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        for fd in set(stdio):
            os.close(fd)
        raise Failed("container not running") from None

    def prepare() -> None:
        kernel.setns(mounts, kernel.CLONE_NEWNS)
        os.chdir("/")

    def child(told: int) -> None:
        cgroups.join(config["cgroups"])
        process.run(prepare, config, request["argv"], config["cwd"], stdio, bool(request.get("tty")), told)

    try:
        return spawn(child, pids, own_namespace, tuple(set(stdio)))
    finally:
        os.close(mounts)
        os.close(pids)


def _set_oom_score(score: int) -> None:
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(score))


def _readable(fd: int) -> bool:
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))


KILL = int(signal.SIGKILL)
