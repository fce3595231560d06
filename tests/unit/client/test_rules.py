"""When a call may be tried again, what an endpoint means, where a prefix ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.client.client import prefix_end
from kvstore.client.endpoints import parse_endpoint
from kvstore.client.errors import CallFailed, NotConnected
from kvstore.client.retry import BACKOFF_S_MAX, backoff_s, may_repeat
from kvstore.errors import EmptyKey, LeaderChanged
from kvstore.wire.status import Code


def test_a_write_is_repeated_only_if_it_was_never_sent():
    lost = CallFailed(Code.UNAVAILABLE, "Socket closed")
    assert not may_repeat(lost, is_read=False)
    assert may_repeat(lost, is_read=True)
    assert may_repeat(NotConnected(Code.UNAVAILABLE, "failed to connect to all addresses"), is_read=False)
    assert may_repeat(LeaderChanged(), is_read=True)
    assert not may_repeat(LeaderChanged(), is_read=False)
    assert not may_repeat(EmptyKey(), is_read=True)
    assert not may_repeat(CallFailed(Code.DEADLINE_EXCEEDED, "context deadline exceeded"), is_read=True)


def test_every_endpoint_is_asked_before_anybody_waits():
    assert [backoff_s(attempt, 3) for attempt in (1, 2)] == [0, 0]
    assert backoff_s(3, 3) > 0
    assert backoff_s(100, 3) == BACKOFF_S_MAX


@pytest.mark.parametrize(
    ("text", "tls", "target", "secure"),
    [
        ("127.0.0.1:2379", False, "127.0.0.1:2379", False),
        ("127.0.0.1:2379", True, "127.0.0.1:2379", True),
        ("http://h:1", True, "h:1", False),
        ("https://h:1", False, "h:1", True),
        ("unix:///tmp/s", False, "unix:/tmp/s", False),
    ],
)
def test_endpoints(text, tls, target, secure):
    endpoint = parse_endpoint(text, tls=tls)
    assert (endpoint.target, endpoint.secure) == (target, secure)


def test_a_bad_endpoint_says_what_is_expected():
    with pytest.raises(ValueError, match="expected host:port"):
        parse_endpoint("ftp://x:1", tls=False)


@given(st.binary(max_size=5), st.binary(max_size=5))
def test_a_prefix_ends_where_its_last_key_does(prefix, rest):
    end = prefix_end(prefix)
    key = prefix + rest
    assert key >= prefix
    assert end == b"\x00" or key < end
    if end != b"\x00":
        assert not end.startswith(prefix)
