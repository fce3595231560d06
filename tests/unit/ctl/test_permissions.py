"""What the words of `role grant-permission` name: etcdctl's rules, tried on it."""

import pytest

from kvstore.ctl.failure import BAD_ARGUMENTS, Failure
from kvstore.ctl.role import permission_range


def named(*arguments: str, prefix: bool = False, from_key: bool = False) -> tuple[bytes, bytes]:
    return permission_range(list(arguments), {"prefix": prefix, "from-key": from_key})


def test_keys_ranges_prefixes() -> None:
    assert named("a") == (b"a", b"")
    assert named("a", "f") == (b"a", b"f")
    assert named("/p/", prefix=True) == (b"/p/", b"/p0")
    assert named("x", from_key=True) == (b"x", b"\x00")
    assert named("a", "b", "c") == (b"a", b"b")


def test_an_empty_key_is_the_smallest_and_with_a_flag_everything() -> None:
    assert named("") == (b"\x00", b"")
    assert named("", prefix=True) == named("", from_key=True) == (b"\x00", b"\x00")


@pytest.mark.parametrize(
    ("arguments", "flags", "text"),
    [
        (["a", "b"], {"prefix": True}, "unexpected endkey argument with --prefix flag"),
        (["a", "b"], {"from_key": True}, "unexpected endkey argument with --from-key flag"),
        (["a"], {"prefix": True, "from_key": True}, "--from-key and --prefix flags are mutually exclusive"),
    ],
)
def test_what_contradicts_itself(arguments: list[str], flags: dict[str, bool], text: str) -> None:
    with pytest.raises(Failure, match=text) as caught:
        named(*arguments, **flags)
    assert caught.value.exit_code == BAD_ARGUMENTS
