"""One server under attack, and what must still be true of it afterwards."""

import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from kvstore.wire import messages as pb
from tests.support.calls import Wire
from tests.support.http import client_context
from tests.support.kinds import Kind
from tests.support.members import Member
from tests.support.tls import TlsFiles

SECONDS = float(os.environ.get("KEELSON_FUZZ_SECONDS", "1.5"))
"""How long each random target goes on."""
SERVED_WITHIN_S = 3.0
MEMORY_GROWTH_BYTES_MAX = 300 << 20


def rounds(seconds: float = SECONDS) -> Iterator[int]:
    """0, 1, 2, ... until the time is over."""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        yield number
        number += 1


class Target:
    """A member with something in it that must not get lost."""

    def __init__(self, kind: Kind, folder: Path, tls: TlsFiles | None = None) -> None:
        self.member = Member(kind, "m1", folder, tls)
        self.member.start()
        self.member.wait_ready()
        self.tls = tls
        self.written = 0
        self._keep = Wire(self.member.endpoint, tls)
        self._put()
        self._memory_bytes = self.memory_bytes()

    def _put(self) -> None:
        self.written += 1
        self._keep.ask(pb.PutRequest(key=b"\x01keep", value=b"%d" % self.written), SERVED_WITHIN_S)

    def check(self) -> None:
        """It runs, serves the old connection and a new one, remembers, and has not grown without bounds."""
        assert self.member.alive(), f"the process ended with {self.member.process and self.member.process.returncode}:\n{self.member.log_tail(60)}"
        fresh = Wire(self.member.endpoint, self.tls)
        for wire in (self._keep, fresh):
            answer = wire.ask(pb.RangeRequest(key=b"\x01keep"), SERVED_WITHIN_S)
            assert answer.kvs[0].value == b"%d" % self.written, "what was written is lost"
        fresh.close()
        self._put()
        growth = self.memory_bytes() - self._memory_bytes
        assert growth < MEMORY_GROWTH_BYTES_MAX, f"memory grew by {growth >> 20} MiB"

    def memory_bytes(self) -> int:
        assert self.member.process is not None
        for line in Path(f"/proc/{self.member.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the process is gone")

    def connect(self, port: int | None = None, secure: bool | None = None, timeout_s: float = 5) -> socket.socket:
        """A plain connection to the client port (or another); through TLS where the port speaks it, unless told otherwise."""
        raw = socket.create_connection(("127.0.0.1", port or self.member.client_port), timeout_s)
        if self.tls is None or secure is False:
            return raw
        context: ssl.SSLContext = client_context(self.tls)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context.wrap_socket(raw, server_hostname="127.0.0.1")

    def close(self) -> None:
        self._keep.close()
        self.member.stop()


def answer_of(connection: socket.socket, timeout_s: float = 2) -> bytes:
    """All that comes until the server hangs up or says nothing more for a while."""
    connection.settimeout(timeout_s)
    got = b""
    try:
        while data := connection.recv(65536):
            got += data
            connection.settimeout(0.3)
    except OSError:  # a reset is an answer, too; so is silence
        pass
    finally:
        connection.close()
    return got
