"""Changes of the membership on their way: the leader checks them, one at a time, and proposes them; who else is asked passes them on.

A change that is asked for at a follower travels to the leader as a question; if the leader lets it pass it comes back as a log entry with the
asker's request id, and the asker answers its client when it applies that. Only a refusal is told by message. A question is sent once: asked
again, a change that was made already would be refused as done.

The leader lets a change wait while an earlier one is under way, and then checks it against the membership that the earlier one left (MB-2 to
MB-6; etcd's server.go: mayAddMember, mayRemoveMember, mayPromoteMember).
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1

from msgspec import Struct

from kvstore.errors import (
    LearnerNotReady,
    MemberExists,
    MemberNotFound,
    MemberNotLearner,
    NotEnoughStartedMembers,
    PeerUrlExists,
    StoreError,
    TooManyLearners,
    TooManyRequests,
    Unhealthy,
)
from kvstore.ids import Index, MemberId, RequestId
from kvstore.model import Member
from kvstore.statemachine.members import Action

HEALTHY_AFTER_S = 5.0
"""A voter counts as healthy when it has been connected for this long (etcd's HealthInterval)."""

LEARNER_READY_SHARE = 0.9
"""How much of the leader's log a learner must hold to be promoted."""

CHANGES_WAITING_MAX = 100
"""Changes that wait at the leader for an earlier one; more are refused at once."""

REFUSALS: dict[str, type[StoreError]] = {
    kind.__name__: kind
    for kind in (
        LearnerNotReady,
        MemberExists,
        MemberNotFound,
        MemberNotLearner,
        NotEnoughStartedMembers,
        PeerUrlExists,
        TooManyLearners,
        TooManyRequests,
        Unhealthy,
    )
}
"""What a leader may refuse a change with, by the name that travels."""


class Wanted(Struct, frozen=True):
    """A change that a client asked for at member `asker`, where `request_id` waits for it."""

    request_id: RequestId
    asker: MemberId
    action: int
    subject: MemberId
    peer_urls: tuple[str, ...]
    deadline_s: float


class Standing(Struct, frozen=True):
    """What the leader knows of another member now. `connected_s`: for how long it has been connected and answering; None: it is not."""

    connected_s: float | None
    match: Index


class Rules(Struct, frozen=True):
    """--strict-reconfig-check and --max-learners."""

    strict: bool = True
    learners_max: int = 1


def new_member_id(peer_urls: Sequence[str], token: str, unix_time_s: int | None = None) -> MemberId:
    """The first 8 bytes of SHA-1 over sorted peer URLs and cluster token (founders), or URLs and the time in decimal (added later, MB-1)."""
    text = "".join(sorted(peer_urls)) + token + ("" if unix_time_s is None else str(unix_time_s))
    return MemberId(int.from_bytes(sha1(text.encode(), usedforsecurity=False).digest()[:8], "big"))


def why_refused(
    wanted: Wanted, own_id: MemberId, last_index: Index, members: Mapping[MemberId, Member], standing: Callable[[MemberId], Standing], rules: Rules
) -> type[StoreError] | None:
    """What the leader `own_id` has against `wanted` beside what applying it would say anyway (`statemachine.members.check`)."""
    voters = [member for member in members.values() if not member.is_learner]
    subject = members.get(wanted.subject)
    if wanted.action in (Action.ADD, Action.ADD_LEARNER):
        return _why_not_add(wanted.action == Action.ADD_LEARNER, own_id, members, voters, standing, rules)
    if wanted.action == Action.REMOVE and subject is not None and not subject.is_learner:
        return _why_not_remove(subject, own_id, voters, standing, rules)
    if wanted.action == Action.PROMOTE and subject is not None:
        # Of a voter, too, etcd says first that it is behind, and only then that it is no learner.
        known = standing(subject.id)
        if known.match < last_index * LEARNER_READY_SHARE or (subject.is_learner and known.connected_s is None):
            return LearnerNotReady
        if subject.is_learner and rules.strict and _started(voters) + 1 < _majority(len(voters) + 1):
            return NotEnoughStartedMembers
    return None


def _why_not_add(
    as_learner: bool,
    own_id: MemberId,
    members: Mapping[MemberId, Member],
    voters: Sequence[Member],
    standing: Callable[[MemberId], Standing],
    rules: Rules,
) -> type[StoreError] | None:
    if rules.strict:
        started = _started(voters)
        # The first step from one member to two is let pass: there is no other way to grow.
        first_step = started == 1 and len(voters) == 1
        if not as_learner and not first_step and started < _majority(len(voters) + 1):
            return NotEnoughStartedMembers
        if any(not _is_healthy(voter.id, own_id, standing) for voter in voters):
            return Unhealthy
    if as_learner and sum(member.is_learner for member in members.values()) >= rules.learners_max:
        return TooManyLearners
    return None


def _why_not_remove(
    subject: Member, own_id: MemberId, voters: Sequence[Member], standing: Callable[[MemberId], Standing], rules: Rules
) -> type[StoreError] | None:
    others = [voter for voter in voters if voter.id != subject.id]
    if not others:
        return NotEnoughStartedMembers  # nobody would be left to decide, strict or not
    if not rules.strict:
        return None
    if _started(others) < _majority(len(others)):
        return NotEnoughStartedMembers
    if subject.id != own_id and standing(subject.id).connected_s is None:
        return None  # it is down already: without it the others have less to wait for
    healthy = sum(_is_healthy(voter.id, own_id, standing) for voter in voters)
    return Unhealthy if healthy - 1 < _majority(len(voters) - 1) else None


def _is_healthy(voter: MemberId, own_id: MemberId, standing: Callable[[MemberId], Standing]) -> bool:
    if voter == own_id:
        return True
    connected_s = standing(voter).connected_s
    return connected_s is not None and connected_s >= HEALTHY_AFTER_S


def _started(members: Sequence[Member]) -> int:
    return sum(bool(member.name) for member in members)


def _majority(voters: int) -> int:
    return voters // 2 + 1


class Changes:
    """Those that this member knows of: `unsent`, asked here while no leader was known; `waiting`, for us to decide as the leader."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.unsent: list[Wanted] = []
        self.waiting: deque[Wanted] = deque()
        self.asked: dict[RequestId, Wanted] = {}
        """Sent to a leader and not answered: only what was not taken may be asked again."""
        self.returned: list[Wanted] = []
        """Not taken, because we or whoever we asked does not lead: asked again with the next tick."""

    def __bool__(self) -> bool:
        return bool(self.unsent or self.waiting)

    def tick(self, now_s: float) -> None:
        """Ask again what was not taken; forget what nobody waits for any more."""
        self.unsent += self.returned
        self.returned = []
        if self.unsent:
            self.unsent = [wanted for wanted in self.unsent if wanted.deadline_s > now_s]
        if self.waiting:
            self.waiting = deque(wanted for wanted in self.waiting if wanted.deadline_s > now_s)
        for request_id, wanted in list(self.asked.items()):
            if wanted.deadline_s <= now_s:
                del self.asked[request_id]
