"""Where Keelson is meant to answer otherwise than the oracle, and why: one entry each, as narrow as it can be.

Keelson follows etcd 3.6, the oracle at hand is 3.5.1. An entry does not let any answer pass: it turns the oracle's answer into the one that
the newer version gives, and that is what the subject must say. Entries only apply when the subject speaks the newer version, so that etcd
3.5.1 can be judged by itself without any.

What a 3.5.1 would not survive, or answers by chance, is never sent to it: those cases have tests of their own in test_newer.py.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from google.protobuf.message import Message
from msgspec import Struct

from kvstore.wire import messages as pb
from tests.oracle.generate import Knowledge
from tests.oracle.normal import Plain
from tests.oracle.watches import Happened

Version = tuple[int, ...]
V3_6 = (3, 6)
SAME_HASH = "same as before"
"""What stands for a hash: the number need not be etcd's, but the same history must always hash to it."""


class Difference(Struct, frozen=True):
    """`adjust(request, answer, known)` changes the oracle's answer (see `outcomes`) in place into the one expected of the subject."""

    name: str
    since: Version
    reason: str
    adjust: Callable[[Message, Plain, Knowledge], None]


def _hash_revision(request: Message, answer: Plain, known: Knowledge) -> None:
    if isinstance(request, pb.HashKVRequest) and answer["body"] is not None and "hash_revision" in answer["body"]:
        answer["body"]["hash_revision"] = request.revision or answer["body"]["header"]["revision"]


def _hash_of_the_compacted(request: Message, answer: Plain, known: Knowledge) -> None:
    if isinstance(request, pb.HashKVRequest) and 0 < request.revision == known.compacted:
        header = {"cluster_id": "own", "member_id": "own", "raft_term": "a term", "revision": known.revision}
        body = {"header": header, "hash": SAME_HASH, "compact_revision": known.compacted, "hash_revision": request.revision}
        answer.update(code=0, text="", body=body)


TABLE = (
    Difference(
        "HashKV tells its revision",
        V3_6,
        "HashKVResponse.hash_revision is new in 3.6",
        _hash_revision,
    ),
    Difference(
        "HashKV at the compacted revision",
        V3_6,
        "what is at the compacted revision can be read, so it can be hashed (M-1); up to 3.5 the revision had to be above it",
        _hash_of_the_compacted,
    ),
)


def expected(oracle: Version, subject: Version, request: Message, answer: Plain, known: Knowledge) -> Plain:
    """The oracle's `answer` as a subject of version `subject` must give it."""
    for difference in TABLE:
        if oracle < difference.since <= subject:
            difference.adjust(request, answer, known)
    return answer


def changed_twice(history: Sequence[Happened]) -> set[tuple[int, bytes]]:
    """Where a watcher's prev_kv is not compared: (revision, key) of keys that one transaction changed twice.

    Only possible through the hole in etcd's check of duplicate keys (TXN-9b). etcd looks prev_kv up at the revision before, we tell what the
    change itself replaced, which is the version that the same transaction made. Both are the truth of a case that should have been refused.
    """
    counts = Counter((event.revision, event.key) for event in history)
    return {change for change, count in counts.items() if count > 1}
