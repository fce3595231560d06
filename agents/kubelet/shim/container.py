"""One container as its shim holds it: the process, the ends of its streams, who is attached, and the record of its end."""

import contextlib
import errno
import json
import os
import signal
import time
from typing import Any

from agents.kubelet.shim import cgroups, kernel, process, rootfs
from agents.kubelet.shim.log import LogFile
from agents.kubelet.shim.spawning import Failed, spawn

READ_BYTES = 64 << 10


def write_file(path: str, content: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Whole or not at all."""
    with open(f"{path}.new", "w") as file:
        json.dump(content, file)
    os.rename(f"{path}.new", path)


def start_time(pid: int) -> int:
    """Clock ticks since boot: tells one process from a later one of the same number. 0 for one that is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except OSError:
        return 0


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
        self.unwritten: dict[str, Any] = {}
        """The record of its end, where the disk was full."""
        self.log = LogFile(config["log_path"])

    def start(self, own_namespace: int, holder: int = 0) -> None:
        """In a process namespace of its own; with a `holder`, in that of this process. Raises Failed."""
        stdio = self._streams()
        config = {**self.config, "joins": bool(holder)}

        def enter() -> None:
            _enter_limits(config)
            proc = -1
            if holder:
                proc = rootfs.proc_of(holder)
                _join(holder, "pid", kernel.CLONE_NEWPID)
            kernel.unshare(kernel.CLONE_NEWNS)
            rootfs.enter(config, self.folder, proc)

        def child(told: int) -> None:
            process.run(enter, config, config["argv"], environment(self.folder), stdio, config["tty"], told)

        own = None if holder or config["host_pid"] else own_namespace
        try:
            self.pid, terminal = spawn(child, tuple(set(stdio)), new_namespace=own)
        except Failed as failure:
            self.close()
            self.record_end(128, "StartError", str(failure))
            raise
        if terminal >= 0:
            os.set_blocking(terminal, False)
            self.outputs[terminal], self.stdin = "stdout", terminal
        self.started_ns = time.time_ns()
        try:
            write_file(f"{self.folder}/state.json", {"pid": self.pid, "started": start_time(self.pid), "started_ns": self.started_ns})
        except OSError as error:
            # What is not written down nobody finds again: it must not run.
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            self.close()
            self.record_end(128, "StartError", str(error))
            raise Failed(str(error)) from None

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
        try:
            write_file(f"{self.folder}/exit.json", end)
        except OSError:
            self.unwritten = end
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


def execute(container: Container, request: dict[str, Any], stdio: tuple[int, ...]) -> tuple[int, int]:
    """One more process beside the container's own: its namespaces, user, limits and environment, other words. Raises Failed."""
    config = {**container.config, "joins": True}

    def enter() -> None:
        _enter_limits(config)
        _join(container.pid, "pid", kernel.CLONE_NEWPID)
        mounts = os.open(f"/proc/{container.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        process.seal()
        kernel.setns(mounts, kernel.CLONE_NEWNS)
        os.chdir("/")

    def child(told: int) -> None:
        process.run(enter, config, request["argv"], environment(container.folder), stdio, bool(request.get("tty")), told)

    return spawn(child, tuple(set(stdio)))


def environment(folder: str) -> dict[str, str]:
    """Read by who becomes the program, not held in the shim: a container that looks into a process on its way in sees nobody else's secrets."""
    with open(f"{folder}/environment.json") as file:
        return dict(json.load(file))


def _join(holder: int, kind: str, flag: int) -> None:
    """The namespace of a process. Of those of processes only what is born afterwards is in it."""
    namespace = os.open(f"/proc/{holder}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.setns(namespace, flag)
    finally:
        os.close(namespace)


def _enter_limits(config: dict[str, Any]) -> None:
    cgroups.join(config["cgroups"])
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(config["oom_score_adj"]))


def _readable(fd: int) -> bool:
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))


KILL = int(signal.SIGKILL)
