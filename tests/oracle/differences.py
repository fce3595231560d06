"""Where Keelson is meant to answer otherwise than the oracle, and why: one entry each, as narrow as it can be.

Keelson follows etcd 3.6, the oracle at hand is 3.5.1. An entry does not let any answer pass: it turns the oracle's answer into the one that
the newer version gives, and that is what the subject must say. Entries only apply when the subject speaks the newer version, so that etcd
3.5.1 can be judged by itself without any.

What a 3.5.1 would not survive, or answers by chance, is never sent to it: those cases have tests of their own in test_newer.py.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from msgspec import Struct

from kvstore.wire import messages as pb
from tests.oracle.normal import Plain

Version = tuple[int, ...]
V3_6 = (3, 6)


class Difference(Struct, frozen=True):
    """`adjust(request, answer)` changes the oracle's answer (see duel.Outcome.plain) in place into the one expected of the subject."""

    name: str
    since: Version
    reason: str
    adjust: Callable[[Message, Plain], None]


def _hash_revision(request: Message, answer: Plain) -> None:
    if isinstance(request, pb.HashKVRequest) and answer["body"] is not None and "hash_revision" in answer["body"]:
        answer["body"]["hash_revision"] = request.revision or answer["body"]["header"]["revision"]


def _gateway_error(request: Message, answer: Plain) -> None:
    body: Any = answer["body"]
    if answer["json"] and answer["code"] and isinstance(body, list):
        answer["body"] = [pair for pair in body if pair[0] != "error"]


GATEWAY_STATUS = {"3.5": {}}

TABLE = (
    Difference(
        "HashKV tells its revision",
        V3_6,
        "HashKVResponse.hash_revision is new in 3.6",
        _hash_revision,
    ),
    Difference(
        "gateway errors without `error`",
        V3_6,
        "grpc-gateway v2 has {code, message}; v1 repeated the message in a field `error`",
        _gateway_error,
    ),
)


def expected(oracle: Version, subject: Version, request: Message, answer: Plain) -> Plain:
    """The oracle's `answer` as a subject of version `subject` must give it."""
    for difference in TABLE:
        if oracle < difference.since <= subject:
            difference.adjust(request, answer)
    return answer
