"""check perf and check datascale on real servers, with loads that last a second."""

import asyncio
import io

import pytest

from kvstore.client.client import Client
from kvstore.ctl import check
from kvstore.ctl.check import Load
from kvstore.ctl.failure import INVALID_INPUT, Failure
from kvstore.ctl.flags import GLOBAL_FLAGS, Given
from kvstore.ctl.output import Printer
from tests.clients.conftest import Pair
from tests.support.members import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def run(cluster: Cluster, command: str, **changed: object) -> list[str]:
    """The lines that it prints, whatever the verdict."""
    flags = {name: flag.default for name, flag in GLOBAL_FLAGS.items()} | {flag.name: flag.default for flag in check.COMMANDS[command].flags}
    endpoints = [cluster[0].endpoint]
    given = Given(command, [], flags | {"endpoints": endpoints} | {name.replace("_", "-"): value for name, value in changed.items()}, None)
    out = io.StringIO()

    def open_client(at: list[str] | None = None) -> Client:
        return Client(at or endpoints)

    async def scenario() -> None:
        async with open_client() as client:
            await check.COMMANDS[command].run(client, given, Printer("simple", False, out), open_client)  # type: ignore[misc]

    try:
        asyncio.run(scenario())
    except Failure as failure:
        if str(failure):
            raise
    return out.getvalue().splitlines()


def test_a_small_load_passes_and_leaves_nothing(clear_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(check.PERF, "s", Load(clients=10, key_bytes=256, value_bytes=1024, rate=50, duration_s=1))
    for cluster in clear_pair:
        lines = run(cluster, "check perf", auto_compact=True, auto_defrag=True)
        endpoint = cluster[0].endpoint
        assert lines[0].startswith("Compacting with revision ")
        assert lines[1].startswith("Compacted with revision ")
        assert lines[2:4] == [f'Defragmenting "{endpoint}"', f'Defragmented "{endpoint}"']
        assert lines[4].startswith("PASS: Throughput is ")
        assert lines[-1] in ("PASS", "FAIL")  # how even it was is the machine's doing
        assert cluster[0].http.post("/v3/kv/range", {"key": "L2V0Y2RjdGwt", "range_end": "L2V0Y2RjdGwu"}).json().get("kvs") is None


def test_a_load_that_nobody_bears_fails(clear_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(check.PERF, "xl", Load(clients=20, key_bytes=256, value_bytes=1024, rate=1_000_000, duration_s=0.2))
    lines = run(clear_pair[1], "check perf", load="xl")
    assert lines[0].startswith("FAIL: Throughput too low: ")
    assert lines[-1] == "FAIL"


def test_a_prefix_with_keys_is_not_touched(clear_pair: Pair) -> None:
    for cluster in clear_pair:
        cluster[0].http.post("/v3/kv/put", {"key": "bWluZS8x", "value": ""})
        for command in ("check perf", "check datascale"):
            with pytest.raises(Failure, match='prefix "mine/" has keys') as caught:
                run(cluster, command, prefix="mine/")
            assert caught.value.exit_code == INVALID_INPUT


def test_the_memory_of_the_process_is_told(clear_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(check.DATASCALE, "s", Load(clients=10, key_bytes=512, value_bytes=512, writes=200))
    for cluster in clear_pair:
        first, last = run(cluster, "check datascale")
        assert first == "Start data scale check for work load [200 key-value pairs, 1024 bytes per key-value, 10 concurrent clients]."
        assert last.startswith("PASS: Approximate system memory used : ")
