"""Invariant: whatever bytes come over HTTP/1.1, they are understood alike however they are cut, and nothing behind what was refused is looked at."""

import asyncio
import random
import re

import pytest

from kvstore.http.http1 import Call
from tests.fuzz.target import rounds
from tests.unit.http.http1 import JSON, Peer, echo, run

pytestmark = [pytest.mark.slow]

PIECES = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /lane HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: y\r\n\r\n1;a=b\r\nh\r\n04\r\nello\r\n0\r\ny: z\r\n\r\n",
    b"HEAD /h HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
    b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"POST /lane HTTP/1.1\r\nHost: x\r\nContent-Length: 54\r\n\r\nPOST /lane HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nbye",
    b"POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
]
FRAGMENTS = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"0",
    b"5",
    b"f",
    b";",
    b"chunked",
    b"Content-Length: 3\r\n",
    b"\xff",
    b"HTTP/1.1",
    b",",
]
FRAGMENTS += [b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"GET / ", b"\r\n\r\n", b"0\r\n\r\n"]


class Laned:
    """An application with a lane that answers at once."""

    gateway_paths = frozenset({"/lane"})
    __call__ = staticmethod(echo)

    def gateway_lane(self, call: Call) -> bool:
        call.respond(200, JSON, call.body)
        return True


def mutated(chance: random.Random) -> bytes:
    text = bytearray(b"".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 5))))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(text) + 1)
        if chance.random() < 0.5:
            text[at:at] = chance.choice(FRAGMENTS)
        else:
            del text[at : at + chance.randrange(1, 4)]
    return bytes(text)


def cut(chance: random.Random, text: bytes) -> list[bytes]:
    lines = [found.end() for found in re.finditer(b"\r\n", text)]
    ends = sorted(chance.choice(lines) if lines and chance.random() < 0.3 else chance.randrange(len(text) + 1) for _ in range(chance.randrange(1, 6)))
    return [text[begin:end] for begin, end in zip([0, *ends], [*ends, len(text)], strict=True) if begin < end]


async def outcome(pieces: list[bytes]) -> list[bytes]:
    """The answers, without those words that depend on when the server had what."""
    peer = Peer(Laned())
    said = b""
    for piece in pieces:
        if not peer.transport.closed:
            said += await peer.said(piece)
    assert all(task.done() or task.get_name() == "http request" for task in peer.tasks)
    if not peer.lost:
        await peer.end()
    assert peer.held == 0
    said = said.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    answers = re.split(rb"(?=HTTP/1\.1 [0-9]{3} [A-Z])", said)
    # A refusal is told as soon as it is certain, so which of several mistakes is named may depend on how the text was cut.
    return [b"refused" if b"\r\nconnection: close\r\n" in each and not each.startswith(b"HTTP/1.1 200") else each for each in answers]


def test_requests_mean_the_same_however_they_are_cut() -> None:
    async def work() -> None:
        chance = random.Random(50)
        answered = refused = 0
        for _ in rounds():
            text = mutated(chance)
            whole = await outcome([text])
            assert await outcome(cut(chance, text)) == whole, text
            if chance.random() < 0.2:
                assert await outcome([bytes((byte,)) for byte in text]) == whole, text
            assert b"refused" not in whole[:-1], "nothing is answered behind a refusal"
            answered += len(whole)
            refused += whole[-1] == b"refused"
        assert answered and refused

    run(work)


def test_garbage() -> None:
    async def work() -> None:
        chance = random.Random(51)
        for _ in rounds():
            garbage = chance.randbytes(chance.choice((1, 20, 300)))
            assert (await outcome([garbage]))[-1] in (b"", b"refused"), garbage
            await asyncio.sleep(0)

    run(work)
