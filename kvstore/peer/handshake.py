"""The greeting: who is calling, for which cluster, in which version; and who is refused and why.

The dialler sends a `Hello`, the listener answers with an `Answer`, and hangs up if that is a refusal. A msgpack map, not an array, so that a later
version can say more and still be understood.

Somebody who is to join and knows only addresses asks for the `Roster` instead: the cluster's id, and ids and peer URLs of its members, nothing
else (etcd tells it, with names, to whoever asks for /members on this port). That, too, ends the connection.
"""

from collections.abc import Collection, Iterable
from typing import TypeVar

import msgpack
import msgspec

from kvstore.ids import ClusterId, MemberId
from kvstore.model import Member
from kvstore.peer.frames import BadFrame, frame

PROTOCOL_VERSION = 1
MAGIC = "keelson-peer"
GREETING_BYTES_MAX = 4096
ROSTER = "roster"
ROSTER_BYTES_MAX = 256 << 10
ROSTER_MEMBERS_MAX = 1000


_Greeting = TypeVar("_Greeting", "Hello", "Answer", "Roster")


class Hello(msgspec.Struct, frozen=True):
    magic: str
    version: int
    cluster_id: int
    sender: int
    receiver: int
    asks: str = ""
    """ROSTER: not a member calling, but somebody who wants to know the members."""


class Answer(msgspec.Struct, frozen=True):
    """`refused` empty: welcome. `removed`: the caller was a member once, and will never be one again."""

    magic: str
    version: int
    cluster_id: int
    sender: int
    refused: str = ""
    removed: bool = False


class RosterMember(msgspec.Struct, frozen=True, array_like=True):
    """`started`: it has announced itself since it was added."""

    id: int
    peer_urls: tuple[str, ...]
    is_learner: bool
    started: bool


class Roster(msgspec.Struct, frozen=True):
    """Who is in the cluster, as the member knows that answered."""

    magic: str
    version: int
    cluster_id: int
    members: tuple[RosterMember, ...] = ()
    refused: str = ""
    """Why there is none: the `Answer` of one who has not begun yet."""


def hello(cluster_id: ClusterId, sender: MemberId, receiver: MemberId) -> bytes:
    """The dialler's frame."""
    greeting = {"magic": MAGIC, "version": PROTOCOL_VERSION, "cluster_id": cluster_id, "sender": sender, "receiver": receiver}
    return frame(msgpack.packb(greeting))


def roster_question() -> bytes:
    """The frame of somebody who wants to know the members."""
    greeting = {"magic": MAGIC, "version": PROTOCOL_VERSION, "cluster_id": 0, "sender": 0, "receiver": 0, "asks": ROSTER}
    return frame(msgpack.packb(greeting))


def answer(cluster_id: ClusterId, sender: MemberId, refused: str = "", *, removed: bool = False) -> bytes:
    """The listener's frame."""
    greeting = {"magic": MAGIC, "version": PROTOCOL_VERSION, "cluster_id": cluster_id, "sender": sender, "refused": refused, "removed": removed}
    return frame(msgpack.packb(greeting))


def roster(cluster_id: ClusterId, members: Iterable[Member]) -> bytes:
    """The listener's frame for who asked for it."""
    told = [(known.id, known.peer_urls, known.is_learner, bool(known.client_urls)) for known in members]
    return frame(msgpack.packb({"magic": MAGIC, "version": PROTOCOL_VERSION, "cluster_id": cluster_id, "members": told}))


def parse_hello(payload: bytes) -> Hello:
    """Raises BadFrame."""
    return _parse(payload, Hello)


def parse_answer(payload: bytes) -> Answer:
    """Raises BadFrame."""
    return _parse(payload, Answer)


def parse_roster(payload: bytes) -> Roster:
    """Raises BadFrame."""
    return _parse(payload, Roster, lists_max=ROSTER_MEMBERS_MAX)


def why_refused(greeting: Hello, cluster_id: ClusterId, own_id: MemberId, members: Collection[MemberId]) -> str:
    """Empty: welcome. Else what does not fit, in words for the caller's log."""
    if greeting.version != PROTOCOL_VERSION:
        return f"peer protocol version {greeting.version} here is not known; this member speaks {PROTOCOL_VERSION}"
    if greeting.cluster_id != cluster_id:
        return f"cluster ID mismatch: yours is {greeting.cluster_id:x}, this member's {cluster_id:x}"
    if greeting.receiver != own_id:
        return f"you call for member {greeting.receiver:x}, this is {own_id:x}: check the peer URLs"
    if greeting.sender not in members:
        return f"member {greeting.sender:x} is not in this cluster (removed, or not added yet as far as this member knows)"
    return ""


def _parse(payload: bytes, kind: type[_Greeting], lists_max: int = 0) -> _Greeting:
    try:
        # Limits that msgpack itself enforces keep a hostile greeting small in memory, too.
        fields = msgpack.unpackb(payload, max_str_len=1024, max_map_len=32, max_array_len=lists_max, max_bin_len=0, max_ext_len=0)
        parsed = msgspec.convert(fields, kind)
    except (ValueError, msgpack.UnpackException, msgspec.MsgspecError, RecursionError) as error:
        raise BadFrame(f"not a greeting: {error}") from error
    if parsed.magic != MAGIC:
        raise BadFrame("not a greeting of this protocol")
    return parsed
