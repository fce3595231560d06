"""Protocols with answers in order: what is read out of bytes however they are cut."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.inorder import Client
from bench.load.jute import ZooKeeperClient, create, greeting
from bench.load.redis import RedisClient, command
from bench.load.tally import Loop


def fed(make: Callable[[Loop], Client], sent: bytes, cuts: list[int]) -> list[tuple[int, int]]:
    """Requests answered and errors, piece by piece, as `data_received` would take them."""

    async def run() -> list[tuple[int, int]]:
        client, rest, told = make(Loop()), b"", []
        for start, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            rest += sent[start:stop]
            done, errors, taken = client.take(rest)
            rest = rest[taken:]
            told.append((done, errors))
        assert rest == b""
        return told

    return asyncio.run(run())


def added(told: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(done for done, _ in told), sum(errors for _, errors in told)


def cut(data: st.DataObject, sent: bytes) -> list[int]:
    return sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))


@given(st.lists(st.sampled_from([b"$2\r\n\r\n\r\n", b"$3\r\nabc\r\n", b"$-1\r\n", b"-ERR no\r\n"]), max_size=8), st.data())
def test_redis_reads(replies: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(replies)
    good = lambda line: line[:1] == b"$" and line != b"$-1"  # noqa: E731
    told = fed(lambda run: RedisClient(run, 1, lambda: b"", 1, good), sent, cut(data, sent))
    assert added(told) == (len(replies), sum(reply[:2] in (b"$-", b"-E") for reply in replies))


@given(st.lists(st.sampled_from([b"+OK\r\n:2\r\n", b"+OK\r\n:0\r\n", b"-ERR no\r\n:1\r\n"]), max_size=8), st.data())
def test_redis_puts_that_wait_for_a_replica(replies: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(replies)
    told = fed(lambda run: RedisClient(run, 1, lambda: b"", 2, lambda line: line != b":0"), sent, cut(data, sent))
    assert added(told) == (len(replies), sum(reply != b"+OK\r\n:2\r\n" for reply in replies))


def test_a_redis_command() -> None:
    assert command(b"GET", b"key") == b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"


def jute_reply(error: int, body: bytes = b"") -> bytes:
    return (16 + len(body)).to_bytes(4, "big") + bytes(12) + error.to_bytes(4, "big", signed=True) + body


@pytest.mark.parametrize("replies", [1, 2])
@given(errors=st.lists(st.sampled_from([0, 0, -110]), max_size=4), data=st.data())
def test_zookeeper_answers(replies: int, errors: list[int], data: st.DataObject) -> None:
    sent = b"".join(jute_reply(0, b"body") * (replies - 1) + jute_reply(error) for error in errors)
    told = fed(lambda run: ZooKeeperClient(run, 1, lambda: b"", replies), sent, cut(data, sent))
    assert added(told) == (len(errors), sum(error != 0 for error in errors))


def test_zookeeper_requests_have_their_length_before_them() -> None:
    for sent in (greeting(), create(1, b"/key", b"value")):
        assert int.from_bytes(sent[:4], "big") == len(sent) - 4
