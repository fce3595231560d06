"""Streams over a connection that is two queues: opened, read, written, closed, reset, and held back when nobody reads."""

import asyncio

from apiserver.streams.session import STREAMS_MAX, WAITING_BYTES_MAX, Session
from apiserver.streams.spdy import Data, Decoder, Encoder, GoAway, Ping, Reset, RstStream, SynReply, SynStream


class Line:
    """A connection whose other end is the test."""

    def __init__(self):
        self.incoming = asyncio.Queue()
        self.encoder, self.decoder = Encoder(), Decoder()
        self.sent = []

    def say(self, *frames):
        for frame in frames:
            self.incoming.put_nowait(self.encoder.encode(frame))

    def hang_up(self):
        self.incoming.put_nowait(b"")

    async def read(self):
        return await self.incoming.get()

    async def write(self, data):
        self.sent += self.decoder.feed(data)

    async def close(self):
        self.hang_up()


def scene(play):
    async def run():
        line = Line()
        session = Session(line)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(session.run())
            await asyncio.wait_for(play(line, session), 5)
            reading.cancel()

    asyncio.run(run())


async def turns():
    """Lets everything happen that can."""
    for _ in range(50):
        await asyncio.sleep(0)


def test_a_stream_is_answered_read_and_written():
    async def play(line, session):
        line.say(SynStream(1, {"streamtype": "data", "port": "80"}), Data(1, b"abc"), Data(1, b"def", True))
        stream = await session.accept()
        assert stream.headers == {"streamtype": "data", "port": "80"}
        assert [await stream.read(), await stream.read(), await stream.read()] == [b"abc", b"def", b""]
        await stream.write(b"x" * 40000)
        await stream.close()
        assert line.sent[0] == SynReply(1, {})
        assert b"".join(frame.data for frame in line.sent[1:]) == b"x" * 40000
        assert line.sent[-1] == Data(1, b"", True)

    scene(play)


def test_pings_of_the_client_are_answered_and_others_are_not():
    async def play(line, session):
        line.say(Ping(7), Ping(8), SynStream(1, {}))
        await session.accept()
        assert line.sent == [Ping(7), SynReply(1, {})]

    scene(play)


def test_a_reset_ends_reading_and_makes_writing_silent():
    async def play(line, session):
        line.say(SynStream(1, {}), Data(1, b"a"), RstStream(1, Reset.CANCEL))
        stream = await session.accept()
        await turns()
        assert stream.over
        assert await stream.read() == b""
        await stream.write(b"late")
        assert line.sent == [SynReply(1, {})]

    scene(play)


def test_a_connection_that_ends_ends_its_streams_and_the_accepting():
    async def play(line, session):
        line.say(SynStream(1, {}))
        stream = await session.accept()
        line.hang_up()
        assert await stream.read() == b""
        assert await session.accept() is None

    scene(play)


def test_nonsense_ends_the_connection():
    async def play(line, session):
        line.incoming.put_nowait(b"GET / HTTP/1.1\r\n\r\n\x80\x02")
        line.incoming.put_nowait(b"\x80\x02" * 400000)
        line.hang_up()
        assert await session.accept() is None

    scene(play)


def test_a_number_that_goes_back_ends_the_connection():
    async def play(line, session):
        line.say(SynStream(3, {}), SynStream(1, {}))
        await session.accept()
        assert await session.accept() is None

    scene(play)


def test_the_connection_waits_while_a_stream_is_full_and_goes_on_when_it_is_read():
    async def play(line, session):
        line.say(SynStream(1, {}))
        stream = await session.accept()
        piece = b"x" * 65536
        for _ in range(10):
            line.say(Data(1, piece))
        await turns()
        assert line.incoming.qsize() == 10 - (WAITING_BYTES_MAX // len(piece) + 1)
        got = 0
        while got < 10 * len(piece):
            got += len(await stream.read())

    scene(play)


def test_more_streams_than_the_limit_are_refused():
    async def play(line, session):
        line.say(*(SynStream(2 * number + 1, {}) for number in range(STREAMS_MAX + 1)))
        for _ in range(STREAMS_MAX):
            await session.accept()
        await turns()
        assert line.sent[-1] == RstStream(2 * STREAMS_MAX + 1, Reset.REFUSED_STREAM)

    scene(play)


def test_the_good_bye_names_the_last_stream():
    async def play(line, session):
        line.say(SynStream(5, {}))
        await session.accept()
        await session.close()
        assert line.sent[-1] == GoAway(5)

    scene(play)
