"""The requests that are measured, as gRPC path and protobuf bytes, written by hand: the generator must cost less than what it measures."""

import random
from collections.abc import Callable
from itertools import count

from msgspec import Struct

Requests = Callable[[], tuple[str, bytes]]
"""The next request: gRPC path and message."""

VALUE_BYTES = 256
KEYS = 10_000
"""How many keys reads choose from; they are loaded before."""

PUT_PATH, RANGE_PATH, TXN_PATH = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Txn"
WRITE_SHARE = 0.2
"""Of the mixed load: one write to four reads."""


VALUE_SIZES = (16, 256, 4 << 10, 64 << 10)
SIZE_WEIGHTS = (40, 40, 17, 3)
SIZED_KEYS = 1_000


class Operation(Struct, frozen=True):
    name: str
    paths: tuple[str, ...]
    requests: Callable[[int], Requests]
    """Given a seed that no other run on the same cluster has, a source of requests."""


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def value(size_bytes: int = VALUE_BYTES) -> bytes:
    """Not compressible, and the same in each run."""
    return random.Random(1).randbytes(size_bytes)


def key(number: int) -> bytes:
    return b"bench/key/%012d" % number


def put_message(name: bytes, tail: bytes | None = None) -> bytes:
    return field(1, name) + (field(2, value()) if tail is None else tail)


def distinct_puts(seed: int, value_bytes: int = VALUE_BYTES) -> Requests:
    """A new key each time."""
    numbers = count()
    prefix = b"bench/put/%06d/" % seed
    head = b"\x0a" + varint(len(prefix) + 12) + prefix
    tail = field(2, value(value_bytes))
    return lambda: (PUT_PATH, head + b"%012d" % next(numbers) + tail)


def random_puts(seed: int) -> Requests:
    """One of the loaded keys again, at random."""
    choose = random.Random(seed).randrange
    tail = field(2, value())
    heads = [field(1, key(number)) for number in range(KEYS)]
    return lambda: (PUT_PATH, heads[choose(KEYS)] + tail)


def sized_mix(seed: int) -> Requests:
    """As much read as written, of the same keys at random: values from 16 bytes to 64 KiB, small ones more often."""
    chance = random.Random(seed)
    tails = [field(2, value(size)) for size in VALUE_SIZES]
    keys = [field(1, b"bench/sized/%04d" % number) for number in range(SIZED_KEYS)]

    def request() -> tuple[str, bytes]:
        name = keys[chance.randrange(SIZED_KEYS)]
        if chance.random() < 0.5:
            return RANGE_PATH, name
        return PUT_PATH, name + chance.choices(tails, SIZE_WEIGHTS)[0]

    return request


def reads(seed: int, *, serializable: bool, keys: int = 1) -> Requests:
    """So many of the loaded keys, from a random one on."""
    choose = random.Random(seed).randrange
    suffix = b"\x38\x01" if serializable else b""
    starts = KEYS - keys + 1
    if keys == 1:
        messages = [(RANGE_PATH, field(1, key(number)) + suffix) for number in range(KEYS)]
    else:
        messages = [(RANGE_PATH, field(1, key(number)) + field(2, key(number + keys)) + suffix) for number in range(starts)]
    return lambda: messages[choose(starts)]


def creations(seed: int) -> Requests:
    """Transactions that put a new key if it is not there (create revision 0), as a client that takes a lock or makes an object does."""
    puts = distinct_puts(seed)

    def request() -> tuple[str, bytes]:
        put = puts()[1]
        compare = b"\x10\x01" + field(3, put[2 : 2 + put[1]])  # target CREATE, the put's own key; result EQUAL and revision 0 are defaults
        return TXN_PATH, field(1, compare + b"\x28\x00") + field(2, field(2, put))

    return request


def mixed(seed: int) -> Requests:
    """Linearizable reads of one key, and writes of the same keys between them."""
    chance = random.Random(seed).random
    read, write = reads(seed, serializable=False), random_puts(seed)
    return lambda: write() if chance() < WRITE_SHARE else read()


PUT = Operation("put", (PUT_PATH,), distinct_puts)
RANGE = Operation("range", (RANGE_PATH,), lambda seed: reads(seed, serializable=False))
SERIALIZABLE_RANGE = Operation("range, serializable", (RANGE_PATH,), lambda seed: reads(seed, serializable=True))
RANGE_100 = Operation("range of 100 keys", (RANGE_PATH,), lambda seed: reads(seed, serializable=False, keys=100))
RANGE_ALL = Operation(f"range of {KEYS:,} keys", (RANGE_PATH,), lambda seed: reads(seed, serializable=False, keys=KEYS))
TXN = Operation("txn: create", (TXN_PATH,), creations)
MIXED = Operation("mixed, 1 put to 4 ranges", (RANGE_PATH, PUT_PATH), mixed)
PUT_AGAIN = Operation("put, random keys again", (PUT_PATH,), random_puts)
PUT_TINY = Operation("put of 16 B", (PUT_PATH,), lambda seed: distinct_puts(seed, 16))
PUT_4K = Operation("put of 4 KiB", (PUT_PATH,), lambda seed: distinct_puts(seed, 4 << 10))
PUT_LARGE = Operation("put of 8 KiB", (PUT_PATH,), lambda seed: distinct_puts(seed, 8 << 10))
PUT_64K = Operation("put of 64 KiB", (PUT_PATH,), lambda seed: distinct_puts(seed, 64 << 10))
SIZED_MIX = Operation("mixed, 1 put to 1 range, 16 B to 64 KiB", (RANGE_PATH, PUT_PATH), sized_mix)
OPERATIONS = (
    *(RANGE, SERIALIZABLE_RANGE, RANGE_100, RANGE_ALL, MIXED, SIZED_MIX),
    *(PUT, PUT_AGAIN, TXN, PUT_TINY, PUT_4K, PUT_LARGE, PUT_64K),
)


def loading(keys: int = KEYS) -> tuple[Operation, int]:
    """The operation that writes the keys which reads choose from, and how many requests it takes."""
    tail = field(2, value())
    numbers = iter(range(keys))
    return Operation("load", (PUT_PATH,), lambda _: lambda: (PUT_PATH, put_message(key(next(numbers)), tail))), keys
