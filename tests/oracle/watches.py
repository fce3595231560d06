"""What one side has told on one watch stream, in a form that two sides can be compared by.

Responses of different watchers may come in any order, those of one watcher may not: so there is one list for each watch id, and one of the
answers to create requests, which come in the order of the requests. How events are packed into responses is a server's own affair (a
watcher that catches up gets many revisions at once), as long as no revision is torn apart.
"""

from collections.abc import Container, Iterable, Sequence
from typing import Any, Self

from google.protobuf.message import Message
from msgspec import Struct

from tests.oracle.normal import Identity, header, plain
from tests.support.compare import differences
from tests.support.watching import WatchStream

NO_WATCH = -1


DELETE = 1
FIRST_WITH_PROMISED_PROGRESS = (3, 5, 8)
"""Before, progress could be told ahead of events of a watcher that was still catching up."""


class Happened(Struct, frozen=True):
    """One change, as the oracle's own watch over all keys told it: what other watchers are due."""

    revision: int
    key: bytes
    type: int


class Watching(Struct, frozen=True):
    key: bytes
    range_end: bytes
    start: int
    asked: int
    """The start revision as the request had it, 0 for "from now on"."""
    filters: frozenset[int]
    progress_before: int
    """How many progress answers the stream had given when this watcher began: those do not bind it."""

    def sees(self, event: Happened) -> bool:
        if self.range_end == b"\0":
            inside = event.key >= self.key
        else:
            inside = self.key <= event.key < self.range_end if self.range_end else event.key == self.key
        return inside and event.revision >= self.start and event.type not in self.filters


class WatchLog:
    def __init__(self, stream: WatchStream, identity: Identity, version: tuple[int, ...]) -> None:
        self._stream, self._identity, self._version = stream, identity, version
        self._taken = 0
        self.asked: list[Message] = []
        """What each create request said."""
        self.created: list[dict[str, Any]] = []
        self.told: dict[int, list[Any]] = {}
        self.running: dict[int, Watching] = {}
        self.compacted: set[int] = set()
        """Ids whose watchers a compaction ended: in use until the client cancels them."""
        self.progress: list[int] = []
        self.faults: list[str] = []
        """Promises that this side broke by itself."""
        self._torn: tuple[int, int] | None = None

    @property
    def retired(self) -> set[int]:
        """Ids whose watchers have ended. etcd can still tell an event of such a one after its end, and it would be taken for the next owner's."""
        return self.told.keys() - self.running.keys() - self.compacted

    def read(self) -> Self:
        """Take in what has come since the last time."""
        while self._taken < len(self._stream.responses):
            self._take(self._stream.responses[self._taken])
            self._taken += 1
        if self._stream.ended is not None:
            self.faults.append(f"the stream ended: {self._stream.ended}")
        return self

    def wait(self, timeout_s: float) -> None:
        had = self._taken
        self._stream.wait_for(lambda responses: len(responses) > had, timeout_s)

    def _take(self, response: Message) -> None:
        head = header(response.header, self._identity)
        if response.created:
            self._take_created(response, head)
        elif response.canceled:
            told = {"canceled": response.cancel_reason, "compact_revision": response.compact_revision, "header": head}
            if not response.compact_revision:
                del told["header"]["revision"]  # the current one, which an event on the way may have moved
            self.told.setdefault(response.watch_id, []).append(told)
            self.running.pop(response.watch_id, None)
            (self.compacted.add if response.compact_revision else self.compacted.discard)(response.watch_id)
        elif response.events:
            self._take_events(response)
        elif response.watch_id == NO_WATCH:
            self._take_progress(response)
        else:
            self.faults.append(f"an empty response: {response}")

    def _take_created(self, response: Message, head: dict[str, Any]) -> None:
        spec = self.asked[len(self.created)]
        self.created.append(
            {"watch_id": response.watch_id, "canceled": response.canceled, "reason": response.cancel_reason, "header": head}
            | {"compact_revision": response.compact_revision, "events": len(response.events)}
        )
        if not response.canceled:
            start = spec.start_revision or response.header.revision + 1
            self.running[response.watch_id] = Watching(
                spec.key or b"\0", spec.range_end, start, spec.start_revision, frozenset(spec.filters), len(self.progress)
            )
            self.told[response.watch_id] = []

    def _take_events(self, response: Message) -> None:
        if response.watch_id not in self.running:
            self.faults.append(f"events for {response.watch_id}, which is not watching")
            return
        told = self.told[response.watch_id]
        first, last = response.events[0].kv.mod_revision, response.events[-1].kv.mod_revision
        if told and "kv" in told[-1] and told[-1]["kv"]["mod_revision"] >= first and self._torn != (response.watch_id, first):
            self.faults.append(f"watcher {response.watch_id} is told of {first} after {told[-1]['kv']['mod_revision']}")
        if response.header.revision < last:
            self.faults.append(f"a header of revision {response.header.revision} over events of {last}")
        promised = self.progress[self.running[response.watch_id].progress_before :]
        if self._version >= FIRST_WITH_PROMISED_PROGRESS and promised and first <= promised[-1]:
            self.faults.append(f"an event of {first} for watcher {response.watch_id} after progress {promised[-1]} was told")
        self._torn = (response.watch_id, last) if response.fragment else None
        told.extend(plain(event, self._identity) for event in response.events)

    def _take_progress(self, response: Message) -> None:
        if response.events or response.compact_revision:
            self.faults.append(f"a progress response with content: {response}")
        self.progress.append(response.header.revision)

    def all_started(self, revision: int) -> bool:
        """Whether there are watchers, and none that waits for a future revision."""
        return bool(self.running) and all(watching.asked <= revision for watching in self.running.values())

    def clashes(self, other: "WatchLog", without_prev: Container[tuple[int, bytes]]) -> Iterable[str]:
        """Where the two contradict each other, as far as both have got. For changes in `without_prev`, prev_kv does not count."""
        for index, (mine, its) in enumerate(zip(self.created, other.created, strict=False)):
            yield from differences(mine, its, f"create answer {index}")
        for watch_id in self.told.keys() & other.told.keys():
            for index, (mine, its) in enumerate(zip(self.told[watch_id], other.told[watch_id], strict=False)):
                if mine != its:
                    for event in (mine, its):
                        if "kv" in event and (event["kv"]["mod_revision"], event["kv"]["key"]) in without_prev:
                            event.pop("prev_kv", None)
                    yield from differences(mine, its, f"watcher {watch_id}, item {index}")

    def unheard(self, revision: int) -> list[Watching]:
        """Watchers with a start in the past that have told nothing yet: they may still be catching up without anybody seeing it."""
        return [watching for watch_id, watching in self.running.items() if watching.start <= revision and not self.told[watch_id]]

    def describe(self) -> str:
        counts = {watch_id: len(items) for watch_id, items in self.told.items()}
        return f"{len(self.created)} created, items by watcher {counts}, progress {self.progress[-3:]}"


def synced(one: WatchLog, other: WatchLog, history: Sequence[Happened]) -> bool:
    """Whether both have told everybody all that is due to them."""
    if len(one.created) != len(other.created) or one.running.keys() != other.running.keys():
        return False
    for watch_id, watching in one.running.items():
        due = sum(watching.sees(event) for event in history)
        if any(len(log.told[watch_id]) < due for log in (one, other)):
            return False
    return True
