"""The requests that are measured, as gRPC path and protobuf bytes, written by hand: the generator must cost less than what it measures."""

import random
from collections.abc import Callable
from itertools import count

from msgspec import Struct

Bodies = Callable[[], bytes]
"""The next request message."""

VALUE_BYTES = 256
KEYS = 10_000
"""How many keys reads choose from; they are loaded before."""


class Operation(Struct, frozen=True):
    name: str
    path: str
    bodies: Callable[[int], Bodies]
    """Given a seed that no other run on the same cluster has, a source of messages."""


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def value() -> bytes:
    """Not compressible, and the same in each run."""
    return random.Random(1).randbytes(VALUE_BYTES)


def key(number: int) -> bytes:
    return b"bench/key/%012d" % number


def put_message(name: bytes, tail: bytes | None = None) -> bytes:
    return field(1, name) + (field(2, value()) if tail is None else tail)


def distinct_puts(seed: int) -> Bodies:
    """A new key each time."""
    numbers = count()
    prefix = b"bench/put/%06d/" % seed
    head = b"\x0a" + varint(len(prefix) + 12) + prefix
    tail = field(2, value())
    return lambda: head + b"%012d" % next(numbers) + tail


def reads(seed: int, *, serializable: bool) -> Bodies:
    """One of the loaded keys, at random."""
    choose = random.Random(seed).randrange
    suffix = b"\x38\x01" if serializable else b""
    messages = [field(1, key(number)) + suffix for number in range(KEYS)]
    return lambda: messages[choose(KEYS)]


PUT = Operation("put", "/etcdserverpb.KV/Put", distinct_puts)
RANGE = Operation("range", "/etcdserverpb.KV/Range", lambda seed: reads(seed, serializable=False))
SERIALIZABLE_RANGE = Operation("range, serializable", "/etcdserverpb.KV/Range", lambda seed: reads(seed, serializable=True))
OPERATIONS = (PUT, RANGE, SERIALIZABLE_RANGE)


def loading() -> tuple[Operation, int]:
    """The operation that writes the keys which reads choose from, and how many requests it takes."""
    tail = field(2, value())
    numbers = iter(range(KEYS))
    return Operation("load", PUT.path, lambda _: lambda: put_message(key(next(numbers)), tail)), KEYS
