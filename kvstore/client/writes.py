"""Which keys a transaction may write."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

FROM_KEY = b"\0"
"""As a range_end: no end."""


class Touched(Struct, frozen=True):
    """A key, or a range of them as in DeleteRangeRequest."""

    key: bytes
    range_end: bytes = b""

    def covers(self, key: bytes) -> bool:
        if not self.range_end:
            return key == self.key
        return key >= self.key and (self.range_end == FROM_KEY or key < self.range_end)


def touched(request: Any) -> list[Touched]:
    """What either branch of a TxnRequest puts or deletes, those nested in it included."""
    return list(dict.fromkeys(_touched(request)))


def _touched(request: Any) -> Iterator[Touched]:
    for operation in [*request.success, *request.failure]:
        which = operation.WhichOneof("request")
        if which == "request_put":
            yield Touched(operation.request_put.key)
        elif which == "request_delete_range":
            yield Touched(operation.request_delete_range.key, operation.request_delete_range.range_end)
        elif which == "request_txn":
            yield from _touched(operation.request_txn)
