"""Requests that are refused by looking at them alone."""

import pytest

from kvstore.checks import PEER_URLS_LENGTH_MAX, check_peer_urls
from kvstore.errors import BadMemberUrls


def test_peer_urls_are_scheme_host_and_port_in_order() -> None:
    assert check_peer_urls([" http://b:2", "https://a:1"]) == ("http://b:2", "https://a:1")


@pytest.mark.parametrize(
    "urls",
    [[], [""], ["a:1"], ["http://a"], ["http://:1"], ["http://a:1/"], ["http://a:1?q"], ["ftp://a:1"], ["http://u@a:1"], ["http://a:99999"], ["http://[::1"]],
)  # fmt: skip
def test_what_is_no_peer_url_is_refused(urls: list[str]) -> None:
    with pytest.raises(BadMemberUrls):
        check_peer_urls(urls)


def test_peer_urls_too_long_to_be_told_to_others_are_refused() -> None:
    assert check_peer_urls(["http://" + "a" * 60 + ":1"])
    with pytest.raises(BadMemberUrls):
        check_peer_urls([f"http://{'a' * 50}{number}:1" for number in range(PEER_URLS_LENGTH_MAX // 50)])
