"""check perf and datascale: what passes, what is written, what is read of a process's memory."""

import asyncio

import pytest

from kvstore.client.client import Client
from kvstore.ctl import check
from kvstore.ctl.check import Counter, Load, Results
from kvstore.ctl.failure import BAD_FEATURE, Failure
from tests.unit.api.served import Served

LOAD = check.PERF["s"]


def verdict(results: Results) -> tuple[bool, list[str]]:
    lines: list[str] = []
    return check.verdict(results, LOAD, lines.append), lines


def test_enough_writes_quick_and_even_pass() -> None:
    assert verdict(Results([0.01] * 8999 + [0.02], total_s=60)) == (
        True,
        ["PASS: Throughput is 151 writes/s", "PASS: Slowest request took 0.020000s", "PASS: Stddev is 0.000105s", "PASS"],
    )


@pytest.mark.parametrize(
    ("results", "line"),
    [
        (Results([0.01] * 8000, total_s=60), "FAIL: Throughput too low: 134 writes/s"),
        (Results([0.01] * 8999 + [0.6], total_s=60), "Slowest request took too long: 0.600000s"),
        (Results([0.0, 0.4] * 4500, total_s=60), "Stddev too high: 0.200000s"),
        (Results([0.01] * 9000, Counter({"etcdserver: no space": 7}), 60), "FAIL: ERROR(etcdserver: no space) -> 7"),
        (Results(), "FAIL: Throughput too low: 1 writes/s"),
    ],
)
def test_anything_less_fails_and_says_so(results: Results, line: str) -> None:
    passed, lines = verdict(results)
    assert not passed
    assert lines[-1] == "FAIL"
    assert line in lines


def test_loads_by_name() -> None:
    assert check.load_named(check.PERF, "xLarge") is check.load_named(check.PERF, "xl")
    with pytest.raises(Failure, match="unknown load option huge") as caught:
        check.load_named(check.PERF, "huge")
    assert caught.value.exit_code == BAD_FEATURE


def test_keys_are_of_the_wanted_size_and_differ() -> None:
    keys = {check.random_key(b"/p/", 256) for _ in range(50)}
    assert len(keys) == 50
    assert {(len(key), key[:3], key[-200:]) for key in keys} == {(259, b"/p/", bytes(200))}


def test_memory_is_found_among_the_metrics() -> None:
    assert check.memory_in(["# HELP process_resident_memory_bytes ...", "process_resident_memory_bytes 2.5e+07"]) == 25_000_000
    assert check.memory_in(["up 1"]) == "could not find: process_resident_memory_bytes"


def test_all_writes_of_a_load_arrive(served: Served) -> None:
    load, advanced = Load(clients=4, key_bytes=16, value_bytes=32, writes=30), []

    async def scenario() -> Results:
        async with Client([f"127.0.0.1:{served.port}"]) as one, Client([f"127.0.0.1:{served.port}"]) as other:
            return await check.write([one, other], b"/load/", load, advanced.append)

    results = asyncio.run(scenario())
    assert (len(results.seconds), sum(advanced), results.errors) == (30, 30, {})
    stored = served.do(lambda backend: backend.model.state.range(b"/load/", b"/load0"))
    assert len(stored) == 30
