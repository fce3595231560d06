"""check perf, check datascale: whether a cluster bears a workload, by etcdctl's loads, limits and lines.

The load comes out of one Python process: it reaches a few thousand writes a second, so the loads l and xl (8,000 and 15,000 a second) fail for the
client's sake before they fail for a good server's; the verdict says how far it came.
"""

import asyncio
import math
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from secrets import randbits
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_FEATURE, ERROR, INVALID_INPUT, Failure, told
from kvstore.ctl.flags import Flag, Given
from kvstore.ctl.kv import prefix_end
from kvstore.ctl.output import Printer, quoted

if TYPE_CHECKING:
    from kvstore.client.client import Client

CONNECTIONS_MAX = 50
"""More clients than that share connections: a connection costs a thread's attention here."""

CLEANUP_TIMEOUT_S = 30.0
SLOWEST_S_MAX, STDDEV_S_MAX, RATE_MIN = 0.5, 0.1, 0.9
"""What still passes: etcdctl's bounds for the slowest request, for the spread, and for the share of the wanted rate."""


class Load(Struct, frozen=True):
    """`rate`: writes a second; without one, `writes` as fast as they go. `clients` at once, for `duration_s`."""

    clients: int
    key_bytes: int
    value_bytes: int
    rate: int = 0
    duration_s: float = 0
    writes: int = 0


PERF = {
    "s": Load(clients=50, key_bytes=256, value_bytes=1024, rate=150, duration_s=60),
    "m": Load(clients=200, key_bytes=256, value_bytes=1024, rate=1000, duration_s=60),
    "l": Load(clients=500, key_bytes=256, value_bytes=1024, rate=8000, duration_s=60),
    "xl": Load(clients=1000, key_bytes=256, value_bytes=1024, rate=15000, duration_s=60),
}
DATASCALE = {
    "s": Load(clients=50, key_bytes=512, value_bytes=512, writes=10_000),
    "m": Load(clients=200, key_bytes=512, value_bytes=512, writes=100_000),
    "l": Load(clients=500, key_bytes=512, value_bytes=512, writes=1_000_000),
    "xl": Load(clients=1000, key_bytes=512, value_bytes=512, writes=3_000_000),
}
_NAMES = {"small": "s", "medium": "m", "large": "l", "xLarge": "xl"}


def _flags(what: str) -> tuple[Flag, ...]:
    return (
        Flag("auto-compact", False, "Compact storage with last revision after test is finished."),
        Flag("auto-defrag", False, "Defragment storage after test is finished."),
        Flag("load", "s", f"The {what} check's workload model. Accepted workloads: s(small), m(medium), l(large), xl(xLarge)"),
        Flag("prefix", f"/etcdctl-check-{what}/".replace("performance", "perf"), f"The prefix for writing the {what} check's keys."),
    )


def load_named(loads: dict[str, Load], name: str) -> Load:
    """Raises Failure."""
    found = loads.get(_NAMES.get(name, name))
    if found is None:
        raise Failure(BAD_FEATURE, f"unknown load option {name}")
    return found


# --- the writes and what became of them -----------------------------------------------------------------------------------------------


class Results(Struct):
    """Seconds that each write took, and how often each error came."""

    seconds: list[float] = []
    errors: Counter[str] = Counter()
    total_s: float = 0

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.total_s if self.total_s else 0.0

    @property
    def slowest_s(self) -> float:
        return max(self.seconds, default=0.0)

    @property
    def stddev_s(self) -> float:
        if not self.seconds:
            return 0.0
        mean = sum(self.seconds) / len(self.seconds)
        return math.sqrt(sum((took - mean) ** 2 for took in self.seconds) / len(self.seconds))


def random_key(prefix: bytes, size_bytes: int) -> bytes:
    """`size_bytes` behind the prefix: a random number as a varint, then zeros (as etcdctl writes them)."""
    number, out = randbits(63) << 1, bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return prefix + bytes(out).ljust(size_bytes, b"\0")


async def ticks(load: Load) -> AsyncIterator[None]:
    """One for each write to make: at the load's rate for its duration, or its number of them at once. Who was held up catches up by nothing."""
    if not load.rate:
        for _ in range(load.writes):
            yield
        return
    loop = asyncio.get_running_loop()
    begin = due = loop.time()
    while due < begin + load.duration_s:
        wait_s = due - loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        yield
        due = max(due + 1 / load.rate, loop.time() - 1 / load.rate)


