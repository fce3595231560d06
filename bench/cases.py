"""What is measured: the loads by name, and at which numbers in flight and on which members each is put."""

import ssl
from collections.abc import Iterable, Sequence
from typing import Any

from bench.load.gateway import gateway_puts
from bench.load.generator import generate
from bench.load.leases import keep_alive
from bench.load.requests import MIXED, OPERATIONS, PUT, PUT_LARGE, RANGE, RANGE_100, RANGE_ALL, SERIALIZABLE_RANGE, TXN, Operation
from bench.load.tally import Measured, Meter
from bench.load.watching import fan_out
from bench.results import Case

WATCHERS = 1_000
LEASES = 10_000
GATEWAY = "gateway put"
ONE_KEY, KEY_EACH = f"watch: {WATCHERS:,} watchers of one key", f"watch: {WATCHERS:,} keys, a watcher each"
KEEP_ALIVE = f"lease keep-alive, {LEASES:,} leases"

CONNECTIONS = {1: 1, 2: 2, 20: 5, 50: 50, 200: 20, 1000: 50}
"""In flight to connections: a lone client, some clients, many that share connections as gRPC's do."""


def cases() -> list[Case]:
    """Reads first, on the loaded keys; a single client is at the leader, where its puts are quickest."""
    return [
        *_of([RANGE, SERIALIZABLE_RANGE], [1, 20, 200]),
        *_of([RANGE_100], [20], ["spread"]),
        *_of([RANGE_ALL], [2], ["spread"]),
        *_of([MIXED], [200], ["spread"]),
        *_of([PUT], [1, 20, 200, 1000]),
        *_of([TXN], [200], ["leader"]),
        *_of([PUT_LARGE], [20], ["leader"]),
        _case(GATEWAY, 50, "leader"),
        _case(ONE_KEY, 1, "spread"),
        _case(KEY_EACH, WATCHERS, "spread"),
        _case(KEEP_ALIVE, 200, "spread"),
    ]


def _of(operations: Iterable[Operation], in_flight: Iterable[int], places: Iterable[str] = ("leader", "spread")) -> list[Case]:
    return [
        _case(operation.name, number, at) for operation in operations for number in in_flight for at in (["leader"] if number == 1 else list(places))
    ]


def _case(name: str, in_flight: int, at: str) -> Case:
    return Case(name, in_flight, CONNECTIONS[in_flight], at)


async def run_case(
    case: Case, endpoints: Sequence[str], *, seconds: float, warm_up_s: float, seed: int, tls: ssl.SSLContext | None, meter: Meter
) -> Measured:
    """Raises ConnectionBroken or TimeoutError if the load cannot be put on."""
    common: dict[str, Any] = {"seconds": seconds, "warm_up_s": warm_up_s, "tls": tls, "meter": meter}
    if case.operation == GATEWAY:
        return await gateway_puts(endpoints, connections=case.connections, seed=seed, **common)
    if case.operation in (ONE_KEY, KEY_EACH):
        return await fan_out(endpoints, watchers=WATCHERS, one_key=case.operation == ONE_KEY, **common)
    if case.operation == KEEP_ALIVE:
        return await keep_alive(endpoints, leases=LEASES, in_flight=case.in_flight, **common)
    operation = next(operation for operation in OPERATIONS if operation.name == case.operation)
    return await generate(endpoints, operation, in_flight=case.in_flight, connections=case.connections, seed=seed, **common)
