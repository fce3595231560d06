"""How a mirror packs changes into transactions: what is whole stays whole, in order, within the limits."""

from hypothesis import given
from hypothesis import strategies as st

from kvstore.client import mirror
from kvstore.client.mirror import Operation, batches


def puts(*keys: bytes, size: int = 1) -> list[Operation]:
    return [(key, b"v" * size) for key in keys]


def test_revisions_that_came_together_go_together() -> None:
    assert list(batches([puts(b"a", b"b"), puts(b"c"), [(b"d", None)]], 128)) == [[*puts(b"a", b"b", b"c"), (b"d", None)]]


def test_a_key_that_changes_again_begins_another_transaction() -> None:
    assert list(batches([puts(b"a"), [(b"a", None)], puts(b"a", b"b")], 128)) == [puts(b"a"), [(b"a", None)], puts(b"a", b"b")]


def test_a_revision_is_not_torn_to_fill_a_transaction() -> None:
    assert list(batches([puts(b"a", b"b"), puts(b"c", b"d")], 3)) == [puts(b"a", b"b"), puts(b"c", b"d")]


def test_a_revision_that_is_too_large_is_cut() -> None:
    assert list(batches([puts(b"z"), puts(*(b"%d" % n for n in range(5))), puts(b"x")], 2)) == [
        puts(b"z"),
        puts(b"0", b"1"),
        puts(b"2", b"3"),
        puts(b"4", b"x"),
    ]


def test_bytes_count_too_and_a_single_large_value_goes_alone() -> None:
    half = mirror.TXN_BYTES // 2
    assert [len(batch) for batch in batches([puts(b"a", size=half), puts(b"b", size=half), puts(b"c", size=3 * half)], 128)] == [1, 1, 1]


@given(st.lists(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.sampled_from([None, b"1", b"2"])), min_size=1)), st.integers(1, 5))
def test_nothing_is_lost_doubled_or_reordered(groups: list[list[Operation]], limit: int) -> None:
    made = list(batches(groups, limit))
    assert [operation for batch in made for operation in batch] == [operation for group in groups for operation in group]
    for batch in made:
        assert 1 <= len(batch) <= limit
        assert len({key for key, _ in batch}) == len(batch), "etcd refuses a key twice in one transaction"
