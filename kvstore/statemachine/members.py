"""Members as replicated facts: what a change of the membership does to the table of members, and why it may be refused.

Applying an entry checks again what the leader checked before it proposed: refused or done, every member comes to the same. The ids of removed
members are remembered for ever ("burnt", MB-4): a member that was removed comes back only under a new id, with empty disks.
"""

import enum
from collections.abc import Collection, Mapping, Sequence

import msgspec

from kvstore.errors import MemberExists, MemberNotFound, MemberNotLearner, PeerUrlExists
from kvstore.ids import MemberId, RequestId
from kvstore.model import Member


class Action(enum.IntEnum):
    """The numbers of `raft.membership.ChangeKind`."""

    ADD = 0
    REMOVE = 1
    UPDATE = 2
    ADD_LEARNER = 3
    PROMOTE = 4


class ChangeDetails(msgspec.Struct, frozen=True, array_like=True):
    """What a log entry carries beside consensus' own part (kind and member): who waits for it, and the peer URLs where they matter."""

    request_id: RequestId
    peer_urls: tuple[str, ...] = ()


encode_details = msgspec.msgpack.Encoder().encode
decode_details = msgspec.msgpack.Decoder(ChangeDetails).decode


def check(members: Mapping[MemberId, Member], removed: Collection[MemberId], action: int, subject: MemberId, peer_urls: Sequence[str]) -> None:
    """Raises the StoreError that etcd raises (membership/cluster.go, ValidateConfigurationChange)."""
    if subject in removed:
        raise MemberNotFound
    known = members.get(subject)
    if action in (Action.ADD, Action.ADD_LEARNER):
        if known is not None:
            raise MemberExists
    elif known is None:
        raise MemberNotFound
    elif action == Action.PROMOTE and not known.is_learner:
        raise MemberNotLearner
    if action in (Action.ADD, Action.ADD_LEARNER, Action.UPDATE):
        taken = {url for other in members.values() if other.id != subject for url in other.peer_urls}
        if taken.intersection(peer_urls):
            raise PeerUrlExists


def changed(known: Member | None, action: int, subject: MemberId, peer_urls: tuple[str, ...]) -> Member:
    """The record after a change that `check` let pass and that does not remove it. A new member has neither name nor client URLs until it starts."""
    if known is None:
        return Member(subject, "", peer_urls, (), action == Action.ADD_LEARNER)
    if action == Action.UPDATE:
        return Member(known.id, known.name, peer_urls, known.client_urls, known.is_learner)
    return Member(known.id, known.name, known.peer_urls, known.client_urls, is_learner=False)
