"""Clients in threads, each asking one thing at a time, and their recorded history in the words of the linearizability checker.

The keys change every second or so: a history by key stays short enough to be judged, however long the load goes on.
"""

import itertools
import random
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from keelson.drills.checkers.history import Compare, Delete, Get, Operation, Outcome, Put, Request, Version
from kvstore.wire import messages as pb
from tests.support.calls import Wire
from tests.support.members import Cluster, Member

TIMEOUT_S = 2.5
"""How long a client waits before it asks another member. Longer than an election, shorter than etcd's own 7 s."""
PAUSE_AFTER_ERROR_S = 0.03
GENERATION_S = 1.0


_loads = itertools.count()
"""Each load has keys of its own: its history begins with none of them there."""


class Load:
    """Start with `with`, stop at its end; then `operations` is the history."""

    def __init__(self, members: Cluster | Sequence[Member], clients: int = 6, keys: int = 5, seed: int = 1, pause_s: float = 0.002) -> None:
        self.members = list(members)
        self.operations: list[Operation] = []
        self._number = next(_loads)
        self._keys, self._seed, self._pause_s = keys, seed, pause_s
        self._stamp = itertools.count()
        self._values = itertools.count()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._threads = [threading.Thread(target=self._guarded, args=(number,), name=f"client-{number}") for number in range(clients)]
        self._began = time.monotonic()
        self.answered = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)
        if self._failure is not None and error is None:
            raise self._failure

    def run_for(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def wait_for_answers(self, more: int, timeout_s: float = 30) -> None:
        """Until so many requests more were answered: the cluster is at work (again)."""
        goal, deadline = self.answered + more, time.monotonic() + timeout_s
        while self.answered < goal:
            assert time.monotonic() < deadline, f"{goal - self.answered} of {more} answers missing after {timeout_s} s"
            assert self._failure is None, self._failure
            time.sleep(0.01)

    def _guarded(self, number: int) -> None:
        try:
            self._client(number)
        except BaseException as failure:
            self._failure = failure
            raise

    def _client(self, number: int) -> None:
        chance = random.Random(f"{self._seed}/{number}")
        wires: dict[Member, Wire] = {}
        at = number
        while not self._stopping.is_set():
            members = self.members  # another list when somebody joined or left
            member = members[at % len(members)]
            if member not in wires:
                wires[member] = Wire(member.endpoint, member.tls)
            operation = self._ask(number, wires[member], self._choose(chance))
            self.operations.append(operation)
            if operation.outcome is None:
                at += 1
                self._stopping.wait(PAUSE_AFTER_ERROR_S)
            else:
                self.answered += 1
                time.sleep(self._pause_s)
            if chance.random() < 0.02:
                at = chance.randrange(len(members))
        for wire in wires.values():
            wire.close()

    def _choose(self, chance: random.Random) -> Request:
        generation = int((time.monotonic() - self._began) / GENERATION_S)
        key = b"load/%d/%d/%d" % (self._number, generation, chance.randrange(self._keys))
        value = b"v%d" % next(self._values)
        roll = chance.random()
        if roll < 0.45:
            return Request((Put(key, value),))
        if roll < 0.8:
            return Request((Get(key),))
        if roll < 0.9:
            return Request((Put(key, value),), (Compare(key, mod=0),), (Get(key),))
        return Request((Delete(key),))

    def _ask(self, client: int, wire: Wire, request: Request) -> Operation:
        called = next(self._stamp)
        outcome = ask(wire, request)
        return Operation(client, called, None if outcome is None else next(self._stamp), request, outcome)

    def read_everything(self, wire: Wire) -> None:
        """Read every key that the load touched, once more: what was acknowledged must still be there."""
        keys = sorted(set[bytes]().union(*(operation.keys() for operation in self.operations)))
        for key in keys:
            operation = self._ask(-1, wire, Request((Get(key),)))
            assert operation.outcome is not None, f"no answer to a last read of {key!r}"
            self.operations.append(operation)


def ask(wire: Wire, request: Request) -> Outcome | None:
    """The outcome of `request`, None if there was no answer or an error: it may or may not have happened."""
    (step,) = request.success
    if request.compares:
        assert isinstance(step, Put)
        message = pb.TxnRequest(
            compare=[pb.Compare(key=step.key, target=2, mod_revision=compare.mod) for compare in request.compares],
            success=[pb.RequestOp(request_put=pb.PutRequest(key=step.key, value=step.value))],
            failure=[pb.RequestOp(request_range=pb.RangeRequest(key=step.key))],
        )
        answer = wire.call("KV/Txn", message, TIMEOUT_S).message
        if answer is None:
            return None
        found = None if answer.succeeded else _version(answer.responses[0].response_range.kvs)
        return Outcome((found,), answer.succeeded, answer.header.revision)
    if isinstance(step, Put):
        answer = wire.call("KV/Put", pb.PutRequest(key=step.key, value=step.value), TIMEOUT_S).message
        return None if answer is None else Outcome((None,), True, answer.header.revision)
    if isinstance(step, Get):
        answer = wire.call("KV/Range", pb.RangeRequest(key=step.key), TIMEOUT_S).message
        return None if answer is None else Outcome((_version(answer.kvs),), True, answer.header.revision)
    answer = wire.call("KV/DeleteRange", pb.DeleteRangeRequest(key=step.key, prev_kv=True), TIMEOUT_S).message
    return None if answer is None else Outcome((_version(answer.prev_kvs),), True, answer.header.revision)


def _version(kvs: Sequence[object]) -> Version | None:
    return Version(kvs[0].value, kvs[0].mod_revision) if kvs else None  # type: ignore[attr-defined]
