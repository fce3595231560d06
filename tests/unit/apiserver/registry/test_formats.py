"""Formats of strings."""

import pytest

from apiserver.registry import formats


def test_a_long_text_is_no_burden():
    """Whoever may write a custom resource gives it: what goes over it again for each of its characters would stop everybody for hours."""
    check = formats.check_of("email")
    assert check is not None
    with pytest.raises(ValueError):
        check("a@" + "b" * 1_000_000 + "@")
    for good in ("a@b", "a@b.", "a@.b", "a@b.c"):
        check(good)
