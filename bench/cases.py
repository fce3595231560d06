"""What is measured: the loads by name, and at which numbers in flight and on which members each is put."""

import ssl
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from bench.load.gateway import gateway_puts
from bench.load.generator import generate
from bench.load.leases import keep_alive
from bench.load.requests import (
    MIXED,
    OPERATIONS,
    PUT,
    PUT_4K,
    PUT_64K,
    PUT_AGAIN,
    PUT_LARGE,
    PUT_TINY,
    RANGE,
    RANGE_100,
    RANGE_ALL,
    SERIALIZABLE_RANGE,
    SIZED_MIX,
    TXN,
    Operation,
)
from bench.load.tally import Measured, Meter
from bench.load.watching import fan_out
from bench.results import Case

GATEWAY = "gateway put"
ONE_KEY, KEY_EACH = "watch: 1,000 watchers of one key", "watch: 1,000 keys, a watcher each"
KEEP_ALIVE = "lease keep-alive, 10,000 leases"

CONNECTIONS = {1: 1, 2: 2, 20: 5, 50: 50, 200: 20, 1000: 50}
"""In flight to connections: a lone client, some clients, many that share connections as gRPC's do."""

CONCURRENCY = (1, 20, 200, 1000)
OPEN_AT_PERCENT = (25, 50, 75, 90)
"""Open loops: at so much of what the reference does in a closed loop."""


class Scale(Struct, frozen=True):
    """How many watchers and leases the cases with such numbers in their names have: fewer only where nothing is measured."""

    watchers: int = 1_000
    leases: int = 10_000


FULL_SCALE = Scale()


def cases(*, tls: bool = False) -> list[Case]:
    """Reads first, on the loaded keys; a single client is at the leader, where its puts are quickest. `tls`: the main ones again with TLS."""
    closed = [
        *_of([RANGE, SERIALIZABLE_RANGE], CONCURRENCY),
        *_of([RANGE_100], [20], ["spread"]),
        *_of([RANGE_ALL], [2], ["spread"]),
        *_of([MIXED], [200], ["spread"]),
        *_of([PUT], CONCURRENCY),
        *(Case(operation.name, 1000, 1000, "spread") for operation in (RANGE, PUT)),
        *_of([PUT_AGAIN, TXN, PUT_TINY], [200], ["leader"]),
        *_of([PUT_4K, PUT_LARGE], [20], ["leader"]),
        *_of([SIZED_MIX], [20], ["spread"]),
        *_of([PUT_64K], [20], ["leader"]),
        _case(GATEWAY, 50, "leader"),
        _case(ONE_KEY, 1, "spread"),
        _case(KEY_EACH, 1000, "spread"),
        _case(KEEP_ALIVE, 200, "spread"),
    ]
    opened = [Case(operation.name, 200, 20, "leader", percent=percent) for operation in (RANGE, PUT) for percent in OPEN_AT_PERCENT]
    return [*closed, *opened, *(tls_cases() if tls else [])]


def tls_cases() -> list[Case]:
    plain = [*_of([RANGE, SERIALIZABLE_RANGE, PUT], [1, 200], ["leader"]), _case(GATEWAY, 50, "leader")]
    return [Case(case.operation, case.in_flight, case.connections, case.at, tls=True) for case in plain]


def common_cases() -> list[Case]:
    """What every system is asked that can: puts and reads, at the one that leads."""
    return _of([RANGE, SERIALIZABLE_RANGE, PUT], CONCURRENCY, ["leader"])


def closed_loop_of(case: Case) -> Case:
    """What the rates of an open loop are a share of."""
    return Case(case.operation, case.in_flight, case.connections, case.at, case.tls)


def _of(operations: Iterable[Operation], in_flight: Iterable[int], places: Iterable[str] = ("leader", "spread")) -> list[Case]:
    return [
        _case(operation.name, number, at) for operation in operations for number in in_flight for at in (["leader"] if number == 1 else list(places))
    ]


def _case(name: str, in_flight: int, at: str) -> Case:
    return Case(name, in_flight, CONNECTIONS[in_flight], at)


async def run_case(
    case: Case,
    endpoints: Sequence[str],
    *,
    seconds: float,
    warm_up_s: float,
    seed: int,
    tls: ssl.SSLContext | None,
    meter: Meter,
    rate: float | None = None,
    scale: Scale = FULL_SCALE,
) -> Measured:
    """`rate`: requests a second of an open loop. Raises ConnectionBroken, OSError or TimeoutError if the load cannot be put on."""
    common: dict[str, Any] = {"seconds": seconds, "warm_up_s": warm_up_s, "tls": tls, "meter": meter}
    if case.operation == GATEWAY:
        return await gateway_puts(endpoints, connections=case.connections, seed=seed, **common)
    if case.operation in (ONE_KEY, KEY_EACH):
        return await fan_out(endpoints, watchers=scale.watchers, one_key=case.operation == ONE_KEY, **common)
    if case.operation == KEEP_ALIVE:
        return await keep_alive(endpoints, leases=scale.leases, in_flight=case.in_flight, **common)
    operation = next(operation for operation in OPERATIONS if operation.name == case.operation)
    assert (rate is not None) == bool(case.percent)
    return await generate(endpoints, operation, in_flight=case.in_flight, connections=case.connections, rate=rate, seed=seed, **common)
