"""The user-space proxy over loopback: as many connections as it has room for, and a reset for the next."""

import asyncio
import socket

import pytest

from agents.proxy.rules import Kind, Listener, Rule, Target
from agents.proxy.userspace import DESCRIPTORS_RESERVED, Userspace
from tests.support.virtual_loop import settle


class Nowhere:
    """This machine has its addresses already."""

    async def keep(self, wanted):
        pass


class Left:
    """What a proxy before has left: a listener whose port nobody else can have got meanwhile."""

    def __init__(self):
        bound = socket.socket()
        bound.setblocking(False)
        bound.bind(("127.0.0.1", 0))
        self.listener = Listener("127.0.0.1", bound.getsockname()[1], "TCP")
        self._bound = bound

    async def take(self):
        return {self.listener: self._bound}

    async def settle(self):
        pass

    def keep(self, listener, bound):
        pass

    def drop(self, listener):
        pass


async def shout(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
    writer.close()


async def asked(reader, writer):
    writer.write(b"hello\n")
    return await reader.readline()


def test_a_connection_too_many_is_reset_and_the_others_go_on():
    async def run():
        endpoint = await asyncio.start_server(shout, "127.0.0.1", 0)
        left = Left()
        listener = left.listener
        proxy = Userspace(Nowhere(), keeping=left, descriptors=DESCRIPTORS_RESERVED + 1 + 2 * 2)
        await proxy.inherit()
        rule = Rule("d/s", Kind.CLUSTER_IP, (Target("127.0.0.1", endpoint.sockets[0].getsockname()[1]),))
        assert await proxy.sync({listener: rule}) == []
        clients = []
        async with asyncio.timeout(30):
            for _ in range(2):
                clients.append(await asyncio.open_connection("127.0.0.1", listener.port))
                assert await asked(*clients[-1]) == b"HELLO\n"
            with pytest.raises(ConnectionResetError):
                await asked(*await asyncio.open_connection("127.0.0.1", listener.port))
            assert await asked(*clients[0]) == b"HELLO\n"
            assert (proxy.counters.over_limit, proxy.counters.refused, proxy.counters.open) == (1, 0, 2)
            for reader, writer in clients:
                writer.write_eof()
                assert await reader.read() == b""
                writer.close()
            await proxy.close()
            endpoint.close()
            await settle()

    asyncio.run(run())
