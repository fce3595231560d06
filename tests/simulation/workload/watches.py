"""Watchers that read at their own pace, lose their connection now and then, and resume behind what they were told last."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from keelson.drills.checkers.watch_guarantees import WatchRecord
from kvstore.ids import MemberId
from kvstore.model import WatchSpec, WatchUpdate
from tests.simulation.workload.clients import Store

if TYPE_CHECKING:
    import random

WATCH_ID = 5


class Stream(Protocol):
    """A watch stream as the member gives it (`kvstore.api.backend.WatchStream`)."""

    def create(self, spec: WatchSpec) -> int: ...
    def request_progress(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


class WatchableStore(Store, Protocol):
    def open_stream(self, member: MemberId, deliver: Callable[[WatchUpdate], bool], broken: Callable[[], None]) -> Stream | None:
        """A stream on a member that runs, else None. `broken` is called when the member crashes."""
        ...

    def with_member(self, member: MemberId, call: Callable[[], None]) -> bool:
        """Do `call` at that member, as an input of it; False if it is not awake."""
        ...


class WatchClient:
    """One watch, resumed as often as it breaks. `records` has one record for each connection it had."""

    def __init__(self, store: WatchableStore, number: int) -> None:
        self.store = store
        self.number = number
        self.rng: random.Random = store.timeline.random(f"watcher {number}")
        whole = self.rng.random() < 0.6
        self._wish = WatchSpec(
            WATCH_ID,
            b"\0" if whole else b"r/0",
            b"\0" if whole else b"",
            no_put=self.rng.random() < 0.1,
            no_delete=self.rng.random() < 0.1,
            prev_kv=self.rng.random() < 0.5,
        )
        self._slow = self.rng.random() < 0.4
        self.records: list[WatchRecord] = []
        self.stopped = False
        self._stream: Stream | None = None
        self._credit = 0
        self._connection = 0
        self._from_compacted = 0
        self._connect_later()
        store.timeline.every(8.0, self.rng, self._break)
        store.timeline.every(2.0, self.rng, self._ask_progress)

    @property
    def record(self) -> WatchRecord | None:
        return self.records[-1] if self.records else None

    @property
    def connected(self) -> bool:
        return self._stream is not None

    @property
    def told(self) -> int:
        return self.records[-1].told if self.records else 0

    def _connect_later(self) -> None:
        self._connection += 1
        self.store.timeline.after(self.rng.expovariate(2.0), self._connect, self._connection)

    def _connect(self, connection: int) -> None:
        if connection != self._connection:
            return
        member = self.rng.choice(self.store.client_members())
        opened = False

        def open_here() -> None:
            nonlocal opened
            stream = self.store.open_stream(member, lambda update: self._deliver(connection, update), lambda: self._broken(connection))
            if stream is not None:
                opened = True
                self._open(member, stream, connection)

        self.store.with_member(member, open_here)
        if not opened:
            self._connect_later()

    def _open(self, member: MemberId, stream: Stream, connection: int) -> None:
        start = 0
        if (before := self.record) is not None:
            start = self._from_compacted or before.told + 1
        elif self.rng.random() < 0.5:
            start = self.rng.randrange(1, self.store.reference.revision + 10)
        self._from_compacted = 0
        spec = WatchSpec(WATCH_ID, self._wish.key, self._wish.range_end, start, False, self._wish.no_put, self._wish.no_delete, self._wish.prev_kv)
        self._credit = 3 if self._slow else 1 << 30
        self._stream = stream
        record = WatchRecord(member, spec, 0, [], self.number)
        self.records.append(record)
        record.created_revision = stream.create(spec)

    def _deliver(self, connection: int, update: WatchUpdate) -> bool:
        record = self.record
        if connection != self._connection or record is None:
            return True
        assert update.watch_id in (WATCH_ID, -1), f"an update for watch {update.watch_id} on a stream that has {WATCH_ID} only"
        if self._credit == 0:
            return False
        self._credit -= 1
        if self._credit == 0:
            self.store.timeline.after(self.rng.uniform(0.1, 3.0), self._drain, connection)
        record.updates.append(update)
        if update.compact_revision:
            self._from_compacted = update.compact_revision
            self.store.timeline.after(0.01, self._broken, connection)
        return True

    def _drain(self, connection: int) -> None:
        """The client has read what was buffered."""
        stream = self._stream
        if connection == self._connection and stream is not None and self.record is not None:
            self._credit = 3
            if not self.store.with_member(self.record.member, stream.resume):
                self.store.timeline.after(0.5, self._drain, connection)

    def _break(self) -> None:
        """The connection breaks under the client; what came last may not have reached it."""
        stream, record = self._stream, self.record
        if stream is None or record is None or self.stopped:
            return
        self.store.with_member(record.member, stream.close)
        self._broken(self._connection)

    def _broken(self, connection: int) -> None:
        if connection != self._connection:
            return
        self._stream = None
        record = self.record
        if record is not None and not record.ended and not self.stopped:
            lost = min(self.rng.randrange(3), len(record.updates))
            del record.updates[len(record.updates) - lost :]
        self._connect_later()

    def _ask_progress(self) -> None:
        if self._stream is not None and self.record is not None:
            self.store.with_member(self.record.member, self._stream.request_progress)
