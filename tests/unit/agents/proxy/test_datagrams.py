"""Flows over loopback: answers come back, an endpoint that refuses is passed over without the client noticing, what is not wanted ends."""

import asyncio
import random
import socket

from agents.proxy.choice import Choice
from agents.proxy.datagrams import Flows
from agents.proxy.rules import Kind, Rule, Target


class Shout(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data.upper(), addr)


def bound():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.bind(("127.0.0.1", 0))
    return made


def free():
    """A port at which nobody listens."""
    with bound() as made:
        return made.getsockname()[1]


def scene(play, *refusing):
    """Runs `play(ask, flows, target)` with flows to `refusing` targets first, then to one that answers."""

    async def run():
        loop = asyncio.get_running_loop()
        answering, _ = await loop.create_datagram_endpoint(Shout, local_addr=("127.0.0.1", 0))
        target = Target("127.0.0.1", answering.get_extra_info("sockname")[1])
        rule = Rule("d/s", Kind.CLUSTER_IP, (*refusing, target))
        choice = Choice(loop.time, random.Random(1))
        flows = Flows(lambda _: (rule, sorted(rule.targets, key=lambda each: (choice.is_silent(each), each == target))), choice)
        listening = bound()
        place = listening.getsockname()
        await flows.open(listening)
        with bound() as client:

            async def ask(*datagrams):
                for data in datagrams:
                    client.sendto(data, place)
                async with asyncio.timeout(3):
                    return await loop.sock_recv(client, 100)

            try:
                await play(ask, flows, target)
            finally:
                flows.close()
                answering.close()

    asyncio.run(run())


def test_answers_come_back_in_one_flow():
    async def play(ask, flows, target):
        assert [await ask(b"one"), await ask(b"two")] == [b"ONE", b"TWO"]
        assert len(flows) == 1

    scene(play)


def test_a_datagram_that_was_refused_goes_to_the_next():
    async def play(ask, flows, target):
        assert await ask(b"one") == b"ONE"
        assert len(flows) == 1

    scene(play, Target("127.0.0.1", free()), Target("127.0.0.1", free()))


def test_all_that_was_refused_goes_to_the_next():
    """A resolver sends its questions for both families at once, from one port."""

    async def play(ask, flows, target):
        answers = {await ask(b"one", b"two"), await ask()}
        assert answers == {b"ONE", b"TWO"}

    scene(play, Target("127.0.0.1", free()))


def test_flows_to_others_than_the_wanted_end():
    async def play(ask, flows, target):
        await ask(b"one")
        flows.keep([target])
        assert len(flows) == 1
        flows.keep([])
        assert len(flows) == 0
        assert await ask(b"two") == b"TWO"

    scene(play)
