"""Raft's invariants (paper, figure 3), checked as things happen, from outside the core: what it hands to the disk, sends, and hands out.

The checker keeps a shadow of every member's log as handed to the disk. That makes each check a few dictionary look-ups an entry:

* log matching, by induction: an (index, term) has one content and one predecessor, everywhere, for ever;
* leader completeness: who becomes leader in a term holds the last entry committed in earlier terms (and so, by log matching, all of them);
* what was promised to another member (a vote, an acknowledgement) is still true after a crash, and nobody deletes what is committed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from keelson.drills.checkers.violation import Violation
from kvstore.ids import Index, MemberId, Term
from kvstore.raft.messages import AppendReply, Entry, HardState, Message, SnapshotMeta, VoteReply, VoteRequest

TermAt = Callable[[Index], Term | None]


class Shadow(Struct):
    """A member's log as it handed it to the disk: the term of each entry behind `base`. `durable` is how far the disk has it."""

    base: int = 0
    base_term: int = 0
    terms: list[int] = []

    @property
    def last(self) -> int:
        return self.base + len(self.terms)

    def term_at(self, index: int) -> int | None:
        if index == self.base:
            return self.base_term
        at = index - self.base - 1
        return self.terms[at] if 0 <= at < len(self.terms) else None


class Acknowledged(Struct):
    """The newest acknowledgement of a member: in term `term` it promised to hold the log up to `index`, whose entry has `entry_term`."""

    term: int
    index: int
    entry_term: int


