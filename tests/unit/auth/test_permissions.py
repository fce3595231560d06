"""Fast interval matching against the slow rule: every key of the range, one by one, must be in some permission."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.accounts import Permission
from kvstore.auth.permissions import KeyRanges, interval, is_valid, merged

LETTERS = b"\x00abc"
KEYS = [bytes(key) for size in (1, 2, 3) for key in product(LETTERS, repeat=size)]
"""All keys up to three letters: enough of a world, because no range of the tests has ends outside of it or longer than two letters."""

keys = st.sampled_from([key for key in KEYS if len(key) <= 2])
ends = st.one_of(st.just(b""), st.just(b"\x00"), keys)
ranges = st.tuples(keys, ends)


def means(key: bytes, end: bytes, candidate: bytes) -> bool:
    if not end:
        return candidate == key
    return candidate >= key and (end == b"\x00" or candidate < end)


@settings(max_examples=500, deadline=None)
@given(st.lists(ranges.filter(lambda pair: is_valid(Permission(0, *pair))), max_size=5), ranges)
def test_fast_rule_equals_slow_rule(permitted: list[tuple[bytes, bytes]], asked: tuple[bytes, bytes]) -> None:
    found = KeyRanges(interval(*pair) for pair in permitted).covers(*asked)
    wanted = [key for key in KEYS if means(*asked, key)]
    slow = all(any(means(*pair, key) for pair in permitted) for key in wanted)
    if asked[1] == b"\x00":
        # No end: some permission must have none either, whatever single keys of this small world would say.
        slow &= any(end == b"\x00" for _, end in permitted)
    if wanted:
        assert found == slow
    elif found:
        assert any(means(*pair, asked[0]) for pair in permitted), "an empty range is permitted only inside of a permission"


def test_permissions_that_touch_cover_together() -> None:
    permitted = KeyRanges([interval(b"b", b"c"), interval(b"a", b"b"), interval(b"c", b"")])
    assert permitted.covers(b"a", b"c\x00")
    assert not permitted.covers(b"a", b"c\x01")
    assert not permitted.covers(b"a", b"\x00")


def test_a_range_to_the_end_of_all_keys_needs_a_permission_to_there() -> None:
    assert not KeyRanges([interval(b"a", b"\xff" * 10)]).covers(b"a", b"\x00")
    assert KeyRanges([interval(b"\x00", b"\x00")]).covers(b"\x00", b"\x00")
    assert KeyRanges([interval(b"a", b"\x00"), interval(b"a", b"b")]).covers(b"c", b"\x00")


def test_kinds_are_kept_apart() -> None:
    permissions = [Permission(0, b"r"), Permission(1, b"w"), Permission(2, b"x"), Permission(9, b"u")]
    reads = merged(permissions, frozenset({0, 2}))
    assert [reads.covers(key, b"") for key in (b"r", b"w", b"x", b"u")] == [True, False, True, False]


def test_permissions_that_name_no_keys_are_not_valid() -> None:
    assert [is_valid(Permission(0, *pair)) for pair in [(b"", b""), (b"", b"\x00"), (b"b", b"a"), (b"b", b"b")]] == [False] * 4
    assert [is_valid(Permission(0, *pair)) for pair in [(b"a", b""), (b"a", b"b"), (b"a", b"\x00"), (b"\x00", b"\x00")]] == [True] * 4
