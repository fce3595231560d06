"""Linearizable reads in batches: what arrives after a round began waits for the next, and every read has one end."""

from kvstore.ids import Index
from kvstore.member.reads import ROUNDS_OUT_MAX, Reads

TIMEOUT_S = 5.0


def new() -> Reads:
    return Reads(TIMEOUT_S, 1000)


def start(reads: Reads) -> int:
    context = reads.next_round()
    assert context is not None
    return context


def tokens(reads: Reads, applied: int) -> list[str]:
    return [token for _, token, _ in reads.due(Index(applied))]


def test_reads_that_wait_share_a_round_and_later_ones_do_not_join_it() -> None:
    reads = new()
    reads.add("request", "a", 0.0)
    reads.add("request", "b", 0.0)
    first = start(reads)
    assert reads.next_round() is None, "nothing waits"
    reads.add("request", "c", 0.0)
    reads.confirmed(first, Index(3))
    assert not reads.has_due(Index(2))
    assert tokens(reads, 2) == []
    assert tokens(reads, 3) == ["a", "b"]
    reads.confirmed(start(reads), Index(3))
    assert tokens(reads, 3) == ["c"]
    assert len(reads) == 0


def test_so_many_rounds_are_out_and_no_more() -> None:
    reads = new()
    contexts = []
    for number in range(ROUNDS_OUT_MAX):
        reads.add("request", str(number), 0.0)
        contexts.append(start(reads))
    reads.add("request", "late", 0.0)
    assert reads.next_round() is None
    reads.failed(contexts[0])
    assert reads.next_round() is not None, "a round that failed makes room"


def test_two_starts_number_their_rounds_differently() -> None:
    """An answer to a question from before the start must not confirm a read that was asked after it."""
    contexts = []
    for first in (1 << 63, 12345):
        reads = Reads(TIMEOUT_S, first)
        reads.add("request", "a", 0.0)
        contexts.append(start(reads))
    assert contexts[0] != contexts[1]
    reads.confirmed(contexts[0], Index(0))
    assert tokens(reads, 99) == []


def test_a_failed_round_is_asked_again_with_the_next_tick_until_the_deadline() -> None:
    reads = new()
    reads.add("request", "a", 0.0)
    reads.failed(start(reads))
    assert reads.next_round() is None, "not in a tight loop"
    assert reads.tick(4.9) == []
    reads.failed(start(reads))
    assert reads.tick(5.0) == ["a"]
    assert (reads.next_round(), len(reads)) == (None, 0)


def test_an_answer_counts_once() -> None:
    reads = new()
    reads.add("request", "a", 0.0)
    context = start(reads)
    reads.confirmed(context, Index(1))
    reads.confirmed(context, Index(1))
    reads.failed(context)
    assert tokens(reads, 1) == ["a"]
    assert reads.tick(0.1) == []
    assert reads.next_round() is None


def test_wherever_a_read_waits_its_time_runs() -> None:
    reads = new()
    reads.add("request", "confirmed but not applied", 0.0)
    reads.confirmed(start(reads), Index(9))
    reads.add("request", "in a round", 0.0)
    lost = start(reads)
    reads.add("request", "failed", 0.0)
    reads.failed(start(reads))
    reads.add("request", "waiting", 0.0)
    reads.add("request", "later", 1.0)
    assert sorted(reads.tick(5.0)) == ["confirmed but not applied", "failed", "in a round", "waiting"]
    reads.confirmed(lost, Index(1))
    assert tokens(reads, 9) == []
    assert len(reads) == 1


def test_a_round_with_reads_of_different_ages_loses_only_the_old_ones() -> None:
    """A failed round's reads come behind younger ones, so the first of a round need not be its oldest."""
    reads = new()
    reads.add("request", "old", 0.0)
    reads.failed(start(reads))
    reads.add("request", "young", 2.0)
    assert reads.tick(2.0) == []
    context = start(reads)
    assert reads.tick(5.0) == ["old"]
    reads.confirmed(context, Index(1))
    assert tokens(reads, 1) == ["young"]


def test_rounds_of_a_later_index_do_not_overtake() -> None:
    reads = new()
    contexts = []
    for token in ("a", "b"):
        reads.add("request", token, 0.0)
        contexts.append(start(reads))
    reads.confirmed(contexts[0], Index(5))
    reads.confirmed(contexts[1], Index(7))
    assert tokens(reads, 6) == ["a"]
    assert tokens(reads, 7) == ["b"]


def test_all_tokens_come_out_at_the_end_wherever_they_wait() -> None:
    reads = new()
    for token in ("due", "out", "failed"):
        reads.add("request", token, 0.0)
        context = start(reads)
        if token == "due":
            reads.confirmed(context, Index(9))
        elif token == "failed":
            reads.failed(context)
    reads.add("request", "waiting", 0.0)
    assert sorted(reads.drain()) == ["due", "failed", "out", "waiting"]
    assert (len(reads), reads.drain()) == (0, [])
