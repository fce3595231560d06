"""One random step of a duel, out of the whole space of operations: what hypothesis and the long runs both do."""

from google.protobuf.message import Message

from kvstore.wire import messages as pb
from tests.oracle import generate
from tests.oracle.choosing import Chooser
from tests.oracle.duel import Duel
from tests.oracle.sides import GATEWAY_PATHS
from tests.support.calls import METHOD_OF

STREAMS = 2

JSON_UNORDERED = (pb.LeaseTimeToLiveRequest, pb.LeaseLeasesRequest, pb.StatusRequest, pb.MemberListRequest)


def fit_for_json(request: Message) -> bool:
    """Whether the answer has nothing in it whose order is open or whose numbers are a server's own."""
    if isinstance(request, JSON_UNORDERED) or METHOD_OF[type(request)] not in GATEWAY_PATHS:
        return False
    if isinstance(request, pb.RangeRequest):
        return request.sort_target == 0
    if isinstance(request, pb.TxnRequest):
        inner = [getattr(op, op.WhichOneof("request")) for op in (*request.success, *request.failure) if op.WhichOneof("request")]
        return all(fit_for_json(item) for item in inner)
    return True


def step(duel: Duel, c: Chooser) -> None:
    """One random step: the whole space of operations."""
    roll = c.number(0, 99)
    if roll < 28:
        write(duel, c)
    elif roll < 50:
        read(duel, c)
    elif roll < 70:
        transact(duel, c)
    elif roll < 80:
        lease_step(duel, c)
    elif roll < 84:
        compact(duel, c)
    elif roll < 96:
        watch_step(duel, c)
    else:
        odd(duel, c)


def send(duel: Duel, c: Chooser, request: Message) -> None:
    if fit_for_json(request) and c.chance(15):
        duel.ask(request, over_json=True)
    else:
        duel.ask(request, suffix=UNKNOWN_FIELDS if c.chance(2) else b"")


UNKNOWN_FIELDS = b"\xb8\x3e\x07\xc2\x3e\x03abc"
"""Field 999 (varint 7) and field 1000 (bytes): of a client newer than the server."""


def write(duel: Duel, c: Chooser) -> None:
    send(duel, c, generate.put_request(c, duel.known) if c.chance(70) else generate.delete_request(c, duel.known))


def read(duel: Duel, c: Chooser) -> None:
    send(duel, c, generate.range_request(c, duel.known))


def transact(duel: Duel, c: Chooser) -> None:
    send(duel, c, generate.defuse(generate.txn_request(c, duel.known)))


def compact(duel: Duel, c: Chooser) -> None:
    duel.catch_up()
    send(duel, c, generate.compaction_request(c, duel.known))


def lease_step(duel: Duel, c: Chooser) -> None:
    known = duel.known
    lease = c.pick([*generate.LEASES, generate.UNKNOWN_LEASE])
    kind = c.number(0, 6)
    if kind <= 1:
        ttl = c.pick([generate.LEASE_TTL_S, generate.LEASE_TTL_S + 7, 9_000_000_000, 9_000_000_001])
        send(duel, c, pb.LeaseGrantRequest(ID=lease if lease != generate.UNKNOWN_LEASE else 101, TTL=ttl))
    elif kind == 2:
        send(duel, c, pb.LeaseRevokeRequest(ID=lease if c.chance(70) or not known.leases else c.pick(sorted(known.leases))))
    elif kind == 3:
        send(duel, c, pb.LeaseTimeToLiveRequest(ID=lease, keys=c.chance(60)))
    elif kind == 4:
        duel.keep_alive(lease)
    elif kind == 5:
        send(duel, c, pb.LeaseLeasesRequest())
    else:
        duel.brief_lease(c.pick([0, 1, 2, 3, -1, 5, generate.INT64_MIN]), c.pick([0, 555]))


def watch_step(duel: Duel, c: Chooser) -> None:
    number = c.number(0, STREAMS - 1)
    kind = c.number(0, 19)
    if kind < 12:
        spec = generate.watch_spec(c, duel.known)
        logs = duel.watch_logs.get(number)
        if logs and spec.watch_id in logs[0].retired:
            spec.watch_id = 0
        if spec.start_revision != duel.known.compacted or spec.start_revision == 0:
            duel.watch(number, spec)
    elif kind < 15:
        logs = duel.watch_logs.get(number)
        in_use = sorted(logs[0].running.keys() | logs[0].compacted) if logs else []
        duel.cancel_watch(number, c.pick([*in_use, 77]))
    elif kind < 18:
        duel.progress(number)
    elif kind < 19:
        duel.close_stream(number)
    else:
        duel.settle()


def odd(duel: Duel, c: Chooser) -> None:
    kind = c.number(0, 8)
    if kind <= 2:
        # Of a negative revision etcd hashes nothing, by accident.
        duel.ask(pb.HashKVRequest(revision=max(0, generate.revision(c, duel.known))))
    elif kind == 3:
        duel.ask(pb.StatusRequest())
    elif kind == 4:
        duel.ask(pb.MemberListRequest())
    elif kind == 5:
        send(duel, c, pb.AlarmRequest())
    elif kind == 6:
        duel.ask(pb.DefragmentRequest())
    elif kind == 7:
        own = c.chance(50)
        if own:
            duel.settle()
        duel.ask(pb.MoveLeaderRequest(targetID=12345))
    else:
        duel.ask_raw(c.pick(["KV/Range", "KV/Put", "KV/Txn", "KV/DeleteRange", "Lease/LeaseGrant"]), b"\x0a\x7f" + c.blob(5))
