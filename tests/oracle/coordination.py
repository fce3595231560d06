"""Locks and elections of several clients, on etcd and on the subject, step by step, with every answer, key and revision compared.

A call that waits changes nothing while it does, so that both stores go through the same revisions as long as each step's own change is awaited.
Which calls must have ended is read off the keys: those with no older key under their prefix. Observers must have been told of the present leader.
What is compared in the end is what each of them said, in full.
"""

import threading
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from msgspec import Struct

from kvstore.wire import messages as pb
from kvstore.wire.messages import METHODS
from tests.oracle.choosing import Chooser
from tests.oracle.duel import Mismatch
from tests.oracle.outcomes import brief
from tests.oracle.sides import Side
from tests.support.calls import OK
from tests.support.kinds import Kind
from tests.support.members import wait_until

PATHS = {method.name: path for path, method in METHODS.items() if method.service in ("v3lockpb.Lock", "v3electionpb.Election")}
NAMES = (b"n", b"m", b"")
LEASES = (1, 2, 3, 0xABC, -5)
VALUES = (b"", b"v", b"w")
TTL_S = 100_000
PATIENCE_S = 10.0
PENDING_MAX = 8
HISTORY = 30

_LOGGED = pb.TxnRequest(
    compare=[pb.Compare(key=b"zz", target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=1 << 40)],
    success=[pb.RequestOp(request_put=pb.PutRequest(key=b"zz"))],
)
"""Goes through the log and changes nothing."""


class Pending(Struct):
    """A lock or campaign under way on both sides, or two observers."""

    method: str
    name: bytes
    key: bytes
    calls: tuple[Any, Any]
    revision: int = 0
    said: str = ""


