"""Watches that last as long as the drill, one that begins at each member and one of everything that a single client follows through all of them.

Each goes through `kvstore.client`, which opens it anew behind what it was told last when a connection breaks: what is judged is the whole that comes
of it. Afterwards `history` reads from each member what it has to tell of everything that happened.
"""

import asyncio
import contextlib
import time
from typing import Any

from msgspec import Struct

from keelson.drills.checkers.watch_guarantees import WatchRecord
from keelson.drills.cluster import Cluster, Member
from kvstore.client.client import Client, StoreError
from kvstore.client.watch import Watcher
from kvstore.ids import MemberId, Revision
from kvstore.model import EncodedEvent, EncodedKeyValue, WatchSpec, WatchUpdate

EVERYTHING = b"\0"
DELETED = 1
"""The type of an event, in the API."""
KEEPALIVE_S = 10.0
"""How long a watch hears nothing before its connection is asked whether it lives; etcd refuses to be asked more often than every 5 s."""


class ChangedKey(Struct, frozen=True):
    key: bytes
    deleted: bool
    kv: EncodedKeyValue
    prev_kv: EncodedKeyValue | None


class Change(Struct, frozen=True):
    revision: int
    events: tuple[ChangedKey, ...]


class Watch:
    """One watch of a client that begins at `member`; `record` is what it was told, `heard_at` when it heard of each value."""

    def __init__(self, cluster: Cluster, number: int, start_revision: int, interest: tuple[bytes, bytes], *, prev_kv: bool) -> None:
        members = cluster.members
        at = number % len(members)
        urls = [member.client_url for member in (*members[at:], *members[:at])]
        self._client = Client(urls, tls=members[at].tls, keepalive_time_s=KEEPALIVE_S, keepalive_timeout_s=2)
        key, range_end = interest
        self._watcher = Watcher(self._client, key, range_end, start_revision=start_revision, prev_kv=prev_kv)
        spec = WatchSpec(0, key, range_end, start_revision, prev_kv=prev_kv)
        self.record = WatchRecord(MemberId(number), spec, start_revision - 1, [], number)
        self.heard_at: dict[bytes, float] = {}
        self.events_s: list[float] = []
        self.ended = ""
        """Why it ended before its time, if it did."""

    @property
    def told(self) -> int:
        """The revision up to which it was told everything."""
        return self._watcher.next_revision - 1

    @property
    def resumed(self) -> int:
        return self._client.channels.failed_tries

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async for response in self._watcher:
                now_s = time.monotonic()
                self.record.updates.append(_update(response))
                for event in response.events:
                    self.heard_at.setdefault(event.kv.value, now_s)
                self.events_s += [now_s] * len(response.events)
        except StoreError as error:
            self.ended = str(error) or type(error).__name__
        finally:
            await self._client.close()


class Watches:
    """`prefix` is that of the load's keys: the last watch is interested in the generations only whose number begins with a digit below 5."""

    def __init__(self, cluster: Cluster, start_revision: int, prefix: bytes) -> None:
        size = len(cluster.members)
        self.every = [Watch(cluster, number, start_revision, (EVERYTHING, EVERYTHING), prev_kv=number % 2 == 0) for number in range(size)]
        self.every.append(Watch(cluster, size, start_revision, (prefix, prefix + b"5"), prev_kv=True))

    @property
    def resumed(self) -> int:
        return sum(watch.resumed for watch in self.every)

    def records(self) -> list[WatchRecord]:
        return [watch.record for watch in self.every]

    async def catch_up(self, revision: int, timeout_s: float) -> None:
        """Wait until all that concern everything were told of `revision`, or the time is over: what is missing then is found by the checks."""
        whole = [watch for watch in self.every if watch.record.spec.key == EVERYTHING]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while any(watch.told < revision for watch in whole):  # noqa: ASYNC110 - nobody is to be told of every event
                    await asyncio.sleep(0.02)


async def history(member: Member, first: int, last: int, timeout_s: float) -> list[Change]:
    """Every change from revision `first` to `last` as this member tells it to somebody who comes afterwards. Raises StoreError, TimeoutError."""
    if first > last:
        return []
    found: list[tuple[int, list[ChangedKey]]] = []
    async with Client([member.client_url], tls=member.tls) as client:
        watcher = client.watch(EVERYTHING, EVERYTHING, start_revision=first, prev_kv=True)
        async with asyncio.timeout(timeout_s):
            async for response in watcher:
                for event in response.events:
                    if not found or found[-1][0] != event.kv.mod_revision:
                        found.append((event.kv.mod_revision, []))
                    found[-1][1].append(_changed(event))
                if watcher.next_revision > last:
                    break
    return [Change(revision, tuple(keys)) for revision, keys in found if revision <= last]


def _changed(event: Any) -> ChangedKey:
    before = EncodedKeyValue(event.prev_kv.SerializeToString()) if event.HasField("prev_kv") else None
    return ChangedKey(event.kv.key, event.type == DELETED, EncodedKeyValue(event.kv.SerializeToString()), before)


def _update(response: Any) -> WatchUpdate:
    events = tuple(EncodedEvent(event.SerializeToString()) for event in response.events)
    return WatchUpdate(0, Revision(response.header.revision), events)