async def write(clients: list["Client"], prefix: bytes, load: Load, advance: Callable[[int], None]) -> Results:
    """Put the load's keys, each of `load.clients` workers one at a time. `advance` hears of each write that was answered."""
    from kvstore.errors import StoreError

    results, value = Results([], Counter()), bytes(load.value_bytes)
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(load.clients)

    async def work(client: "Client") -> None:
        while (key := await queue.get()) is not None:
            began = time.perf_counter()
            try:
                await client.put(key, value)
            except StoreError as error:
                results.errors[told(error)] += 1
            results.seconds.append(time.perf_counter() - began)
            advance(1)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(load.clients):
            group.create_task(work(clients[number % len(clients)]), name=f"writer {number}")
        async for _ in ticks(load):
            await queue.put(random_key(prefix, load.key_bytes))
        for _ in range(load.clients):
            await queue.put(None)
    results.total_s = time.perf_counter() - began
    return results


class Bar:
    """How far it is, on a terminal's standard error; silent elsewhere."""

    WIDTH = 40

    def __init__(self, whole: int) -> None:
        self._whole, self._done, self._shown = whole, 0, -1
        self._visible = sys.stderr.isatty()

    def advance(self, by: int) -> None:
        self._done += by
        percent = 100 * self._done // self._whole
        if self._visible and percent != self._shown:
            self._shown = percent
            filled = self.WIDTH * self._done // self._whole
            sys.stderr.write(f"\r {self._done} / {self._whole} [{'=' * filled}{' ' * (self.WIDTH - filled)}] {percent}%")
            sys.stderr.flush()

    def finish(self) -> None:
        if self._visible:
            sys.stderr.write("\n")


# --- the commands ---------------------------------------------------------------------------------------------------------------------

OpenClient = Callable[[], "Client"]


async def perf(client: "Client", given: Given, printer: Printer, open_client: OpenClient) -> None:
    load = load_named(PERF, given.flags["load"])
    prefix = await _unused_prefix(client, given)
    bar = Bar(int(load.rate * load.duration_s))
    async with AsyncExitStack() as stack:
        results = await write(await _connections(stack, open_client, load), prefix, load, bar.advance)
    bar.finish()
    await _clean(client, given, printer, prefix, open_client)
    if not verdict(results, load, printer.line):
        raise Failure(ERROR, "")


def verdict(results: Results, load: Load, line: Callable[[str], None]) -> bool:
    passed = not results.errors
    if results.errors:
        _print_errors(results, line)
    enough = results.rate / load.rate > RATE_MIN
    line(f"{'PASS: Throughput is' if enough else 'FAIL: Throughput too low:'} {int(results.rate) + 1} writes/s")
    quick = results.slowest_s <= SLOWEST_S_MAX
    line(f"{'PASS: Slowest request took' if quick else 'Slowest request took too long:'} {results.slowest_s:f}s")
    even = results.stddev_s <= STDDEV_S_MAX
    line(f"{'PASS: Stddev is' if even else 'Stddev too high:'} {results.stddev_s:f}s")
    passed = passed and enough and quick and even
    line("PASS" if passed else "FAIL")
    return passed


def _print_errors(results: Results, line: Callable[[str], None]) -> None:
    line("FAIL: too many errors")
    for text, count in results.errors.items():
        line(f"FAIL: ERROR({text}) -> {count}")


async def datascale(client: "Client", given: Given, printer: Printer, open_client: OpenClient) -> None:
    load = load_named(DATASCALE, given.flags["load"])
    prefix = await _unused_prefix(client, given)
    before = await _memory_bytes(given, printer, "before")
    each = load.key_bytes + load.value_bytes
    printer.line(
        f"Start data scale check for work load [{load.writes} key-value pairs, {each} bytes per key-value, {load.clients} concurrent clients]."
    )
    sys.stdout.flush()
    bar = Bar(load.writes)
    async with AsyncExitStack() as stack:
        results = await write(await _connections(stack, open_client, load), prefix, load, bar.advance)
    bar.finish()
    after = await _memory_bytes(given, printer, "after")
    await _clean(client, given, printer, prefix, open_client)
    if results.errors:
        _print_errors(results, printer.line)
        raise Failure(ERROR, "")
    printer.line(f"PASS: Approximate system memory used : {(after - before) / (1 << 20):.2f} MB.")


