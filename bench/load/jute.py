"""ZooKeeper's protocol (jute), as much as creating and reading nodes needs: each message has its length before it, numbers are big-endian."""

import struct
from collections.abc import Callable
from typing import BinaryIO

from bench.load.inorder import Client
from bench.load.tally import Loop

SESSION_TIMEOUT_MS = 30_000
CREATE, GET_DATA, SYNC = 1, 4, 9

_INT = struct.Struct(">i")
_REQUEST = struct.Struct(">iii")  # length, number of the request, what it asks
_REPLY = struct.Struct(">iiqi")  # length, number of the request, transaction, error


def buffer(data: bytes) -> bytes:
    return _INT.pack(len(data)) + data


ANYONE = _INT.pack(1) + _INT.pack(31) + buffer(b"world") + buffer(b"anyone")
"""An access list: all may do all."""


def request(number: int, asked: int, body: bytes) -> bytes:
    return _REQUEST.pack(8 + len(body), number, asked) + body


def create(number: int, path: bytes, value: bytes) -> bytes:
    """A persistent node."""
    return request(number, CREATE, buffer(path) + buffer(value) + ANYONE + _INT.pack(0))


def get_data(number: int, path: bytes) -> bytes:
    return request(number, GET_DATA, buffer(path) + b"\0")


def sync(number: int, path: bytes) -> bytes:
    return request(number, SYNC, buffer(path))


def greeting() -> bytes:
    """A new session is wanted."""
    return buffer(struct.pack(">iqiq", 0, 0, SESSION_TIMEOUT_MS, 0) + buffer(bytes(16)) + b"\0")


def message(stream: BinaryIO) -> bytes:
    """The next whole message, with its length. Raises EOFError."""
    head = stream.read(4)
    body = stream.read(_INT.unpack(head)[0]) if len(head) == 4 else b""
    if not body:
        raise EOFError("zookeeper hung up")
    return head + body


def error_of(reply: bytes) -> int:
    """0: none."""
    return int(_REPLY.unpack_from(reply)[3])


class ZooKeeperClient(Client):
    """A session. `next_request` may hold several messages; `replies` says how many."""

    def __init__(self, run: Loop, slots: int, next_request: Callable[[], bytes], replies: int = 1) -> None:
        super().__init__(run, slots)
        self.request = next_request  # type: ignore[method-assign]
        self._replies = replies

    def greeting(self) -> bytes:
        return greeting()

    def greeted(self, data: bytes) -> int:
        if len(data) < 4:
            return 0
        size = 4 + _INT.unpack_from(data)[0]
        return size if len(data) >= size else 0

    def take(self, data: bytes) -> tuple[int, int, int]:
        done = errors = taken = at = 0
        while True:
            failed = False
            for _ in range(self._replies):
                if len(data) - at < _REPLY.size:
                    return done, errors, taken
                size, _, _, error = _REPLY.unpack_from(data, at)
                at += 4 + size
                if at > len(data):
                    return done, errors, taken
                failed |= error != 0
            done, errors, taken = done + 1, errors + failed, at
