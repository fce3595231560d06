"""Requests that are refused by looking at them alone."""

import pytest

from kvstore.checks import PEER_URLS_LENGTH_MAX, TXN_DEPTH_MAX, check_peer_urls, check_txn
from kvstore.errors import BadMemberUrls, TooManyOperations
from kvstore.model import Txn
from kvstore.statemachine.commands import decode_command, encode_command


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


def test_transactions_nested_deeper_than_members_can_follow_are_refused() -> None:
    txn = Txn()
    for _ in range(TXN_DEPTH_MAX - 1):
        txn = Txn(success=(txn,))
    check_txn(txn, 128)  # all that etcd's usual budget of operations allows
    assert decode_command(encode_command(1, txn)).command == txn  # type: ignore[arg-type]
    with pytest.raises(TooManyOperations):
        check_txn(Txn(success=(txn,)), 10_000)