class Observer:
    """Everything that one side tells of a name's leaders."""

    def __init__(self, side: Side, name: bytes) -> None:
        self.told: list[Message] = []
        self._call = side.wire.channel.unary_stream(PATHS["Observe"], pb.LeaderRequest.SerializeToString, pb.LeaderResponse.FromString)(
            pb.LeaderRequest(name=name)
        )
        self._thread = threading.Thread(target=self._read, name="observer", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for response in self._call:
                self.told.append(response)
        except grpc.RpcError:
            pass

    def knows(self, kv: Message | None) -> bool:
        return kv is None or (bool(self.told) and self.told[-1].kv == kv)

    def close(self) -> None:
        self._call.cancel()
        self._thread.join(PATIENCE_S)


class Contests:
    """`step` does one random thing on both sides."""

    def __init__(self, oracle: Kind, subject: Kind, folder: Path, chooser: Chooser) -> None:
        self.c = chooser
        self.sides = (Side(oracle, folder / "oracle"), Side(subject, folder / "subject"))
        self.log: list[str] = []
        self.pending: list[Pending] = []
        self.observers: dict[bytes, tuple[Observer, Observer]] = {}
        self.leaders: list[Any] = []
        """Leader keys that were won once."""
        self.waited = 0
        for lease in LEASES:
            self._grant(lease)

    def close(self) -> None:
        for pending in self.pending:
            for call in pending.calls:
                call.cancel()
        for pair in self.observers.values():
            for observer in pair:
                observer.close()
        for side in self.sides:
            side.close()

    # --- steps --------------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        c = self.c
        steps = [self._start, self._start, self._start, self._cancel, self._unlock, self._unlock, self._proclaim, self._resign, self._leader]
        steps += [self._renew_lease, self._strangers_key, self._observe]
        c.pick(steps)()
        self._settle()

    def _start(self) -> None:
        if len(self.pending) >= PENDING_MAX:
            return
        c = self.c
        name, lease = c.pick(NAMES), 404 if c.chance(5) else c.pick(LEASES)
        if c.chance(50):
            method, request = "Lock", pb.LockRequest(name=name, lease=lease)
        else:
            method, request = "Campaign", pb.CampaignRequest(name=name, lease=lease, value=c.pick(VALUES))
        self._note(f"{method} {brief(request)}")
        calls = tuple(stub(side, method).future(request, timeout=600) for side in self.sides)
        pending = Pending(method, name, name + b"/%s" % f"{lease:x}".encode(), calls, said=self.log[-1])
        # It has either ended, or entered: then its key is there, with the value asked for.
        value = getattr(request, "value", None)
        for side, call in zip(self.sides, calls, strict=True):
            self._wait(lambda call=call, side=side: call.done() or self._entered(side, pending, value), "a contender's key, or an answer")
        own = self._find(self.sides[0], pending.key)
        pending.revision = own.create_revision if own is not None else 0
        if not self._is_due(pending, self._keys(self.sides[0])):
            # A key that was there before does not show that the call has come so far; what goes through the log behind it does.
            for side in self.sides:
                side.wire.ask(_LOGGED)
        self.pending.append(pending)

    def _entered(self, side: Side, pending: Pending, value: bytes | None) -> bool:
        found = self._find(side, pending.key)
        return found is not None and value in (None, found.value)

    def _cancel(self) -> None:
        if not self.pending:
            return
        pending = self.c.pick(self.pending)
        self._note(f"cancel {pending.said}")
        self.pending.remove(pending)
        for side, call in zip(self.sides, pending.calls, strict=True):
            call.cancel()
            before = self._find(side, pending.key)
            if before is not None and (pending.method == "Lock" or before.create_revision == pending.revision):
                self._wait(lambda side=side: self._find(side, pending.key) is None, f"the end of a key whose client left, at {side.kind.name}")

    def _unlock(self) -> None:
        c = self.c
        keys = [kv.key for kv in self._keys(self.sides[0])]
        key = c.pick(keys) if keys and c.chance(90) else c.pick([b"", b"none"])
        self._ask("Unlock", pb.UnlockRequest(key=key))

    def _a_leader(self) -> Any:
        c = self.c
        if c.chance(5):
            return None
        if not self.leaders or c.chance(10):
            return pb.LeaderKey(name=c.pick(NAMES), key=c.pick([b"", b"n/1", b"m/abc"]), rev=c.number(0, 3), lease=c.pick([*LEASES, 404]))
        leader = pb.LeaderKey()
        leader.CopyFrom(c.pick(self.leaders[-6:]))
        if c.chance(10):
            leader.rev += 1
        if c.chance(10):
            leader.lease = c.pick([*LEASES, 404])
        return leader

    def _proclaim(self) -> None:
        self._ask("Proclaim", pb.ProclaimRequest(leader=self._a_leader(), value=self.c.pick(VALUES)))

    def _resign(self) -> None:
        self._ask("Resign", pb.ResignRequest(leader=self._a_leader()))

    def _leader(self) -> None:
        self._ask("Leader", pb.LeaderRequest(name=self.c.pick(NAMES)))

    def _renew_lease(self) -> None:
        lease = self.c.pick(LEASES)
        self._note(f"revoke and grant {lease}")
        for side in self.sides:
            side.wire.ask(pb.LeaseRevokeRequest(ID=lease))
        self._grant(lease)

    def _grant(self, lease: int) -> None:
        for side in self.sides:
            side.wire.ask(pb.LeaseGrantRequest(ID=lease, TTL=TTL_S))

    def _strangers_key(self) -> None:
        """What has nothing to do with the services, but lies under their prefixes."""
        c = self.c
        key, value = c.pick(NAMES) + b"/" + c.pick([b"1", b"stranger", b""]), c.pick(VALUES)
        self._note(f"put {key!r} {value!r}")
        for side in self.sides:
            side.wire.ask(pb.PutRequest(key=key, value=value))

    def _observe(self) -> None:
        name = self.c.pick(NAMES)
        self._note(f"observe {name!r}")
        if name in self.observers:
            self._compare_observers(name)
            for observer in self.observers.pop(name):
                observer.close()
        else:
            one, other = (Observer(side, name) for side in self.sides)
            self.observers[name] = (one, other)

    # --- comparing ----------------------------------------------------------------------------------------------------------

    def _ask(self, method: str, request: Message) -> None:
        self._note(f"{method} {brief(request)}")
        self._compare([outcome(side, stub(side, method).future(request, timeout=PATIENCE_S)) for side in self.sides])

    def _settle(self) -> None:
        one, other = ([plain(kv) for kv in self._keys(side)] for side in self.sides)
        self._compare([one, other])
        kvs = self._keys(self.sides[0])
        for pending in list(self.pending):
            if self._is_due(pending, kvs):
                self._end(pending)
            elif any(call.done() for call in pending.calls):
                ended = [outcome(side, call) if call.done() else "waits" for side, call in zip(self.sides, pending.calls, strict=True)]
                self._fail(f"{pending.said} ended before its turn: {ended}")
            else:
                self.waited += 1
        for name, pair in self.observers.items():
            under = [kv for kv in kvs if kv.key.startswith(name + b"/")]
            leader = min(under, key=lambda kv: (kv.create_revision, kv.key)) if under else None
            if len({kv.create_revision for kv in under}) == len(under):
                for observer in pair:
                    self._wait(lambda observer=observer, leader=leader: observer.knows(leader), f"observers of {name!r} know {leader}")

    def _is_due(self, pending: Pending, kvs: list[Any]) -> bool:
        return not any(kv.key.startswith(pending.name + b"/") and kv.create_revision < pending.revision for kv in kvs)

    def _end(self, pending: Pending) -> None:
        self.pending.remove(pending)
        self._note(f"  the turn of {pending.said}")
        for call in pending.calls:
            self._wait(call.done, "an answer, since its turn has come")
        self._compare([outcome(side, call) for side, call in zip(self.sides, pending.calls, strict=True)])
        if pending.method == "Campaign" and pending.calls[0].exception() is None:
            self.leaders.append(pending.calls[0].result().leader)

    def _compare_observers(self, name: bytes) -> None:
        one, other = self.observers[name]
        self._compare([[plain(told.kv) for told in observer.told] for observer in (one, other)])
        for told in other.told:
            if told.header.revision < told.kv.mod_revision:
                self._fail(f"an observer's header is older than what it tells: {told}")

    def finish(self) -> None:
        for name in self.observers:
            self._compare_observers(name)

    def _compare(self, found: list[Any]) -> None:
        if found[0] != found[1]:
            self._fail(f"oracle : {found[0]}\nsubject: {found[1]}")

    def _wait(self, true: Any, what: str) -> None:
        try:
            wait_until(true, PATIENCE_S, what, 0.001)
        except AssertionError as late:
            self._fail(str(late))

    def _fail(self, text: str) -> None:
        raise Mismatch("\n".join([*self.log[-HISTORY:], text]))

    def _note(self, text: str) -> None:
        self.log.append(text)

    def _keys(self, side: Side) -> list[Any]:
        return list(side.wire.ask(pb.RangeRequest(key=b"\0", range_end=b"\0")).kvs)

    def _find(self, side: Side, key: bytes) -> Any:
        kvs = side.wire.ask(pb.RangeRequest(key=key)).kvs
        return kvs[0] if kvs else None


def stub(side: Side, method: str) -> Any:
    described = METHODS[PATHS[method]]
    return side.wire.channel.unary_unary(
        described.path, request_serializer=described.request.SerializeToString, response_deserializer=described.response.FromString
    )


def outcome(side: Side, call: Any) -> tuple[Any, ...]:
    """Code, text, and the answer without whose it is."""
    try:
        answer = call.result(timeout=PATIENCE_S)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return error.code().value[0], error.details()
    assert answer.header.cluster_id == side.identity.cluster_id
    assert answer.header.member_id == side.identity.member_id
    answer.header.cluster_id = answer.header.member_id = answer.header.raft_term = 0
    return OK, plain(answer)


def plain(message: Message) -> str:
    return brief(message)
