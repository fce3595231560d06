"""A node, its pods and somebody outside, as network namespaces of one test: made with `ip`, gone with the `with` block.

Sockets are made inside a namespace by a thread that enters it, and work from the test's own thread afterwards: a socket belongs to the namespace in
which it was made.
"""

import os
import socket
import subprocess
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from pyroute2 import netns


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Machine:
    """A namespace with one address."""

    def __init__(self, name: str, label: str, address: str) -> None:
        self.name, self.label, self.address = name, label, address

    def run(self, *words: str) -> str:
        return subprocess.run(["ip", "netns", "exec", self.name, *words], check=True, capture_output=True, text=True).stdout

    def bare(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        made: list[socket.socket] = []

        def enter() -> None:
            netns.setns(self.name)
            made.append(socket.socket(socket.AF_INET, kind))

        thread = threading.Thread(target=enter)  # its namespace ends with it
        thread.start()
        thread.join()
        return made[0]

    def connected(self, address: str, port: int, timeout_s: float = 3.0) -> socket.socket:
        made = self.bare()
        made.settimeout(timeout_s)
        try:
            made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return made

    def ask(self, address: str, port: int, timeout_s: float = 3.0) -> str:
        """The first line of the answer to a line. Raises OSError."""
        with self.connected(address, port, timeout_s) as connection:
            connection.sendall(b"hello\n")
            with connection.makefile() as answer:
                return answer.readline()

    def say(self, address: str, port: int, data: bytes) -> bytes:
        with self.bare(socket.SOCK_DGRAM) as made:
            made.settimeout(3.0)
            made.sendto(data, (address, port))
            answer, source = made.recvfrom(2048)
            assert source == (address, port)
            return answer


class Echo:
    """Answers each line and each datagram with the machine's label before it."""

    def __init__(self, machine: Machine) -> None:
        self._label = machine.label.encode()
        self._tcp, self._udp = machine.bare(), machine.bare(socket.SOCK_DGRAM)
        self._tcp.bind((machine.address, 8080))
        self._tcp.listen(64)
        self._udp.bind((machine.address, 5353))
        for work in (self._accept, self._datagrams):
            threading.Thread(target=work, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._lines, args=(connection,), daemon=True).start()

    def _lines(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            for line in lines:
                connection.sendall(self._label + b" " + line)

    def _datagrams(self) -> None:
        while True:
            try:
                data, source = self._udp.recvfrom(2048)
                if source is None:
                    return  # shut down
                self._udp.sendto(self._label + b" " + data, source)
            except OSError:
                return

    def close(self) -> None:
        for bound in (self._tcp, self._udp):
            with suppress(OSError):
                bound.shutdown(socket.SHUT_RDWR)
            bound.close()


class Network:
    """`node` has a bridge cni0 (10.244.77.1) with `a` and `b`, which answer, and `pod`, which asks; `outside` is on the node's other side."""

    def __init__(self) -> None:
        self._prefix = f"kn{os.getpid() % 100000}"
        self.node = Machine(f"{self._prefix}-node", "node", "172.29.77.1")
        self.outside = Machine(f"{self._prefix}-out", "outside", "172.29.77.2")
        self.a = Machine(f"{self._prefix}-a", "a", "10.244.77.2")
        self.b = Machine(f"{self._prefix}-b", "b", "10.244.77.3")
        self.pod = Machine(f"{self._prefix}-pod", "pod", "10.244.77.4")
        self._echoes: list[Echo] = []

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._remove()

    def _make(self) -> None:
        node = self.node.name
        for machine in (self.node, self.outside, self.a, self.b, self.pod):
            ip("netns", "add", machine.name)
            ip("-n", machine.name, "link", "set", "lo", "up")
        ip("-n", node, "link", "add", "cni0", "type", "bridge")
        ip("-n", node, "addr", "add", "10.244.77.1/24", "dev", "cni0")
        ip("-n", node, "link", "set", "cni0", "up")
        self.node.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, pod in enumerate((self.a, self.b, self.pod)):
            ip("-n", node, "link", "add", f"veth{number}", "type", "veth", "peer", "name", "eth0", "netns", pod.name)
            ip("-n", node, "link", "set", f"veth{number}", "master", "cni0", "up")
            # As CNI's bridge plugin does with hairpinMode: a pod that is its own endpoint gets its packets back through the port they came from.
            ip("-n", node, "link", "set", f"veth{number}", "type", "bridge_slave", "hairpin", "on")
            ip("-n", pod.name, "addr", "add", f"{pod.address}/24", "dev", "eth0")
            ip("-n", pod.name, "link", "set", "eth0", "up")
            ip("-n", pod.name, "route", "add", "default", "via", "10.244.77.1")
        ip("-n", node, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.outside.name)
        for machine, other in ((self.node, self.outside), (self.outside, self.node)):
            ip("-n", machine.name, "addr", "add", f"{machine.address}/24", "dev", "eth0")
            ip("-n", machine.name, "link", "set", "eth0", "up")
            ip("-n", machine.name, "route", "add", "default", "via", other.address)
        self._echoes = [Echo(self.a), Echo(self.b)]

    def _remove(self) -> None:
        for echo in self._echoes:
            echo.close()
        for machine in (self.node, self.outside, self.a, self.b, self.pod):
            subprocess.run(["ip", "netns", "delete", machine.name], check=False, capture_output=True)
