"""How many at once, and how long."""

import pytest

from apiserver.filters.deadline import deadline_s
from apiserver.filters.request_info import parse
from apiserver.machinery.status import ApiError


@pytest.mark.parametrize(
    ("path", "asked", "seconds"),
    [
        ("/api/v1/pods", "", 60),
        ("/api/v1/pods", "32s", 32),
        ("/api/v1/pods", "1h", 60),
        ("/api/v1/pods", "1m0.5s", 60),
        ("/api/v1/pods", "500ms", 0.5),
    ],
)
def test_a_client_may_ask_for_less_time(path, asked, seconds):
    assert deadline_s(parse("GET", path)[0], asked) == seconds


def test_watches_and_logs_have_no_end():
    assert deadline_s(parse("GET", "/api/v1/pods?watch=1")[0], "32s") is None
    assert deadline_s(parse("GET", "/api/v1/namespaces/d/pods/p/log")[0], "") is None
    with pytest.raises(ApiError):
        deadline_s(parse("GET", "/api/v1/pods")[0], "soon")
