"""Who votes and who only listens, and how that changes: one member at a time (dissertation, 4.1; as etcd does it).

A change is a log entry and takes effect when it is applied. That one at a time is safe rests on two rules, both kept by the leader:
no change is proposed while an earlier one may be unapplied, and none before the leader has committed an entry of its own term (Ongaro's
correction of 2015).
Any two configurations that differ by one voter have majorities that overlap.
"""

import enum

import msgspec
from msgspec import Struct

from kvstore.ids import MemberId
from kvstore.raft.messages import ConfState


class ChangeKind(enum.IntEnum):
    ADD_VOTER = 0
    REMOVE = 1
    UPDATE = 2
    """Nothing of consensus; `context` tells the state machine what changed (peer URLs)."""
    ADD_LEARNER = 3
    PROMOTE = 4


class Change(Struct, frozen=True, gc=False, array_like=True):
    """`context` belongs to the member: what its state keeps about the one who changed."""

    kind: int
    member_id: MemberId
    context: bytes = b""


encode_change = msgspec.msgpack.Encoder().encode
decode_change = msgspec.msgpack.Decoder(Change).decode


def changed(conf: ConfState, change: Change) -> ConfState:
    """The configuration after `change`; the same one if there is nothing to change or it would leave no voter."""
    subject = change.member_id
    voters, learners = set(conf.voters), set(conf.learners)
    if change.kind in (ChangeKind.ADD_VOTER, ChangeKind.PROMOTE):
        if change.kind == ChangeKind.PROMOTE and subject not in learners:
            return conf
        learners.discard(subject)
        voters.add(subject)
    elif change.kind == ChangeKind.ADD_LEARNER:
        if subject not in voters:
            learners.add(subject)
    elif change.kind == ChangeKind.REMOVE:
        if voters == {subject}:
            return conf
        voters.discard(subject)
        learners.discard(subject)
    return ConfState(tuple(sorted(voters)), tuple(sorted(learners)))
