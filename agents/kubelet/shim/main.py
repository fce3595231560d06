"""The shim's loop: requests of the kubelet over a socket in the pod's folder, the containers' streams, and the ends of processes.

A request is one packet of JSON (SOCK_SEQPACKET, so packets are messages), with file descriptors where streams are meant; each has a connection of
its own. The socket lies in a folder that only root can enter: who reaches it is root.

    start       id                              the container's config.json is read from its folder        -> pid
    signal      id, signal                                                                                 -> {}
    exec        id, argv, tty, kill_on_close    with stdin, stdout, stderr; for a terminal it gives one    -> pid, then exit
    attach      id                              with stdout, stderr; gives what the container reads from   -> {}
    socket                                      gives a TCP socket made in the pod's network namespace     -> {}
    network     name, address, prefix, gateway                                                             -> {}
    reopen      id                              the log file was moved                                     -> {}
    watch                                       stays open: every end of a container is told               -> {}, then exited
    stop                                        kills everything and ends the shim
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
from typing import Any

from agents.kubelet.shim import kernel, link, pause
from agents.kubelet.shim.container import KILL, Container, execute, start_time, write_file
from agents.kubelet.shim.spawning import Failed

REQUEST_BYTES_MAX = 200 << 10
FDS_MAX = 3


class Shim:
    def __init__(self, folder: str, config: dict[str, Any]) -> None:
        self.folder = folder
        self.config = config
        self.own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.pause = 0
        """The first process of the namespace that all containers share, where they do."""
        self.containers: dict[str, Container] = {}
        self.execs: dict[int, tuple[socket.socket, bool]] = {}
        self.watchers: list[socket.socket] = []
        self.connections: dict[int, socket.socket] = {}
        self.poll = select.poll()
        self.stale = False
        """Whether descriptors have come or gone since it was asked which are ready."""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.stopping = False
        self.wake = -1

    def enter_namespaces(self) -> None:
        config = self.config
        wanted = kernel.CLONE_NEWUTS
        wanted |= 0 if config["host_ipc"] else kernel.CLONE_NEWIPC
        wanted |= 0 if config["host_network"] else kernel.CLONE_NEWNET
        if config["host_network"]:
            wanted &= ~kernel.CLONE_NEWUTS
        kernel.unshare(wanted)
        if not config["host_network"]:
            kernel.set_hostname(config["hostname"])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                link.bring_up("lo", control)
        for name, value in config["sysctls"].items():
            with open("/proc/sys/" + name.replace(".", "/"), "w") as file:
                file.write(value)

    def listen(self) -> None:
        self.wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        directory = os.open(self.folder, os.O_PATH | os.O_CLOEXEC)
        # A path of a socket has 107 bytes at most; that of a folder of a pod may be longer.
        self.listener.bind(f"/proc/self/fd/{directory}/shim.sock")
        os.close(directory)
        os.chmod(f"{self.folder}/shim.sock", 0o600)
        self.listener.listen(64)
        self.watch(self.listener.fileno(), select.POLLIN)
        self.watch(self.wake, select.POLLIN)
        write_file(f"{self.folder}/shim.json", {"pid": os.getpid(), "started": start_time(os.getpid())})

    def serve(self) -> None:
        while not self.stopping:
            self.stale = False
            for fd, _ in self.poll.poll():
                if fd == self.wake:
                    os.read(self.wake, 4096)
                    self.reap()
                elif fd == self.listener.fileno():
                    self.accept()
                elif fd in self.connections:
                    self.answer(self.connections[fd])
                else:
                    self.stream(fd)
                if self.stale or self.stopping:
                    # The numbers that are left in the list may be closed by now, or somebody else's. Whatever is ready is told again.
                    break

    def watch(self, fd: int, events: int) -> None:
        self.poll.register(fd, events)
        self.stale = True

    def unwatch(self, fd: int) -> None:
        self.poll.unregister(fd)
        self.stale = True

    # --- processes ----------------------------------------------------------------------------------------------------

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.execs:
                connection, _ = self.execs.pop(pid)
                code = os.waitstatus_to_exitcode(status)
                self.tell(connection, {"exit": 128 - code if code < 0 else code})
                self.drop(connection)
            if pid == self.pause:
                # All that ran beside it has ended before it, says the kernel. Nothing can begin here any more: the pod gets another sandbox.
                self.pause, self.stopping = 0, True
            for identity, container in self.containers.items():
                if container.pid == pid:
                    for fd in container.outputs:
                        self.unwatch(fd)
                    container.pid = 0
                    end = container.ended(status)
                    for watcher in list(self.watchers):
                        self.tell(watcher, {"exited": identity, **end})

    def stream(self, fd: int) -> None:
        container = next(each for each in self.containers.values() if fd in each.outputs)
        if not container.read(fd):
            self.unwatch(fd)

    # --- requests -----------------------------------------------------------------------------------------------------

    def accept(self) -> None:
        connection, _ = self.listener.accept()
        self.connections[connection.fileno()] = connection
        self.watch(connection.fileno(), select.POLLIN)

    def answer(self, connection: socket.socket) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(connection, REQUEST_BYTES_MAX, FDS_MAX)
        except OSError:
            data, fds = b"", []
        if not data:
            for pid, (asker, kill) in list(self.execs.items()):
                if asker is connection and kill:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, KILL)
            self.drop(connection)
            return
        for fd in fds:
            os.set_inheritable(fd, False)
        try:
            request = json.loads(data)
            getattr(self, f"do_{request['do']}")(connection, request, fds)
        except Failed as failure:
            self.tell(connection, {"error": str(failure)})
        except Exception as error:
            self.tell(connection, {"error": f"{type(error).__name__}: {error}"})

    def tell(self, connection: socket.socket, answer: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        try:
            socket.send_fds(connection, [json.dumps(answer).encode()], list(fds), socket.MSG_DONTWAIT)
        except OSError:
            self.drop(connection)

    def drop(self, connection: socket.socket) -> None:
        if self.connections.pop(connection.fileno(), None) is not None:
            self.unwatch(connection.fileno())
            connection.close()
        if connection in self.watchers:
            self.watchers.remove(connection)

    def found(self, request: dict[str, Any], fds: list[int]) -> Container:
        """Raises Failed; then what came with the request is closed."""
        container = self.containers.get(request["id"])
        if container is None or not container.pid:
            for fd in fds:
                os.close(fd)
            raise Failed("container not running")
        return container

    def do_start(self, connection: socket.socket, request: dict[str, Any], fds: list[int]) -> None:
        folder = f"{self.folder}/containers/{request['id']}"
        with open(f"{folder}/config.json") as file:
            config = json.load(file)
        container = Container(folder, config)
        target = self.containers.get(config["target"])
        holder = 0 if self.config["host_pid"] else self.pause or (target.pid if target is not None else 0)
        container.start(self.own_pids, holder)
        self.containers[request["id"]] = container
        for fd in container.outputs:
            self.watch(fd, select.POLLIN | select.POLLHUP)
        self.tell(connection, {"pid": container.pid, "started_ns": container.started_ns})
        os.kill(os.getpid(), signal.SIGCHLD)  # it may have ended before it was known by its id

    def do_signal(self, connection: socket.socket, request: dict[str, Any], fds: list[int]) -> None:
        self.found(request, fds).signal(int(request["signal"]))
        self.tell(connection, {})

    def do_exec(self, connection: socket.socket, request: dict[str, Any], fds: list[int]) -> None:
        container = self.found(request, fds)
        pid, terminal = execute(container, request, tuple(fds))
        self.execs[pid] = (connection, bool(request.get("kill_on_close")))
        self.tell(connection, {"pid": pid}, (terminal,) if terminal >= 0 else ())
        if terminal >= 0:
            os.close(terminal)
        os.kill(os.getpid(), signal.SIGCHLD)

    def do_attach(self, connection: socket.socket, request: dict[str, Any], fds: list[int]) -> None:
        container = self.found(request, fds)
        container.attach(list(zip(("stdout", "stderr"), fds, strict=False)))
        self.tell(connection, {}, (container.stdin,) if container.stdin >= 0 else ())
        if container.config["stdin_once"] and not container.config["tty"] and container.stdin >= 0:
            # The one who attached holds the only writing end now: its end is the end of the container's input.
            os.close(container.stdin)
            container.stdin = -1

    def do_socket(self, connection: socket.socket, request: dict[str, Any], fds: list[int]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
            self.tell(connection, {}, (made.fileno(),))

    def do_network(self, connection: socket.socket, request: dict[str, Any], fds: list[int]) -> None:
        link.configure(request["name"], request["address"], request["prefix"], request["gateway"])
        self.tell(connection, {})

    def do_reopen(self, connection: socket.socket, request: dict[str, Any], fds: list[int]) -> None:
        self.found(request, fds).log.reopen()
        self.tell(connection, {})

    def do_watch(self, connection: socket.socket, request: dict[str, Any], fds: list[int]) -> None:
        self.watchers.append(connection)
        self.tell(connection, {})
        for identity, container in self.containers.items():
            if container.unwritten:
                self.tell(connection, {"exited": identity, **container.unwritten})

    def do_stop(self, connection: socket.socket, request: dict[str, Any], fds: list[int]) -> None:
        for container in self.containers.values():
            container.signal(KILL)
        if self.pause:
            os.kill(self.pause, KILL)
        for pid in self.execs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, KILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, 0)
                for container in self.containers.values():
                    if container.pid == pid:
                        container.pid = 0
                        container.ended(status)
        self.stopping = True
        self.tell(connection, {})


def main() -> None:
    """`folder ready_fd interpreter_fd`: the config is read from the folder; on `ready_fd` one line comes, empty or an error; `interpreter_fd` is the
    mount that this program was started from, which nobody else sees."""
    folder, ready, interpreter = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # From now on it starts nothing any more: /proc/self/exe of a process on its way into a container leads here, and no link, script or copied
    # descriptor makes a container run the node's interpreter. It was made read-only before it was started.
    kernel.set_attributes(interpreter, kernel.MOUNT_ATTR_NOEXEC)
    os.close(interpreter)
    if os.fork():
        os._exit(0)
    os.setsid()
    os.set_inheritable(ready, False)
    try:
        with open(f"{folder}/config.json") as file:
            shim = Shim(folder, json.load(file))
        shim.enter_namespaces()
        if shim.config["share_pids"]:
            shim.pause = pause.start(folder, shim.own_pids)
        shim.listen()
    except Exception as error:
        os.write(ready, f"{type(error).__name__}: {error}".replace("\n", " ").encode()[:4000])
        os._exit(1)
    os.write(ready, b"\n")
    os.close(ready)
    try:
        shim.serve()
    finally:
        with contextlib.suppress(OSError):
            os.unlink(f"{folder}/shim.sock")
