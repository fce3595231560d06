"""Invariant: whatever floods one connection, a put on another is answered promptly meanwhile, and memory stays bounded."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from kvstore.wire import messages as pb
from tests.fuzz.target import MEMORY_GROWTH_BYTES_MAX, Target
from tests.support import http2
from tests.support.calls import Wire
from tests.support.http2 import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

FLOOD_S = 0.5
PROMPT_S = 5.0
"""On a machine that attacker and others share. Mostly it is some 30 ms; 1.8 s were seen while thousands of streams were opened at once."""

RANGE, PUT, WATCH = (http2.request_block(f"/etcdserverpb.{name}") for name in ("KV/Range", "KV/Put", "Watch/Watch"))
PUT_BODY = http2.message(pb.PutRequest(key=b"flood", value=b"x").SerializeToString())
WIDE_FIELD = http2.field("a" * 1000, "b" * 10_000)

Chunk = Callable[[int], bytes]


def resets(number: int) -> bytes:
    """CVE-2023-44487: streams opened and reset before they are answered."""
    cancel = struct.pack(">I", 8)
    return b"".join(
        frame(HEADERS, END_HEADERS, stream, RANGE) + frame(RST_STREAM, 0, stream, cancel) for stream in range(200 * number + 1, 200 * number + 201, 2)
    )


def resets_of_puts(number: int) -> bytes:
    cancel = struct.pack(">I", 8)
    return b"".join(
        frame(HEADERS, END_HEADERS, stream, PUT) + frame(DATA, END_STREAM, stream, PUT_BODY) + frame(RST_STREAM, 0, stream, cancel)
        for stream in range(200 * number + 1, 200 * number + 201, 2)
    )


def continuations(number: int) -> bytes:
    """CVE-2024-27983 and its kin: a header block that never ends."""
    return (frame(HEADERS, 0, 1, RANGE) if number == 0 else b"") + frame(CONTINUATION, 0, 1, WIDE_FIELD)


def empty_continuations(number: int) -> bytes:
    return (frame(HEADERS, 0, 1, RANGE) if number == 0 else b"") + frame(CONTINUATION, 0, 1) * 1000


def header_bombs(number: int) -> bytes:
    """4 kB in the table of headers, named 15,000 times: 60 MB of headers in 15 kB."""
    return frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, RANGE + b"\x40" + http2.text("x") + http2.text("y" * 4000) + b"\xbe" * 15_000)


def many_fields(number: int) -> bytes:
    return frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, RANGE + b"".join(http2.field(f"f{each}", "v") for each in range(1500)))


def watches(number: int) -> bytes:
    return b"".join(frame(HEADERS, END_HEADERS, stream, WATCH) for stream in range(400 * number + 1, 400 * number + 401, 2))


FLOODS: dict[str, tuple[Chunk, bool]] = {
    "streams reset at once": (resets, True),
    "puts reset at once": (resets_of_puts, True),
    "headers without end": (continuations, True),
    "empty pieces of headers": (empty_continuations, True),
    "headers that unpack to much": (header_bombs, True),
    "headers in numbers": (many_fields, True),
    "pings whose answers nobody reads": (lambda _: frame(PING, 0, 0, b"pingpong") * 1000, False),
    "settings whose answers nobody reads": (lambda _: frame(SETTINGS, 0, 0, struct.pack(">HI", http2.INITIAL_WINDOW, 65535)) * 1000, False),
    "empty data": (lambda number: (frame(HEADERS, END_HEADERS, 1, WATCH) if number == 0 else b"") + frame(DATA, 0, 1) * 1000, True),
    "window updates": (lambda _: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * 1000, True),
    "priorities": (lambda _: b"".join(frame(PRIORITY, 0, 2 * each + 1, b"\0\0\0\0\x10") for each in range(1000)), True),
    "frames of an unknown kind": (lambda _: frame(0x77, 0, 0, bytes(16_000)) * 10, True),
    "watches that are left alone": (watches, True),
}


@contextlib.contextmanager
def flooding(port: int, chunk: Chunk, reads: bool) -> Iterator[None]:
    """From connections of its own, a new one whenever the server ends one."""
    stop = threading.Event()

    def flood_once() -> None:
        with contextlib.suppress(OSError), http2.connect(port, timeout_s=0.5) as wire:
            reader = threading.Thread(target=_read_all, args=(wire,))
            if reads:
                reader.start()
            try:
                number = 0
                while not stop.is_set():
                    wire.sendall(chunk(number))
                    number += 1
            finally:
                with contextlib.suppress(OSError):
                    wire.shutdown(socket.SHUT_RDWR)
                if reads:
                    reader.join()

    def flood() -> None:
        while not stop.is_set():
            flood_once()

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _read_all(wire: socket.socket) -> None:
    while True:
        try:
            if not wire.recv(1 << 16):
                return
        except TimeoutError:
            continue
        except OSError:
            return


def puts_are_prompt(target: Target, seconds: float = FLOOD_S) -> None:
    """On a connection of before, and one of each put's own."""
    before = target.memory_bytes()
    end_s = time.monotonic() + seconds
    old = Wire(target.member.endpoint)
    while time.monotonic() < end_s:
        new = Wire(target.member.endpoint)
        for wire in (old, new):
            wire.ask(pb.PutRequest(key=b"calm", value=b"x"), PROMPT_S)
        new.close()
        growth = target.memory_bytes() - before
        assert growth < MEMORY_GROWTH_BYTES_MAX, f"memory grew by {growth >> 20} MiB"
    old.close()


@pytest.mark.parametrize("what", FLOODS)
def test_floods_of_frames(target: Target, what: str) -> None:
    with flooding(target.member.client_port, *FLOODS[what]):
        puts_are_prompt(target)


def test_crowds_of_connections(target: Target) -> None:
    """Silent ones, ones that only said hello, and headers that come a byte at a time."""
    beginnings = [b"", http2.opening(), b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nX: "]
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", target.member.client_port), 5))) for _ in range(300)]
        for number, wire in enumerate(crowd):
            wire.sendall(beginnings[number % 3])
        for _ in range(3):
            for wire in crowd[2::3]:
                with contextlib.suppress(OSError):
                    wire.send(b"x")
            puts_are_prompt(target, 0.3)


def test_a_server_with_few_descriptors_drops_who_does_nothing(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More connections than it may have, all idle: new ones are served within seconds, at their cost."""
    from msgspec.structs import replace

    from tests.support import kinds
    from tests.support.members import Member

    kind = kinds.subject()
    if kind.name != kinds.KEELSON:
        pytest.skip("etcd waits for those that are there to go")
    few = replace(kind, command=("bash", "-c", 'ulimit -n 400; exec "$0" "$@"', *kind.command))
    member = Member(few, "m1", tmp_path)
    member.start()
    try:
        member.wait_ready()
        with contextlib.ExitStack() as stack:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    stack.enter_context(contextlib.closing(http2.connect(member.client_port, timeout_s=1)))
            wire = Wire(member.endpoint)
            wire.ask(pb.PutRequest(key=b"late", value=b"x"), 10)
            wire.close()
        assert "hung up on idle connections" in member.log()
    finally:
        member.stop()
