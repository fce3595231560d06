"""What clients asked and were told: the words that the workload records in and that the checkers read.

Every request is a transaction over single keys (a put is one with one operation and no compares), so that one model covers all of them.
Times are stamps of one counter: a smaller stamp happened before. Values written are unique in a history, so that a value read tells
which write it came from.
"""

from typing import NamedTuple

from msgspec import Struct


class Get(Struct, frozen=True):
    key: bytes


class Put(Struct, frozen=True):
    key: bytes
    value: bytes


class Delete(Struct, frozen=True):
    key: bytes


Step = Get | Put | Delete


class Compare(Struct, frozen=True):
    """`mod` is the expected mod_revision, 0 for "absent"; or, if None, `value` is the expected value."""

    key: bytes
    value: bytes | None = None
    mod: int | None = None


class Request(Struct, frozen=True):
    """If all of `compares` hold, do `success`, else `failure`."""

    success: tuple[Step, ...]
    compares: tuple[Compare, ...] = ()
    failure: tuple[Step, ...] = ()


class Version(NamedTuple):
    """What a key held: value and mod_revision (ANY_MOD when nobody learned it)."""

    value: bytes
    mod: int


ANY_MOD = -1


class Outcome(Struct, frozen=True):
    """`results` has one element a step: what a Get or a Delete found (None: nothing), and None for a Put.

    `revision` is the one in the answer's header; ANY_MOD in histories that do not record revisions.
    """

    results: tuple[Version | None, ...]
    succeeded: bool = True
    revision: int = ANY_MOD


class Operation(Struct, frozen=True):
    """`outcome` None: never answered, or answered with an error that leaves it open whether it happened. `returned` is then None, too."""

    client: int
    called: int
    returned: int | None
    request: Request
    outcome: Outcome | None

    def keys(self) -> set[bytes]:
        request = self.request
        return {part.key for part in (*request.compares, *request.success, *request.failure)}
