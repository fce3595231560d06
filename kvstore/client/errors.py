"""From a gRPC status to the classes of `kvstore.errors`: clients recognise etcd's failures by their text."""

import grpc

from kvstore.errors import Momentary, StoreError
from kvstore.wire.status import Code, errors_by_text

_BY_TEXT = errors_by_text()


class CallFailed(StoreError):
    """A failure that is none of the store's own answers: no connection, a deadline, something unknown. `code` is gRPC's."""

    deterministic = False

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class NotConnected(CallFailed):
    """No connection was made, so nothing was asked: trying elsewhere is safe for any request."""


class WatchCompacted(StoreError):
    """A watch asked for history that is gone; `revision` is the oldest that is left."""

    text = "etcdserver: mvcc: required revision has been compacted"

    def __init__(self, revision: int) -> None:
        super().__init__()
        self.revision = revision


class WatchCanceled(StoreError):
    """The server ended a watch; the text says why."""


class SnapshotDamaged(StoreError):
    """A snapshot's checksum does not fit what was received."""

    text = "snapshot: the checksum does not fit what was received; try again"


# What grpc says when a connection was never made; anything else may have reached a server.
_NEVER_SENT = ("failed to connect to all addresses", "connections to all backends failing", "DNS resolution failed", "there is no address available")

# What grpc says of a stream that ended without a status, as those of a Go server behind TLS do when it stops.
_CUT_OFF = "Stream removed"


def translate(error: grpc.RpcError) -> StoreError:
    """The class for the text if it is one of etcd's, else `CallFailed`."""
    text = error.details() or ""
    code = Code(error.code().value[0])
    kind = _BY_TEXT.get(text)
    if kind is not None:
        return kind()
    if code is Code.UNKNOWN and text.startswith(_CUT_OFF):
        return CallFailed(Code.UNAVAILABLE, text)
    if code is Code.UNAVAILABLE and any(sign in text for sign in _NEVER_SENT):
        return NotConnected(code, text)
    if code is Code.DEADLINE_EXCEEDED:
        return CallFailed(code, "context deadline exceeded")
    return CallFailed(code, text)


def is_unavailable(error: StoreError) -> bool:
    """Another endpoint or another moment may do better."""
    if isinstance(error, CallFailed):
        return error.code is Code.UNAVAILABLE
    return isinstance(error, Momentary)
