"""resourceVersion: what may be asked, and what it means."""

import pytest

from apiserver.machinery.status import ApiError
from apiserver.storage.versions import Freshness, check_watch, list_freshness


@pytest.mark.parametrize(
    ("version", "match", "limited", "means"),
    [
        ("", "", False, (Freshness.NEWEST, 0)),
        ("", "", True, (Freshness.NEWEST, 0)),
        ("0", "", False, (Freshness.ANY, 0)),
        ("0", "NotOlderThan", True, (Freshness.ANY, 0)),
        ("7", "", False, (Freshness.NOT_OLDER, 7)),
        ("7", "", True, (Freshness.EXACT, 7)),
        ("7", "NotOlderThan", True, (Freshness.NOT_OLDER, 7)),
        ("7", "Exact", False, (Freshness.EXACT, 7)),
    ],
)
def test_lists(version, match, limited, means):
    assert list_freshness(version, match, limited=limited, continues=False) == means


@pytest.mark.parametrize(
    ("version", "match", "continues", "code"),
    [
        ("", "Exact", False, 422),
        ("0", "Exact", False, 422),
        ("7", "Newest", False, 422),
        ("7", "Exact", True, 422),
        ("7", "", True, 400),
        ("x", "", False, 400),
    ],
)
def test_lists_that_mean_nothing(version, match, continues, code):
    with pytest.raises(ApiError) as refused:
        list_freshness(version, match, limited=False, continues=continues)
    assert refused.value.code == code


def test_a_watch_list_says_how_new_it_must_be():
    check_watch("", "NotOlderThan", initial_events=True)
    for match, initial in (("", True), ("Exact", True), ("NotOlderThan", None)):
        with pytest.raises(ApiError):
            check_watch("", match, initial_events=initial)
