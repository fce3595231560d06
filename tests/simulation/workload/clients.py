"""Clients that read and write a few keys, one request at a time each, at any member, with time-outs, and move on to another member after one.

A request that was not answered in time may have happened; it is recorded as such, and never sent again (a retry is a new request with a new
value, so that every value is written by one request only and a repetition by the store can be told from one by the client).
"""

import random
from collections.abc import Callable
from typing import Protocol

from keelson.drills.checkers.history import Compare, Delete, Get, Operation, Outcome, Put, Request
from keelson.drills.checkers.reference import Reference
from keelson.drills.checkers.violation import Violation
from kvstore.encoding import decode_key_value
from kvstore.errors import (
    Compacted,
    FutureRevision,
    Momentary,
    NoLeader,
    NoSpace,
    NotLeader,
    NotSupportedForLearner,
    StoreError,
    TooManyRequests,
)
from kvstore.ids import MemberId
from kvstore.model import Compact, Range, RangeResult
from tests.simulation.options import Options
from tests.simulation.timeline import Timeline
from tests.simulation.workload.requests import to_outcome, to_store


class Refused(Momentary):
    """The simulator's own: nobody listens at that member."""


class Broken(Momentary):
    """The simulator's own: the connection broke; what became of the request is unknown."""


NEVER_HAPPENED = (Refused, NoLeader, NotLeader, TooManyRequests, NoSpace, NotSupportedForLearner)
"""Answers that say that the request was refused before anything was done."""


class Store(Protocol):
    """The cluster as clients see it."""

    timeline: Timeline
    options: Options
    reference: Reference

    def client_members(self) -> list[MemberId]:
        """Where a client may knock: every member it has heard of, up or down."""
        ...

    def ask(self, member: MemberId, request: object, answered: Callable[[object], None]) -> None:
        """Send a request over a network that takes time; `answered` gets a result or a StoreError, or is never called."""
        ...


class Record:
    """What all clients share: the history, and the highest revision that anybody was told of."""

    def __init__(self) -> None:
        self.history: list[Operation] = []
        self.highest_told = 0
        self.acknowledged_writes = 0
        self.unanswered = 0
        self.serial = 0

    def new_value(self, size: int) -> bytes:
        self.serial += 1
        return b"v%d" % self.serial + b"." * max(0, size - 8)


