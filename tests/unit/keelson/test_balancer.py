"""Connections go to ready servers in turns, past those that refuse, and end to end."""

import asyncio
import ssl

from keelson.drills.ports import free_port
from keelson.launcher.balancer import Balancer

TLS = ssl.create_default_context()
A, B, C = ("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)


def test_ready_servers_in_turns_and_the_others_last() -> None:
    balancer = Balancer([A, B, C], TLS)
    assert [balancer.order()[0] for _ in range(4)] == [A, B, C, A]
    balancer.ready[B] = False
    assert [balancer.order()[0] for _ in range(3)] == [C, C, A]
    assert all(balancer.order()[-1] == B for _ in range(3))


def test_a_connection_goes_past_a_server_that_refuses_and_ends_on_both_sides() -> None:
    async def run() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.read(-1)).upper())
            writer.close()

        gone = ("127.0.0.1", free_port())
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        there = server.sockets[0].getsockname()
        balancer = Balancer([gone, there], TLS)
        front = await asyncio.start_server(balancer.serve, "127.0.0.1", 0)
        async with server, front:
            for _ in range(2):
                reader, writer = await asyncio.open_connection(*front.sockets[0].getsockname())
                writer.write(b"through")
                writer.write_eof()
                assert await reader.read(-1) == b"THROUGH"
                writer.close()
                await writer.wait_closed()
        assert balancer.ready == {gone: False, there: True}

    asyncio.run(run())


def test_with_no_server_at_all_the_connection_is_closed() -> None:
    async def run() -> None:
        balancer = Balancer([("127.0.0.1", free_port())], TLS)
        front = await asyncio.start_server(balancer.serve, "127.0.0.1", 0)
        async with front:
            reader, writer = await asyncio.open_connection(*front.sockets[0].getsockname())
            assert await reader.read(-1) == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())
