"""`keelson certs rotate --drill`: every certificate of a running cluster and its authority are replaced while clients write.

The writers are clients as others are: each puts its own keys one after the other through the client library, at its own member. A put that meets
the end of its connection (GOAWAY: a server with new certificates closes the old connections) is sent once more, on the next one, as Go's
client does by itself; no other. Told is, for each step, how many puts failed (none should) and the longest time without an acknowledged one.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from certs import bundle, files, rotation
from certs.profiles import CLIENT
from certs.rotation import Step
from keelson.cogs import output
from keelson.launcher import rotating
from keelson.launcher.cluster import Cluster, MemberSpec, Refused
from keelson.launcher.drill import longest_pause_s, writing
from keelson.launcher.rotating import Tell
from kvstore.client.client import Client, StoreError, TlsFiles, prefix_end

CALM_S = 2.0
"""Writing before the first step, so that the gaps of the steps have something to be compared with."""
TRY_TIMEOUT_S = 5.0
CONNECTION_ENDED = "GOAWAY"

HEADERS = ("STEP", "FAILED", "ACKNOWLEDGED", "NO WRITE FOR", "A CLIENT WAITED", "TOOK")


class Outcome(Struct, frozen=True):
    """What one step did. `pause_s`: no put of anybody was acknowledged for so long; `wait_s`: no put of one writer."""

    step: str
    failed: int
    acknowledged: int
    pause_s: float
    wait_s: float
    took_s: float


class Writer:
    """Puts keys at one member until told to stop. Its lists are only appended to by its thread."""

    def __init__(self, cluster: Cluster, member: MemberSpec, prefix: str) -> None:
        self.acknowledged_s: list[float] = []
        self.failed: list[tuple[float, str]] = []
        self.repeated = 0
        self.keys: list[bytes] = []
        self._url, self._prefix = cluster.client_url(member), prefix
        certs = cluster.certs
        self.tls = TlsFiles(str(certs.ca), str(certs.certificate(CLIENT, bundle.ADMIN)), str(certs.key(CLIENT, bundle.ADMIN)))

    def run(self, stop: threading.Event) -> None:
        asyncio.run(self._run(stop))

    async def _run(self, stop: threading.Event) -> None:
        async with Client([self._url], tls=self.tls, timeout_s=TRY_TIMEOUT_S) as client:
            number = 0
            while not stop.is_set():
                key = f"{self._prefix}{number:08}".encode()
                number += 1
                try:
                    await self._put(client, key)
                except StoreError as error:
                    self.failed.append((time.monotonic(), str(error)))
                else:
                    self.acknowledged_s.append(time.monotonic())
                    self.keys.append(key)

    async def _put(self, client: Client, key: bytes) -> None:
        try:
            await client.put(key, b"x")
        except StoreError as error:
            if CONNECTION_ENDED not in str(error):
                raise
            self.repeated += 1
            await client.put(key, b"x")


def run(folder: Path, writers: int, overlap_s: float, tell: Tell) -> list[Outcome]:
    """Raises Refused if there is no running cluster with TLS, if a step is due already, or if an acknowledged write is lost."""
    cluster = rotating.running_cluster(folder)
    if cluster is None:
        raise Refused(f"{folder} belongs to no cluster with TLS that `keelson up` made")
    if rotation.next_step(folder) is not Step.TRUST:
        raise Refused("a rotation is under way: finish it first with `keelson certs rotate`")
    prefix = f"keelson-rotation/{time.time_ns()}/"
    crew = [Writer(cluster, cluster.members[number % len(cluster.members)], f"{prefix}{number:02}/") for number in range(writers)]
    outcomes = []
    with writing(crew):
        outcomes.append(_measured("calm", crew, lambda: time.sleep(CALM_S)))
        outcomes.append(_measured("renew", crew, lambda: _renew(cluster, tell)))
        for step in Step:

            def work(step: Step = step) -> None:
                rotating.take(folder, step, cluster, tell)
                if step is not Step.FINISH:
                    time.sleep(overlap_s)

            outcomes.append(_measured(step.value, crew, work))
        outcomes.append(_measured("after", crew, lambda: time.sleep(CALM_S)))
    for _, reason in (failure for writer in crew for failure in writer.failed):
        tell(f"a put failed: {reason}")
    repeated = sum(writer.repeated for writer in crew)
    if repeated:
        tell(f"{repeated} put(s) met the end of their connection and were sent once more")
    asyncio.run(_check(cluster, crew, prefix))
    return outcomes


def _renew(cluster: Cluster, tell: Tell) -> None:
    folder = cluster.certs.folder
    ca = files.read(folder, bundle.CA)
    for stem in bundle.leaves(folder):
        bundle.renew(folder, stem, ca, datetime.now(UTC))
    tell("renew: every certificate made anew")
    rotating.await_taken(cluster, None)


def _measured(step: str, crew: Sequence[Writer], work: Callable[[], None]) -> Outcome:
    began_s = time.monotonic()
    work()
    now_s = time.monotonic()
    every = [at for writer in crew for at in writer.acknowledged_s]
    return Outcome(
        step=step,
        failed=sum(began_s <= at <= now_s for writer in crew for at, _ in writer.failed),
        acknowledged=sum(began_s <= at <= now_s for at in every),
        pause_s=longest_pause_s(every, began_s, now_s),
        wait_s=max(longest_pause_s(writer.acknowledged_s, began_s, now_s) for writer in crew),
        took_s=now_s - began_s,
    )


async def _check(cluster: Cluster, crew: Sequence[Writer], prefix: str) -> None:
    """Every acknowledged key is there, then all go. Raises Refused."""
    tls = crew[0].tls
    async with Client([cluster.client_url(member) for member in cluster.members], tls=tls, timeout_s=60) as client:
        found = await client.get(prefix.encode(), range_end=prefix_end(prefix.encode()), keys_only=True)
        there = {pair.key for pair in found.kvs}
        lost = [key for writer in crew for key in writer.keys if key not in there]
        if lost:
            raise Refused(f"{len(lost)} acknowledged writes are lost, the first: {lost[0]!r}")
        await client.delete(prefix.encode(), range_end=prefix_end(prefix.encode()))


def as_json(outcomes: Sequence[Outcome]) -> str:
    return output.as_json([{name: getattr(each, name) for name in each.__struct_fields__} for each in outcomes])


def as_table(outcomes: Sequence[Outcome], colour: bool) -> str:
    rows = [
        [
            each.step,
            each.failed,
            each.acknowledged,
            output.duration(each.pause_s),
            output.duration(each.wait_s),
            output.duration(each.took_s),
        ]
        for each in outcomes
    ]
    return output.table(HEADERS, rows, right=HEADERS[1:], colour=colour)
