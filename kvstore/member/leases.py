"""Questions about leases: only the leader counts lease time, so who is asked by a client asks the leader, again and again until the
client's deadline.

The leader answers after a round of reads, so that a deposed one, whose clock counts for nothing, keeps silent.
"""

from typing import TYPE_CHECKING

from kvstore.accounts import Who
from kvstore.ids import NOBODY, LeaseId, MemberId
from kvstore.member.effects import Token
from kvstore.member.messages import LeaseAnswer, LeaseQuestion
from kvstore.member.requests import Guarded, LeaseTime, LeaseWithKeys, RenewLease
from kvstore.model import LeaseTimeToLive

if TYPE_CHECKING:
    from kvstore.member.member import Member

RETRY_TICKS = 5


class PeerToken:
    """Waits for a lease read on behalf of another member."""

    __slots__ = ("number", "sender")

    def __init__(self, sender: MemberId, number: int) -> None:
        self.sender = sender
        self.number = number


class OwnToken:
    """Waits for a lease read that we, the leader, do for a client of ours."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class _Asked:
    """A lease question of a client of ours, on its way to the leader."""

    __slots__ = ("deadline_s", "request", "retry_ticks", "token", "who")

    def __init__(self, request: RenewLease | LeaseTime, who: Who, token: Token, deadline_s: float) -> None:
        self.request = request
        self.who = who
        self.token = token
        self.deadline_s = deadline_s
        self.retry_ticks = 0


class LeaseQuestions:
    """Those of clients of ours, by number, until they are answered; and the answers that we give as the leader."""

    def __init__(self, member: "Member") -> None:
        self._member = member
        self._asked: dict[int, _Asked] = {}
        self._last_number = 0

    def ask(self, request: RenewLease | LeaseTime, who: Who, token: Token) -> None:
        self._last_number += 1
        asked = _Asked(request, who, token, self._member.now_s + self._member.config.request_timeout_s)
        self._asked[self._last_number] = asked
        self._send(self._last_number, asked)

    def answer(self, request: RenewLease | LeaseTime, token: Token) -> None:
        """After a read round: we lead, or led when it was confirmed; a member that does not lead any more must not answer for leases."""
        if not self._member.lessor.active:
            if isinstance(token, PeerToken):
                self._answer_peer(token, 0, 0, refused=True)
            return  # our own client's question stays in `_asked` and is asked again
        granted_s = self._member.machine.leases.get(request.id)
        if isinstance(request, RenewLease):
            # A tick of grace: the clock stands still between ticks, and a lease must never end before its TTL.
            renewed = granted_s is not None and self._member.lessor.renew(request.id, granted_s + self._member.config.tick_s, self._member.now_s)
            ttl_s = granted_s if renewed and granted_s is not None else 0
        else:
            remaining_s = self._member.lessor.remaining_s(request.id, self._member.now_s)
            ttl_s = -1 if granted_s is None or remaining_s is None else int(remaining_s)
        if isinstance(token, PeerToken):
            self._answer_peer(token, ttl_s, granted_s or 0)
        else:
            self._finish(token.number, ttl_s, granted_s or 0)

    def _answer_peer(self, token: PeerToken, ttl_s: int, granted_s: int, refused: bool = False) -> None:
        answer = LeaseAnswer(self._member.id, token.sender, self._member.raft.term, token.number, ttl_s, granted_s, refused)
        self._member.send(answer)

    def _send(self, number: int, asked: _Asked) -> None:
        asked.retry_ticks = RETRY_TICKS
        if self._member.is_leader:
            self._member.reads.add(asked.request, OwnToken(number), self._member.now_s)
        elif self._member.raft.leader != NOBODY:
            renew = isinstance(asked.request, RenewLease)
            question = LeaseQuestion(self._member.id, self._member.raft.leader, self._member.raft.term, number, asked.request.id, renew)
            self._member.send(question)

    def on_question(self, question: LeaseQuestion) -> None:
        token = PeerToken(question.sender, question.number)
        if not self._member.is_leader:
            self._answer_peer(token, 0, 0, refused=True)
            return
        request = RenewLease(question.lease_id) if question.renew else LeaseTime(question.lease_id, False)
        self._member.reads.add(request, token, self._member.now_s)

    def on_answer(self, answer: LeaseAnswer) -> None:
        if not answer.refused:
            self._finish(answer.number, answer.ttl_s, answer.granted_ttl_s)

    def _finish(self, number: int, ttl_s: int, granted_s: int) -> None:
        asked = self._asked.pop(number, None)
        if asked is None:
            return
        if isinstance(asked.request, RenewLease):
            self._member.reply(asked.token, ttl_s)
            return
        request = asked.request
        if ttl_s < 0:
            self._member.reply(asked.token, LeaseTimeToLive(LeaseId(request.id), -1, 0, []))
        elif request.keys:
            # The keys come from our own state; they are as of now, as etcd's are.
            self._member.read_serializable(Guarded(LeaseWithKeys(request.id, ttl_s, granted_s), asked.who), asked.token)
        else:
            self._member.reply(asked.token, LeaseTimeToLive(LeaseId(request.id), ttl_s, granted_s, []))

    def tick(self) -> None:
        for number, asked in list(self._asked.items()):
            if asked.deadline_s <= self._member.now_s:
                del self._asked[number]
                self._member.reply(asked.token, self._member.timeout())
                continue
            asked.retry_ticks -= 1
            if asked.retry_ticks <= 0:
                self._send(number, asked)

    def leader_changed(self) -> None:
        """What was on its way to the old leader goes to the new one."""
        for number, asked in self._asked.items():
            self._send(number, asked)

    def drain(self) -> list[Token]:
        """Who still waits; forgotten here."""
        tokens = [asked.token for asked in self._asked.values()]
        self._asked.clear()
        return tokens