async def _unused_prefix(client: "Client", given: Given) -> bytes:
    """Raises Failure if there are keys: they would be deleted in the end."""
    name, command = given.flags["prefix"], f"kvctl del --prefix {given.flags['prefix']}"
    prefix: bytes = name.encode("utf-8", "surrogateescape")
    found = await client.get(prefix or b"\0", prefix_end(prefix), limit=1)
    if found.kvs:
        shown = f"'{command}'" if given.command == "check perf" else command  # As etcdctl has it.
        raise Failure(INVALID_INPUT, f"prefix {quoted(name)} has keys. Delete with {shown} first")
    return prefix


async def _connections(stack: AsyncExitStack, open_client: OpenClient, load: Load) -> list["Client"]:
    return [await stack.enter_async_context(open_client()) for _ in range(min(load.clients, CONNECTIONS_MAX))]


async def _clean(client: "Client", given: Given, printer: Printer, prefix: bytes, open_client: Any) -> None:
    """Take the keys away again, and their room if that was asked for."""
    client.timeout_s = CLEANUP_TIMEOUT_S
    deleted = await client.delete(prefix or b"\0", prefix_end(prefix))
    if given.flags["auto-compact"]:
        revision = deleted.header.revision
        printer.line(f"Compacting with revision {revision}")
        await client.compact(revision, physical=True)
        printer.line(f"Compacted with revision {revision}")
    for endpoint in given.flags["endpoints"] if given.flags["auto-defrag"] else ():
        printer.line(f"Defragmenting {quoted(endpoint)}")
        async with open_client([endpoint]) as single:
            single.timeout_s = CLEANUP_TIMEOUT_S
            await single.defragment()
        printer.line(f"Defragmented {quoted(endpoint)}")


MEMORY = "process_resident_memory_bytes"


async def _memory_bytes(given: Given, printer: Printer, when: str) -> float:
    """What the first endpoint's process holds, out of its metrics. Raises Failure, the reason printed."""
    flags = given.flags
    found = await asyncio.get_running_loop().run_in_executor(None, _read_metrics, flags["endpoints"][0], flags)
    if isinstance(found, str):
        printer.line(found)
        printer.line(f"FAIL: Could not read {MEMORY} {when} the put operations.")
        raise Failure(ERROR, "")
    return found


def _read_metrics(endpoint: str, flags: dict[str, Any]) -> float | str:
    """The memory in bytes, or why it cannot be told."""
    from urllib.request import urlopen

    secure = bool(flags["cacert"] or flags["cert"]) or not flags["insecure-transport"]
    url = (endpoint if "://" in endpoint else ("https://" if secure else "http://") + endpoint) + "/metrics"
    try:
        with urlopen(url, timeout=flags["command-timeout"], context=_tls_context(flags) if url.startswith("https:") else None) as response:
            return memory_in(response.read().decode().splitlines())
    except (OSError, ValueError) as error:
        return f"fetch error: {error}"


def _tls_context(flags: dict[str, Any]) -> Any:
    import ssl

    context = ssl.create_default_context(cafile=flags["cacert"] or None)
    if flags["cert"]:
        context.load_cert_chain(flags["cert"], flags["key"])
    return context


def memory_in(lines: Iterable[str]) -> float | str:
    for line in lines:
        if line.startswith(MEMORY):
            return float(line.removeprefix(MEMORY))
    return f"could not find: {MEMORY}"


COMMANDS = {
    "check datascale": Command(
        datascale,
        _flags("datascale"),
        "Check the memory usage of holding data for different workloads on a given server endpoint.",
        endless=True,
        per_endpoint=True,
        use="[options]",
        description="If no endpoint is provided, localhost will be used. If multiple endpoints are provided, first endpoint will be used.",
    ),
    "check perf": Command(perf, _flags("performance"), "Check the performance of the etcd cluster", endless=True, per_endpoint=True, use="[options]"),
}
