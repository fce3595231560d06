"""Random requests. Few keys, so that operations meet; numbers near the edges that the state has at the moment.

`Knowledge` is what the generator has learned from answers: where "now" is, what was compacted, which leases exist. It decides nothing about
right and wrong, it only makes interesting requests likely.
"""

from collections.abc import Iterator

from google.protobuf.message import Message
from msgspec import Struct, field

from kvstore.wire import messages as pb
from tests.oracle.choosing import Chooser

KEYS = [b"a", b"aa", b"ab", b"b", b"b\x00", b"c", b"ca", b"d", b"\x00", b"\x00\x00", b"\xff", b"\xff\xff", "schlüssel".encode()]
ENDS = [b"", b"\x00", b"b", b"c", b"d", b"b\x00", b"a", b"\xff", b"\xff\xff", b"\x00\x00"]
LEASES = [101, 102, 103, -7, 2**62]
UNKNOWN_LEASE = 999_999
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
LEASE_TTL_S = 100_000
"""So long that no lease ends by itself during a run: when exactly one ends is nobody's promise."""
TXN_OPS_MAX = 128


class Knowledge(Struct):
    base: int = 1
    revision: int = 1
    compacted: int = 0
    leases: set[int] = field(default_factory=set)


def key(c: Chooser) -> bytes:
    return b"" if c.chance(2) else c.pick(KEYS)


def value(c: Chooser) -> bytes:
    return c.blob(12) if c.chance(30) else c.pick([b"x", b"y", b"", b"z" * 40])


def lease(c: Chooser, known: Knowledge) -> int:
    if c.chance(75):
        return 0
    return UNKNOWN_LEASE if c.chance(8) or not known.leases else c.pick(sorted(known.leases))


def revision(c: Chooser, known: Knowledge) -> int:
    """A revision to ask for: mostly one that can be read, often right at an edge."""
    if c.chance(45):
        return 0
    if c.chance(60):
        return c.number(min(max(known.compacted, known.base), known.revision), known.revision)
    edges = [known.revision, known.revision + 1, known.compacted, known.compacted - 1, known.compacted + 1, known.revision + 1000, -1]
    return c.pick([*edges, 1, INT64_MAX, INT64_MIN])


def bound(c: Chooser, known: Knowledge) -> int:
    return 0 if c.chance(80) else max(-1, c.number(known.base, known.revision) + c.number(-2, 2))


def range_request(c: Chooser, known: Knowledge) -> Message:
    request = pb.RangeRequest(key=key(c), range_end=b"" if c.chance(35) else c.pick(ENDS), revision=revision(c, known))
    if c.chance(40):
        request.limit = c.pick([1, 2, 3, 5, 100, 0, -1])
    if c.chance(45):
        request.sort_order = c.number(0, 2)
        request.sort_target = c.number(0, 4)
    request.serializable = c.chance(25)
    request.keys_only = c.chance(15)
    request.count_only = c.chance(10)
    request.min_mod_revision = bound(c, known)
    request.max_mod_revision = bound(c, known)
    request.min_create_revision = bound(c, known)
    request.max_create_revision = bound(c, known)
    return request


def put_request(c: Chooser, known: Knowledge) -> Message:
    request = pb.PutRequest(key=key(c), value=value(c), lease=lease(c, known), prev_kv=c.chance(30))
    if c.chance(10):
        request.ignore_value = True
        if c.chance(80):
            request.value = b""
    if c.chance(10):
        request.ignore_lease = True
        if c.chance(80):
            request.lease = 0
    return request


def delete_request(c: Chooser, known: Knowledge) -> Message:
    range_end = b"" if c.chance(60) else c.pick(ENDS)
    return pb.DeleteRangeRequest(key=key(c), range_end=range_end, prev_kv=c.chance(40))