class ConsensusChecker:
    def __init__(self) -> None:
        self.leaders: dict[int, MemberId] = {}
        self.votes: dict[tuple[MemberId, int], MemberId] = {}
        self.promised_term: dict[MemberId, int] = {}
        self.acknowledged: dict[MemberId, Acknowledged] = {}
        self.logs: dict[MemberId, Shadow] = {}
        self._overruled_in: dict[MemberId, int] = {}
        """The last term in which a member had to drop entries for its leader's."""
        self.contents: dict[tuple[int, int], tuple[bytes, int, int]] = {}
        """(index, term) to (data, kind, term of the entry before)."""
        self.committed: dict[int, int] = {}
        """Index to term of every entry known to be committed."""
        self.committed_last = 0
        self._committed_in: list[tuple[int, int]] = []
        """(term of the highest leader at the time, highest index committed then), both rising."""

    # --- elections

    def on_leader(self, member: MemberId, term: Term, term_at: TermAt, first_held: int) -> None:
        """`member` is leader in `term`. `first_held` is the index up to which its log was cut."""
        known = self.leaders.setdefault(term, member)
        if known != member:
            raise Violation("election safety", f"two leaders in term {term}: {known} and {member}")
        index = max((last for in_term, last in self._committed_in if in_term < term), default=0)
        if index > first_held and term_at(Index(index)) != self.committed[index]:
            raise Violation(
                "leader completeness",
                f"{member} leads term {term}, but at index {index} its log has term {term_at(Index(index))};"
                f" an entry of term {self.committed[index]} was committed there before",
            )

    def on_message(self, message: Message) -> None:
        """Called as a message leaves its sender."""
        kind = type(message)
        if kind is VoteReply and message.granted:  # type: ignore[attr-defined]
            self._voted(message.sender, message.term, message.receiver)
        elif kind is VoteRequest:
            self._voted(message.sender, message.term, message.sender)
        elif kind is AppendReply and message.success:  # type: ignore[attr-defined]
            self._acknowledge(message)  # type: ignore[arg-type]

    def _voted(self, voter: MemberId, term: Term, candidate: MemberId) -> None:
        known = self.votes.setdefault((voter, term), candidate)
        if known != candidate:
            raise Violation("one vote a term", f"{voter} voted in term {term} for {known} and for {candidate}")
        self.promised_term[voter] = max(self.promised_term.get(voter, 0), term)

    def _acknowledge(self, reply: AppendReply) -> None:
        shadow = self.logs[reply.sender]
        self.promised_term[reply.sender] = max(self.promised_term.get(reply.sender, 0), reply.term)
        index = reply.match_index
        known = self.acknowledged.get(reply.sender)
        if index <= shadow.base or (known is not None and (known.term, known.index) >= (reply.term, index)):
            return
        if reply.term < self._overruled_in.get(reply.sender, 0):
            # Accepted before a newer leader replaced it, answered after: as good as answered before.
            return
        entry_term = shadow.term_at(index)
        if entry_term is None:
            raise Violation("acknowledge what is held", f"{reply.sender} acknowledged {index} in term {reply.term} but holds {shadow.last}")
        self.acknowledged[reply.sender] = Acknowledged(reply.term, index, entry_term)

    # --- logs

    def on_entries(self, member: MemberId, term: Term, entries: Sequence[Entry]) -> None:
        """`member`, now in `term`, hands `entries` to its disk."""
        if not entries:
            return
        shadow = self.logs[member]
        first = entries[0].index
        if not shadow.base < first <= shadow.last + 1:
            raise Violation("log without gaps", f"{member} writes from {first}, but holds {shadow.base + 1} to {shadow.last}")
        dropped = shadow.terms[first - shadow.base - 1 :]
        before = shadow.term_at(first - 1)
        assert before is not None
        for entry in entries:
            content = (entry.data, entry.kind, before)
            known = self.contents.setdefault((entry.index, entry.term), content)
            if known != content:
                raise Violation("log matching", f"{member} has at {entry.index} in term {entry.term}: {content}, elsewhere it is {known}")
            before = entry.term
        shadow.terms[first - shadow.base - 1 :] = [entry.term for entry in entries]
        self._check_dropped(member, term, first, dropped, shadow)

    def _check_dropped(self, member: MemberId, term: Term, first: int, dropped: list[int], shadow: Shadow) -> None:
        for index, old_term in enumerate(dropped, first):
            if shadow.term_at(index) == old_term:
                continue
            self._overruled_in[member] = term
            if self.committed.get(index) == old_term:
                raise Violation("nobody deletes what is committed", f"{member} in term {term} dropped entry {index} of term {old_term}")
            known = self.acknowledged.get(member)
            if known is not None and index <= known.index:
                if known.term == term:
                    raise Violation(
                        "nobody deletes what it acknowledged",
                        f"{member} dropped entry {index}, which it acknowledged (up to {known.index}) in this very term {term}",
                    )
                # A newer leader overrules what an older one had distributed.
                del self.acknowledged[member]
            return

    def on_installed(self, member: MemberId, meta: SnapshotMeta) -> None:
        """A snapshot took the place of the member's log."""
        if self.committed.get(meta.index, meta.term) != meta.term:
            raise Violation("state-machine safety", f"{member} installed {meta}, but {meta.index} was committed in {self.committed[meta.index]}")
        known = self.acknowledged.get(member)
        if known is not None and known.index > meta.index and self.logs[member].term_at(meta.index) == meta.term:
            raise Violation(
                "nobody deletes what it acknowledged",
                f"{member} installed {meta}, which its log held already, and with it dropped entries up to {known.index}",
            )
        self.logs[member] = Shadow(meta.index, meta.term, [])

    def on_start(self, member: MemberId, hard_state: HardState, base: Index, base_term: Term, terms: Iterable[int]) -> None:
        """`member` starts and finds this on its disk."""
        shadow = self.logs[member] = Shadow(base, base_term, list(terms))
        if base > self.committed_last:
            # Where a founder's log begins.
            self.committed_last, self.committed[base] = base, base_term
        promised = self.promised_term.get(member, 0)
        if hard_state.term < promised:
            raise Violation("nobody goes back on a promise", f"{member} restarted in term {hard_state.term} but had acted in {promised}")
        voted = self.votes.get((member, hard_state.term))
        if voted is not None and voted != hard_state.vote:
            raise Violation("nobody goes back on a promise", f"{member} restarted with vote {hard_state.vote} in {hard_state.term}, not {voted}")
        known = self.acknowledged.get(member)
        if known is not None and known.index > base and shadow.term_at(known.index) != known.entry_term:
            raise Violation(
                "nobody goes back on a promise",
                f"{member} acknowledged up to {known.index} (term {known.entry_term}) in term {known.term}"
                f" but restarted with {base + 1} to {shadow.last}, term {shadow.term_at(known.index)} there",
            )

    # --- commitment

    def on_leader_commit(
        self, leader: MemberId, term: int, index: int, entry_term: int | None, holders: Sequence[Mapping[MemberId, int | None]]
    ) -> None:
        """`leader` took `index`, whose entry has `entry_term`, to be committed. `holders`: for each configuration that may have counted,
        its voters and the term of the entry there on their disks (0: behind their snapshot)."""
        if entry_term != term:
            raise Violation("only its own term's entries are counted", f"{leader} committed {index} of term {entry_term} in term {term}")
        for voters in holders:
            if sum(stored in (0, term) for stored in voters.values()) > len(voters) // 2:
                return
        raise Violation("committed means on a majority's disks", f"{leader} committed {index} of term {term}; on disk: {holders}")

    def on_committed(self, member: MemberId, entries: Iterable[Entry]) -> None:
        """`member` hands out `entries` for applying."""
        for entry in entries:
            known = self.committed.setdefault(entry.index, entry.term)
            content = self.contents.get((entry.index, entry.term))
            if known != entry.term or (content is not None and content[:2] != (entry.data, entry.kind)):
                raise Violation("state-machine safety", f"{member} applies {entry.index}@{entry.term}, elsewhere term {known} was applied there")
            if entry.index > self.committed_last:
                if entry.index != self.committed_last + 1:
                    raise Violation("commit in order", f"{member} applies {entry.index} first, the last before was {self.committed_last}")
                self.committed_last = entry.index
        if self.committed_last:
            self._remember_commit(max(self.leaders, default=0))

    def _remember_commit(self, term: int) -> None:
        history = self._committed_in
        if history and history[-1][0] == term:
            history[-1] = (term, self.committed_last)
        elif not history or history[-1][1] < self.committed_last:
            history.append((term, self.committed_last))
