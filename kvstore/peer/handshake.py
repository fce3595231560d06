"""The greeting: who is calling, for which cluster, in which version; and who is refused and why.

The dialler sends a `Hello`, the listener answers with a `Welcome` or a `Refusal` and then hangs up. A msgpack map, not an array, so that a later
version can say more and still be understood.
"""

from collections.abc import Collection
from typing import TypeVar

import msgpack
import msgspec

from kvstore.ids import ClusterId, MemberId
from kvstore.peer.frames import BadFrame, frame

PROTOCOL_VERSION = 1
MAGIC = "keelson-peer"
GREETING_BYTES_MAX = 4096


_Greeting = TypeVar("_Greeting", "Hello", "Answer")


class Hello(msgspec.Struct, frozen=True):
    magic: str
    version: int
    cluster_id: int
    sender: int
    receiver: int


class Answer(msgspec.Struct, frozen=True):
    """`refused` empty: welcome."""

    magic: str
    version: int
    cluster_id: int
    sender: int
    refused: str = ""


def hello(cluster_id: ClusterId, sender: MemberId, receiver: MemberId) -> bytes:
    """The dialler's frame."""
    greeting = {"magic": MAGIC, "version": PROTOCOL_VERSION, "cluster_id": cluster_id, "sender": sender, "receiver": receiver}
    return frame(msgpack.packb(greeting))


def answer(cluster_id: ClusterId, sender: MemberId, refused: str = "") -> bytes:
    """The listener's frame."""
    greeting = {"magic": MAGIC, "version": PROTOCOL_VERSION, "cluster_id": cluster_id, "sender": sender, "refused": refused}
    return frame(msgpack.packb(greeting))


def parse_hello(payload: bytes) -> Hello:
    """Raises BadFrame."""
    return _parse(payload, Hello)


def parse_answer(payload: bytes) -> Answer:
    """Raises BadFrame."""
    return _parse(payload, Answer)


def why_refused(greeting: Hello, cluster_id: ClusterId, own_id: MemberId, members: Collection[MemberId]) -> str:
    """Empty: welcome. Else what does not fit, in words for the caller's log."""
    if greeting.version != PROTOCOL_VERSION:
        return f"peer protocol version {greeting.version} here is not known; this member speaks {PROTOCOL_VERSION}"
    if greeting.cluster_id != cluster_id:
        return f"cluster ID mismatch: yours is {greeting.cluster_id:x}, this member's {cluster_id:x}"
    if greeting.receiver != own_id:
        return f"you call for member {greeting.receiver:x}, this is {own_id:x}: check the peer URLs"
    if greeting.sender not in members:
        return f"member {greeting.sender:x} is not in this cluster (removed, or never added)"
    return ""


def _parse(payload: bytes, kind: type[_Greeting]) -> _Greeting:
    try:
        # Limits that msgpack itself enforces keep a hostile greeting small in memory, too.
        fields = msgpack.unpackb(payload, max_str_len=1024, max_map_len=32, max_array_len=0, max_bin_len=0, max_ext_len=0)
        parsed = msgspec.convert(fields, kind)
    except (ValueError, msgpack.UnpackException, msgspec.MsgspecError, RecursionError) as error:
        raise BadFrame(f"not a greeting: {error}") from error
    if parsed.magic != MAGIC:
        raise BadFrame("not a greeting of this protocol")
    return parsed
