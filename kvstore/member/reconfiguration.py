"""The member's side of membership changes: asked for here, passed on to the leader, checked and proposed by it (`changes.py` has the rules)."""

from typing import TYPE_CHECKING

from kvstore.errors import StoreError, TooManyRequests
from kvstore.ids import NO_INDEX, NOBODY, MemberId, RequestId
from kvstore.member.changes import CHANGES_WAITING_MAX, REFUSALS, Changes, Rules, Standing, Wanted, why_refused
from kvstore.member.messages import ChangeAnswer, ChangeQuestion
from kvstore.raft.core import Proposed
from kvstore.raft.leader import may_change_membership
from kvstore.raft.membership import Change
from kvstore.statemachine.members import Action, ChangeDetails, check, encode_details

if TYPE_CHECKING:
    from kvstore.member.member import Member

HAND_OVERS_MAX = 3
"""How often a leader that is to be removed tries to hand over first."""

_ACTIONS = frozenset(map(int, Action))


class Reconfiguration:
    def __init__(self, member: "Member", rules: Rules) -> None:
        self._member = member
        self._changes = Changes(rules)
        self._connected_since_s: dict[MemberId, float] = {}
        self._hand_overs = 0

    def ask(self, request_id: RequestId, action: Action, subject: MemberId, peer_urls: tuple[str, ...]) -> None:
        """A client of ours wants it, and waits for `request_id`."""
        member = self._member
        deadline_s = member.now_s + member.config.request_timeout_s
        self._changes.unsent.append(Wanted(request_id, member.id, action, subject, peer_urls, deadline_s))

    @property
    def pending(self) -> bool:
        return bool(self._changes)

    def applied(self, request_id: RequestId) -> None:
        """It came back through the log."""
        self._changes.asked.pop(request_id, None)

    def connected(self, peer: MemberId) -> bool:
        """Whether it was not before."""
        is_new = peer not in self._connected_since_s
        if is_new:
            self._connected_since_s[peer] = self._member.now_s
        return is_new

    def unreachable(self, peer: MemberId) -> None:
        self._connected_since_s.pop(peer, None)

    def tick(self) -> None:
        self._changes.tick(self._member.now_s)

    def advance(self) -> None:
        """Pass on to the leader what was asked here; as the leader, propose the next change if the one before is done."""
        changes = self._changes
        if not self._member.is_leader:
            self._hand_overs = 0
            for wanted in changes.waiting:
                self._hand_back(wanted)
            changes.waiting.clear()
            if self._member.raft.leader != NOBODY:
                self._ask_leader()
            return
        changes.waiting += changes.unsent
        changes.unsent = []
        while changes.waiting and may_change_membership(self._member.raft) and self._member.raft.transferee == NOBODY:
            wanted = changes.waiting[0]
            refusal = self._why_refused(wanted)
            if refusal is None and self._hand_over_first(wanted):
                return
            changes.waiting.popleft()
            if refusal is not None:
                self._refuse(wanted, refusal.__name__)
                continue
            details = encode_details(ChangeDetails(wanted.request_id, wanted.peer_urls))
            proposed = self._member.raft.propose_change(Change(wanted.action, wanted.subject, details))
            assert proposed is Proposed.ACCEPTED, proposed

    def _ask_leader(self) -> None:
        for wanted in self._changes.unsent:
            self._changes.asked[wanted.request_id] = wanted
            leader, term = self._member.raft.leader, self._member.raft.term
            question = ChangeQuestion(self._member.id, leader, term, wanted.request_id, wanted.action, wanted.subject, wanted.peer_urls)
            self._member.send(question)
        self._changes.unsent = []

    def _hand_back(self, wanted: Wanted) -> None:
        """We do not lead (any more), and nothing was done: another leader may do it."""
        if wanted.asker == self._member.id:
            self._changes.returned.append(wanted)
        else:
            self._refuse(wanted, "")

    def _why_refused(self, wanted: Wanted) -> type[StoreError] | None:
        machine = self._member.machine
        refusal = why_refused(wanted, self._member.id, self._member.raft.last_index, machine.members, self._standing, self._changes.rules)
        if refusal is None:
            try:
                check(machine.members, machine.removed_members, wanted.action, wanted.subject, wanted.peer_urls)
            except StoreError as error:
                return type(error)
        return refusal

    def _standing(self, member: MemberId) -> Standing:
        progress = self._member.raft.progress.get(member)
        since_s = self._connected_since_s.get(member)
        if progress is None or since_s is None or progress.silent_ticks > self._member.config.raft.election_ticks:
            return Standing(None, progress.match if progress is not None else NO_INDEX)
        return Standing(self._member.now_s - since_s, progress.match)

    def _refuse(self, wanted: Wanted, refusal: str) -> None:
        if wanted.asker == self._member.id:
            self._finish(wanted.request_id, REFUSALS[refusal]())
        else:
            self._member.send(ChangeAnswer(self._member.id, wanted.asker, self._member.raft.term, wanted.request_id, refusal))

    def _finish(self, request_id: RequestId, refusal: StoreError) -> None:
        token = self._member.proposals.complete(request_id)
        if token is not None:
            self._member.reply(token, refusal)

    def _hand_over_first(self, wanted: Wanted) -> bool:
        """Before a leader is removed another one takes over, and then removes it: nobody has to miss it first, and whoever is left knows best what is
        committed (dissertation, 4.2.2). True: it is being tried, the change waits."""
        if wanted.subject != self._member.id or wanted.action != Action.REMOVE or self._hand_overs >= HAND_OVERS_MAX:
            return False
        known = [(standing.match, voter) for voter in self._member.raft.conf.voters if (standing := self._standing(voter)).connected_s is not None]
        if not known or not self._member.raft.transfer_leadership(max(known)[1]):
            return False
        self._hand_overs += 1
        return True

    def on_question(self, question: ChangeQuestion) -> None:
        deadline_s = self._member.now_s + self._member.config.request_timeout_s
        wanted = Wanted(RequestId(question.request_id), question.sender, question.action, question.subject, question.peer_urls, deadline_s)
        if question.action not in _ACTIONS or len(self._changes.waiting) >= CHANGES_WAITING_MAX:
            self._refuse(wanted, TooManyRequests.__name__)
        else:
            self._changes.waiting.append(wanted)

    def on_answer(self, answer: ChangeAnswer) -> None:
        wanted = self._changes.asked.pop(RequestId(answer.request_id), None)
        if wanted is None:
            return
        if answer.refusal in REFUSALS:
            self._finish(wanted.request_id, REFUSALS[answer.refusal]())
        else:
            self._changes.returned.append(wanted)
