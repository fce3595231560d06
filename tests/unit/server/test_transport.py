"""Connections between two members on loopback."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from kvstore.ids import ClusterId, Index, MemberId, Term
from kvstore.member.messages import AnyPeerMessage
from kvstore.model import Member
from kvstore.peer.frames import MessageCodec
from kvstore.raft.messages import Heartbeat
from kvstore.server import transport
from kvstore.server.transport import UNACKNOWLEDGED_S_MAX, Transport

FIRST, SECOND = MemberId(1), MemberId(2)


def make(own: MemberId, receive: Callable[[Any], None]) -> Transport:
    return Transport(
        asyncio.get_running_loop(),
        ClusterId(7),
        own,
        MessageCodec(AnyPeerMessage),
        receive=receive,
        connected=lambda _: None,
        heard=lambda _: None,
        unreachable=lambda _: None,
        told_removed=lambda _: None,
        members=lambda: {member: Member(member, "", (), ()) for member in (FIRST, SECOND)},
        removed_members=lambda: (),
    )


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_message_arrives_and_a_silent_wire_is_given_up_early(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario() -> None:
        arrived: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        here, there = make(FIRST, lambda _: None), make(SECOND, arrived.set_result)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        port = listener.getsockname()[1]
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            there.listen([(f"http://127.0.0.1:{port}", listener)], group)
            here.set_peers({SECOND: [f"http://127.0.0.1:{port}"]}, group)
            while not here.peers[SECOND].active:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
            connection = here.peers[SECOND]._connection
            assert connection is not None
            wire = connection.get_extra_info("socket")
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNACKNOWLEDGED_S_MAX * 1000
            beat = Heartbeat(FIRST, SECOND, Term(1), Index(0))
            here.send([beat])
            assert await arrived == beat
            # It breaks, and before anybody hears of it there is another message to send.
            connection.abort()
            here.send([beat])
            await asyncio.sleep(0)
            here.send([beat])
            await here.close()
            await there.close()
        listener.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("host", ["a..b", "a" * 64, "a\0b", "%zz"])
def test_a_peer_url_that_no_resolver_takes_ends_nobody(host: str, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Whoever may add members could otherwise end all of them for good, by a slip of the finger."""

    async def scenario() -> None:
        failed = asyncio.Event()
        here = make(FIRST, lambda _: None)
        here.unreachable = lambda _: failed.set()
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            here.set_peers({SECOND: [f"http://{host}:1"]}, group)
            await failed.wait()
            assert not here.peers[SECOND].active
            await here.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_who_calls_is_called_back_without_waiting_for_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that was away calls when it is back; the others' next tries would come up to a second later."""
    monkeypatch.setattr(transport, "REDIAL_S_MIN", 3600.0)

    async def scenario() -> None:
        failed, connected = asyncio.Event(), asyncio.Event()
        here, there = make(FIRST, lambda _: None), make(SECOND, lambda _: None)
        here.unreachable = lambda _: failed.set()
        here.connected = lambda _: connected.set()
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        urls = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in sockets]
        for each in sockets:
            each.setblocking(False)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            here.listen([(urls[0], sockets[0])], group)
            here.set_peers({SECOND: ["http://127.0.0.1:1"]}, group)
            await failed.wait()
            here.peers[SECOND].urls = (urls[1],)  # where it is from now on
            there.listen([(urls[1], sockets[1])], group)
            there.set_peers({FIRST: [urls[0]]}, group)
            await connected.wait()
            assert here.peers[SECOND].active
            await here.close()
            await there.close()
        for each in sockets:
            each.close()

    asyncio.run(scenario())
