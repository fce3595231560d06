"""One core by itself, with a log and a past made up for it: the test plays its peers. Without pre-vote, which the paper does not have."""

from collections.abc import Sequence
from typing import TypeVar

from kvstore.ids import NOBODY, Index, MemberId, Term
from kvstore.raft.config import Config
from kvstore.raft.core import Raft
from kvstore.raft.messages import AnyMessage, AppendReply, ConfState, Entry, HardState, Heartbeat, VoteReply
from kvstore.raft.ready import Role
from tests.unit.raft.cluster import Node

M = TypeVar("M")

FIRST = MemberId(1)


def log_of(terms: Sequence[int]) -> list[Entry]:
    """A log by the terms of its entries, as the paper's figures draw it."""
    return [Entry(Term(term), Index(index), b"%d" % index) for index, term in enumerate(terms, 1)]


def load(node: Node, terms: Sequence[int], term: int, vote: MemberId = NOBODY, commit: int = 0) -> None:
    """Restart `node` with this log and hard state on its disk."""
    node.storage.append(log_of(terms), HardState(Term(term), vote, Index(commit)))
    node.start(node.storage.snapshot().conf, Index(0))


class Lone(Node):
    """Member 1 of `size` (and of `learners` more, numbered behind them)."""

    def __init__(
        self, size: int = 3, terms: Sequence[int] = (), term: int = 0, vote: int = 0, commit: int = 0, learners: int = 0, seed: int = 1
    ) -> None:
        voters = tuple(MemberId(number) for number in range(1, size + 1))
        super().__init__(1, ConfState(voters, tuple(MemberId(size + number) for number in range(1, learners + 1))), seed)
        load(self, terms, term, MemberId(vote), commit)

    def start(self, conf: ConfState, applied: Index) -> None:
        self.raft = Raft(Config(self.id, pre_vote=False), self.storage, applied, conf, self._random.randint)

    @property
    def terms(self) -> list[int]:
        return [term for index in range(1, self.raft.last_index + 1) if (term := self.raft.log.term_at(index)) is not None]

    def tick(self, times: int) -> list[AnyMessage]:
        out: list[AnyMessage] = []
        for _ in range(times):
            self.raft.tick()
            out += self.work()
        return out

    def hear(self, *messages: AnyMessage) -> list[AnyMessage]:
        for message in messages:
            self.raft.step(message)
        return self.work()

    def campaign(self) -> list[AnyMessage]:
        """Let the election timeout pass."""
        self.raft.election_elapsed = self.raft.election_timeout
        return self.tick(1)

    def win(self) -> list[AnyMessage]:
        """Campaign, and have every vote."""
        self.campaign()
        voters = [voter for voter in self.raft.conf.voters if voter != self.id]
        out = self.hear(*[VoteReply(voter, self.id, self.raft.term, True) for voter in voters])
        assert self.raft.role is Role.LEADER
        return out

    def become(self, role: Role) -> None:
        """Follower of 2, candidate or leader; in the term that follows from that."""
        if role is Role.FOLLOWER:
            self.hear(Heartbeat(MemberId(2), self.id, Term(self.raft.term + 1), Index(0)))
        elif role is Role.CANDIDATE:
            self.campaign()
        else:
            self.win()
        assert self.raft.role is role

    def acknowledge(self, *senders: int) -> list[AnyMessage]:
        """These have all that we have on disk."""
        return self.hear(*[AppendReply(MemberId(sender), self.id, self.raft.term, True, self.raft.last_index) for sender in senders])


def of(kind: type[M], messages: Sequence[object]) -> list[M]:
    return [message for message in messages if isinstance(message, kind)]


def one(kind: type[M], messages: Sequence[object]) -> M:
    (found,) = of(kind, messages)
    return found
