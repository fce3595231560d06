"""Questions over real UDP and TCP on loopback; packets that are no questions."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.dns import wire
from agents.dns.server import Dns, listening
from agents.dns.upstream import Upstream, resolvers
from tests.unit.agents.dns.world import endpoint, part, service, zone

HOST = "127.0.0.1"


def serve(body: Callable[[int, Dns], Awaitable[None]], upstream: Upstream | None = None) -> None:
    async def run() -> None:
        server = Dns(zone(), upstream or Upstream(()))
        async with listening(server, HOST, 0) as port:
            await body(port, server)

    asyncio.run(run())


def test_udp_and_tcp_give_the_same() -> None:
    async def body(port: int, server: Dns) -> None:
        query = dns.message.make_query("web.shop.svc.cluster.local.", "A")
        for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
            told = await ask(query, HOST, port=port, timeout=5)
            assert [str(each) for each in told.answer[0]] == ["10.96.0.7"]
            assert told.answer[0].ttl == 5
            assert told.flags & dns.flags.AA
        assert server.counts.requests == {("udp", "A"): 1, ("tcp", "A"): 1}

    serve(body)


def test_denials_carry_the_start_of_authority() -> None:
    async def body(port: int, server: Dns) -> None:
        for name, code in (("nobody.shop.svc.cluster.local.", dns.rcode.NXDOMAIN), ("shop.svc.cluster.local.", dns.rcode.NOERROR)):
            told = await dns.asyncquery.udp(dns.message.make_query(name, "A"), HOST, port=port, timeout=5)
            assert told.rcode() == code
            assert told.answer == []
            assert "SOA" in str(told.authority[0])

    serve(body)


def test_other_names_are_asked_of_others_and_fail_without_them() -> None:
    async def body(port: int, server: Dns) -> None:
        async with listening(Dns(zone(), Upstream((HOST,), port)), HOST, 0) as front:
            # The second server knows the zone's reverse names only by way of the first.
            told = await dns.asyncquery.udp(dns.message.make_query("example.org.", "A"), HOST, port=front, timeout=5)
        assert told.rcode() == dns.rcode.SERVFAIL

    serve(body)


def test_an_answer_that_does_not_fit_is_cut_and_whole_over_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.agents.dns import world

    many = part("big", [endpoint(f"10.244.{number}.2") for number in range(100)])
    monkeypatch.setattr(world, "SLICES", [*world.SLICES, many])
    monkeypatch.setattr(world, "SERVICES", [*world.SERVICES, service("big", clusterIP="None")])

    async def body(port: int, server: Dns) -> None:
        query = dns.message.make_query("big.shop.svc.cluster.local.", "A")
        cut = await dns.asyncquery.udp(query, HOST, port=port, timeout=5)
        assert cut.flags & dns.flags.TC
        whole = await dns.asyncquery.tcp(query, HOST, port=port, timeout=5)
        assert len(whole.answer[0]) == 100

    serve(body)


@given(st.binary(max_size=80))
def test_garbage_is_dropped_or_answered_but_never_fails(packet: bytes) -> None:
    query = wire.parsed(packet)
    if query is not None:
        with contextlib.suppress(wire.Elsewhere):
            assert wire.to_wire(wire.answer(query, zone(), 1), 512)


def test_an_answer_is_no_question() -> None:
    answer = dns.message.make_response(dns.message.make_query("web.shop.svc.cluster.local.", "A"))
    assert wire.parsed(answer.to_wire()) is None


def test_resolvers_are_read_without_ourselves(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "resolv.conf"
    path.write_text("# nameserver 1.1.1.1\nnameserver 10.96.0.10\nnameserver 9.9.9.9\nnameserver junk\nsearch x\n")
    assert resolvers(path, besides="10.96.0.10") == ("9.9.9.9",)
    assert resolvers(Path("/nonexistent")) == ()
