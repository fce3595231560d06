"""The replicated state: the same entry gives the same answer everywhere, once; and no member ever goes back on what it said."""

from keelson.drills.checkers.violation import Violation
from kvstore.ids import MemberId


class StateChecker:
    def __init__(self) -> None:
        self._digests: dict[int, tuple[MemberId, object]] = {}
        self._applied: dict[MemberId, int] = {}
        self._answered_revision: dict[MemberId, int] = {}
        self._seen_term: dict[MemberId, int] = {}

    def on_start(self, member: MemberId, applied_index: int) -> None:
        """`member` opened its state, which says it has applied up to `applied_index`."""
        self._applied[member] = applied_index

    def on_applied(self, member: MemberId, index: int, digest: object) -> None:
        """`member` applied `index`; `digest` stands for the outcome and the state after it."""
        before = self._applied[member]
        if index <= before:
            raise Violation("applied once", f"{member} applied {index} after {before}")
        self._applied[member] = index
        first, expected = self._digests.setdefault(index, (member, digest))
        if digest != expected:
            raise Violation("the same outcome everywhere", f"entry {index} gave {expected} at {first} and {digest} at {member}")

    def on_answer(self, member: MemberId, revision: int) -> None:
        """`member` answered a read as of `revision`."""
        before = self._answered_revision.get(member, 0)
        if revision < before:
            raise Violation("nobody goes back on an answer", f"{member} answered at revision {revision}, after {before}")
        self._answered_revision[member] = revision

    def on_term(self, member: MemberId, term: int) -> None:
        """`member`, which has not restarted since, is in `term`."""
        before = self._seen_term.get(member, 0)
        if term < before:
            raise Violation("terms rise", f"{member} went from term {before} to {term}")
        self._seen_term[member] = term

    def on_crash(self, member: MemberId) -> None:
        # A term that nobody was promised anything in may be forgotten; ConsensusChecker minds the promises.
        self._seen_term.pop(member, None)

    @staticmethod
    def at_end(hashes: dict[MemberId, object]) -> None:
        """Every member's state at one and the same applied index."""
        if len(set(hashes.values())) > 1:
            raise Violation("equal states", f"members that applied the same differ: {hashes}")