def compare(c: Chooser, known: Knowledge) -> Message:
    made = pb.Compare(key=key(c), result=c.number(0, 3), target=c.number(0, 4))
    if c.chance(2):
        made.result = c.pick([4, 9, -1])
    if c.chance(2):
        made.target = c.pick([5, 9, -1])
    if c.chance(15):
        made.range_end = c.pick(ENDS)
    # Mostly the operand that belongs to the target, now and then another one or none.
    union = made.target if c.chance(94) and 0 <= made.target <= 4 else c.number(0, 5)
    number = c.pick([0, 1, 2, known.revision, known.revision - 1, max(known.base, known.revision - c.number(0, 20)), -1])
    if union == 0:
        made.version = number
    elif union == 1:
        made.create_revision = number
    elif union == 2:
        made.mod_revision = number
    elif union == 3:
        made.value = value(c)
    elif union == 4:
        made.lease = lease(c, known)
    return made


def operation(c: Chooser, known: Knowledge, depth: int) -> Message:
    kind = c.number(0, 99)
    if kind < 45:
        return pb.RequestOp(request_put=put_request(c, known))
    if kind < 70:
        return pb.RequestOp(request_range=range_request(c, known))
    if kind < 88 or depth >= 3:
        return pb.RequestOp(request_delete_range=delete_request(c, known))
    if kind < 99:
        return pb.RequestOp(request_txn=txn_request(c, known, depth + 1))
    return pb.RequestOp()


def txn_request(c: Chooser, known: Knowledge, depth: int = 0) -> Message:
    request = pb.TxnRequest()
    request.compare.extend(compare(c, known) for _ in range(c.pick([0, 1, 1, 2, 3])))
    request.success.extend(operation(c, known, depth) for _ in range(c.pick([1, 0, 2, 3, 4])))
    request.failure.extend(operation(c, known, depth) for _ in range(c.pick([1, 0, 2, 3])))
    if c.chance(1):
        at = c.pick([request.success, request.failure])
        at.extend(pb.RequestOp(request_put=pb.PutRequest(key=b"n%d" % i)) for i in range(TXN_OPS_MAX + c.number(-2, 1) - len(at)))
    return request


def flatten(request: Message) -> Iterator[Message]:
    """Every put, range and delete of a txn, of both branches and all depths."""
    for op in (*request.success, *request.failure):
        which = op.WhichOneof("request")
        if which == "request_txn":
            yield from flatten(op.request_txn)
        elif which is not None:
            yield getattr(op, which)


def defuse(request: Message) -> Message:
    """Take out what kills an etcd: an ignore_value put of a key that the same txn deletes by an open-ended range.

    The check for duplicate keys does not see such a range (TXN-9b), so the put fails in the middle of the txn, and etcd panics (TXN-16).
    What we do then has a test of its own in test_newer.py.
    """
    flat = list(flatten(request))
    if any(isinstance(op, pb.DeleteRangeRequest) and op.range_end == b"\0" for op in flat):
        for op in flat:
            if isinstance(op, pb.PutRequest):
                op.ignore_value = op.ignore_lease = False
    return request


def compaction_request(c: Chooser, known: Knowledge) -> Message:
    edges = [known.revision, known.revision + 1, known.compacted, known.compacted + 1, known.compacted - 1, 0, -1, INT64_MAX, INT64_MIN]
    asked = c.pick(edges) if c.chance(50) else c.number(min(known.compacted + 1, known.revision), known.revision)
    return pb.CompactionRequest(revision=asked, physical=c.chance(70))


def watch_spec(c: Chooser, known: Knowledge) -> Message:
    spec = pb.WatchCreateRequest(
        key=key(c), range_end=b"" if c.chance(25) else c.pick(ENDS), prev_kv=c.chance(50), fragment=c.chance(20), progress_notify=c.chance(20)
    )
    if c.chance(60):
        edges = [known.revision + 1, known.revision, known.revision + c.number(2, 6), known.compacted - 1, known.compacted + 1, 1]
        back = c.number(min(known.compacted + 1, known.revision), known.revision)
        spec.start_revision = c.pick(edges) if c.chance(40) else back
    if c.chance(25):
        spec.filters.extend(c.pick([[0], [1], [0, 1], [1, 1]]))
    if c.chance(15):
        spec.watch_id = c.pick([1, 2, 5, 7, 1000, -5, INT64_MAX])
    return spec