class Client:
    def __init__(self, store: Store, record: Record, number: int) -> None:
        self.store = store
        self.record = record
        self.number = number
        self.rng: random.Random = store.timeline.random(f"client {number}")
        self.member = self.rng.choice(store.client_members())
        self.stopped = False
        self._turn = 0
        self._waiting: Callable[[], None] | None = None
        self._known: dict[bytes, tuple[bytes, int]] = {}
        """What this client last saw in a key: what it compares with."""
        self._next()

    def _next(self) -> None:
        self._turn += 1
        delay_s = self.rng.expovariate(1 / self.store.options.think_s)
        self.store.timeline.after(delay_s, self._act)

    def _act(self) -> None:
        if self.stopped:
            return
        if self.rng.random() < 0.05:
            self._move()
        kind = self.rng.random()
        if kind < 0.80:
            self._operate()
        elif kind < 0.90:
            self._read_locally()
        else:
            self._read_the_past()

    def _move(self) -> None:
        self.member = self.rng.choice(self.store.client_members())

    def _ask(self, request: object, answered: Callable[[object], None], gave_up: Callable[[], None]) -> None:
        """Send, and call one of the two, once."""
        turn = self._turn
        self._waiting = gave_up

        def on_answer(result: object) -> None:
            if turn == self._turn:
                self._waiting = None
                self._next()
                if isinstance(result, Momentary):
                    self._move()
                answered(result)

        def on_timeout() -> None:
            if turn == self._turn:
                self._waiting = None
                self._next()
                self._move()
                gave_up()

        self.store.ask(self.member, request, on_answer)
        self.store.timeline.after(self.store.options.client_timeout_s, on_timeout)

    def give_up(self) -> None:
        """The run is over: what is still unanswered stays so."""
        if self._waiting is not None:
            self._waiting()

    # --- linearizable operations

    def _operate(self) -> None:
        request = self._draw()
        called = self.store.timeline.stamp()
        floor = self.record.highest_told

        def answered(result: object) -> None:
            if isinstance(result, NEVER_HAPPENED):
                return
            if isinstance(result, Momentary):
                lost()
            elif isinstance(result, StoreError):
                raise Violation("lawful answers", f"{request} was answered with {type(result).__name__}: {result}")
            else:
                self._told(request, to_outcome(request, result), called, floor)  # type: ignore[arg-type]

        def lost() -> None:
            self.record.unanswered += 1
            self.record.history.append(Operation(self.number, called, None, request, None))

        self._ask(to_store(request), answered, lost)

    def _told(self, request: Request, outcome: Outcome, called: int, floor: int) -> None:
        record, reference = self.record, self.store.reference
        record.history.append(Operation(self.number, called, self.store.timeline.stamp(), request, outcome))
        steps = request.success if outcome.succeeded else request.failure
        written = [step for step in steps if isinstance(step, Put)]
        if outcome.revision < floor:
            raise Violation("revisions rise in real time", f"{request} was answered at {outcome.revision}, though {floor} was told before it began")
        for step in written:
            if reference.written_at(step.value) != outcome.revision:
                raise Violation("an acknowledged write happened", f"{step} at {outcome.revision}; history has {reference.written_at(step.value)}")
            self._known[step.key] = (step.value, outcome.revision)
        for step, version in zip(steps, outcome.results, strict=True):
            if isinstance(step, Get):
                self._known[step.key] = version or (b"", 0)
        record.highest_told = max(record.highest_told, outcome.revision)
        record.acknowledged_writes += bool(written)

    def _draw(self) -> Request:
        rng, options = self.rng, self.store.options
        key = b"r/%d" % rng.randrange(options.keys)
        value = self.record.new_value(options.value_bytes)
        kind = rng.random()
        if kind < 0.25:
            return Request((Get(key),))
        if kind < 0.50:
            return Request((Put(key, value),))
        if kind < 0.60:
            return Request((Delete(key),))
        if kind < 0.80:
            known, mod = self._known.get(key, (b"", 0))
            compare = Compare(key, mod=mod) if not known or rng.random() < 0.5 else Compare(key, known)
            return Request((Put(key, value),), (compare,), (Get(key),))
        # Two keys that are only ever written together.
        if kind < 0.90:
            return Request((Put(b"p/a", value), Put(b"p/b", value + b"'")))
        return Request((Get(b"p/a"), Get(b"p/b")))

    # --- reads that need not be newest, but true

    def _read_locally(self) -> None:
        self._ask(Range(b"r/", b"r0", serializable=True), self._check_range, _nothing)

    def _read_the_past(self) -> None:
        revision = max(1, self.record.highest_told - self.rng.randrange(30))
        request = Range(b"r/", b"r0", revision=revision, serializable=self.rng.random() < 0.5)
        self._ask(request, lambda result: self._check_range(result, revision), _nothing)

    def _check_range(self, result: object, revision: int = 0) -> None:
        if isinstance(result, Momentary):
            return
        if revision and isinstance(result, Compacted | FutureRevision):
            return
        if not isinstance(result, RangeResult):
            raise Violation("lawful answers", f"a range at {revision} was answered with {result!r}")
        expected = self.store.reference.range(b"r/", revision or result.revision)
        got = [decode_key_value(kv) for kv in result.kvs]
        if got != expected:
            raise Violation("reads are true", f"at revision {revision or result.revision} member {self.member} has {got}, history {expected}")


class Compactor:
    """Asks for compactions at revisions a little behind."""

    def __init__(self, store: Store, record: Record) -> None:
        self.store = store
        self.record = record
        self.rng = store.timeline.random("compactor")
        self.asked: set[int] = set()
        self.stopped = False
        store.timeline.every(store.options.compact_every_s, self.rng, self._compact)

    def _compact(self) -> None:
        revision = self.record.highest_told - self.rng.randrange(20)
        if not self.stopped and revision > 1:
            self.asked.add(revision)
            self.store.ask(self.rng.choice(self.store.client_members()), Compact(revision), _nothing)


def _nothing(*_: object) -> None:
    """Nobody waits."""
