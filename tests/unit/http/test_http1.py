"""A connection of HTTP/1.1: requests one after the other, however their bytes are cut, and every way in which one of the two sides may end it."""

import asyncio
from typing import Any

import pytest

from kvstore.http import http1
from kvstore.http.http1 import LANE_BYTES_MAX, READ_AHEAD_BYTES, Call
from kvstore.http.limits import ClientGone, Limits
from tests.unit.http.http1 import CLIENT, JSON, Peer, answer, body_of, echo, run, settle

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
LANE = b"POST /lane HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"

GOT, POSTED = answer(b"GET /a?b=c "), answer(b"POST /p? hello")


class Lane:
    """An application whose lane keeps its calls until somebody answers them; `willing` says whether it takes them."""

    gateway_paths = frozenset({"/lane"})

    def __init__(self, willing: bool = True, at_once: bool = False) -> None:
        self.willing = willing
        self.at_once = at_once
        self.calls: list[Call] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)

    def gateway_lane(self, call: Call) -> bool:
        if self.willing:
            self.calls.append(call)
            if self.at_once:
                call.respond(200, JSON, call.body)
        return self.willing


def laned(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def test_requests_cut_at_every_place() -> None:
    requests = GET + POST + b"\r\n" + CHUNKED + LANE + GET

    async def work() -> None:
        for at in range(1, len(requests)):
            peer = Peer(Lane(at_once=True))
            said = await peer.said(requests[:at]) + await peer.said(requests[at:])
            assert said == GOT + POSTED + POSTED + laned(b"hello") + GOT, at
            await peer.end()

    run(work)


def test_requests_byte_by_byte() -> None:
    async def work() -> None:
        peer = Peer(Lane(at_once=True))
        said = b""
        for byte in GET + CHUNKED + LANE + POST:
            said += await peer.said(bytes((byte,)))
        assert said == GOT + POSTED + laned(b"hello") + POSTED
        await peer.end()

    run(work)


def test_requests_sent_ahead_are_answered_in_their_order() -> None:
    """RFC 9112, 9.3.2."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3 if scope["path"] == "/slow" else 0):
            await asyncio.sleep(0)
        await echo(scope, receive, send)

    async def work() -> None:
        peer = Peer(app)
        said = await peer.said(GET.replace(b"/a", b"/slow") + GET + POST)
        assert said == answer(b"GET /slow?b=c ") + GOT + POSTED
        await peer.end()

    run(work)


def test_the_lane() -> None:
    async def work() -> None:
        app = Lane()
        peer = Peer(app)
        assert await peer.said(LANE + LANE.replace(b"hello", b"again") + GET) == b""
        (call,) = app.calls
        assert (call.body, call.head.path, call.client, call.tls) == (b"hello", "/lane", CLIENT, None)
        call.respond(404, JSON, b"{}")
        assert await peer.said() == b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        app.calls[1].respond(200, JSON, b"2")
        assert await peer.said() == laned(b"2") + GOT
        assert not peer.tasks[:-1], "only what is not the lane's is served by a task"
        await peer.end()

    run(work)


@pytest.mark.parametrize("willing", [True, False])
def test_what_the_lane_does_not_take(willing: bool) -> None:
    async def work() -> None:
        peer = Peer(Lane(willing, at_once=True))
        assert await peer.said(LANE) == (laned(b"hello") if willing else answer(b"POST /lane? hello"))
        large = b"x" * (LANE_BYTES_MAX + 1)
        assert await peer.said(LANE.replace(b"5", b"%d" % len(large), 1)[:-5] + large) == answer(b"POST /lane? " + large)
        for changed in (LANE.replace(b"POST", b"PUT"), CHUNKED.replace(b"/p", b"/lane")):
            assert b"text/plain" in await peer.said(changed)
        assert b"text/plain" in await peer.said(LANE.replace(b"1.1", b"1.0"))
        await peer.end()

    run(work)


def test_a_body_that_looks_like_a_request_is_none() -> None:
    async def work() -> None:
        app = Lane(at_once=True)
        peer = Peer(app)
        said = await peer.said(LANE.replace(b"5", b"%d" % len(LANE), 1)[:-5]) + await peer.said(LANE)
        assert said == laned(LANE) and len(app.calls) == 1
        await peer.end()

    run(work)


def test_an_answer_of_the_lane_for_a_client_that_left() -> None:
    async def work() -> None:
        app = Lane()
        peer = Peer(app)
        await peer.said(LANE)
        await peer.end()
        app.calls[0].respond(200, JSON, b"x")
        assert await peer.said() == b""

    run(work)


def test_an_answer_in_pieces() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"9"), (b"x", b"y")]})
        for piece in (b"a", b"", b"b" * 16):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def work() -> None:
        peer = Peer(app)
        chunks = b"1\r\na\r\n10\r\n" + b"b" * 16 + b"\r\n0\r\n\r\n"
        assert await peer.said(GET) == b"HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n" + chunks
        assert await peer.said(GET.replace(b"GET", b"HEAD")) == b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n"
        old = GET.replace(b"1.1", b"1.0").replace(b"Host: x", b"Connection: keep-alive")
        assert await peer.said(old) == b"HTTP/1.1 200 OK\r\nx: y\r\nconnection: close\r\n\r\na" + b"b" * 16
        assert peer.lost, "for HTTP/1.0 the end of the connection is the end of an answer whose length is not known"

    run(work)


@pytest.mark.parametrize(
    ("request_", "fields", "kept"),
    [
        (GET, [], True),
        (GET.replace(b"Host: x", b"Host: x\r\nConnection: close"), [b"connection: close"], False),
        (GET.replace(b"1.1", b"1.0"), [b"connection: close"], False),
        (GET.replace(b"1.1", b"1.0").replace(b"Host: x", b"Connection: keep-alive"), [b"connection: keep-alive"], True),
    ],
)
def test_who_may_stay(request_: bytes, fields: list[bytes], kept: bool) -> None:
    async def work() -> None:
        peer = Peer(echo)
        expected = answer(b"GET /a?b=c ")
        assert await peer.said(request_) == expected.replace(b"\r\n\r\n", b"\r\n" + b"".join(each + b"\r\n" for each in fields) + b"\r\n", 1)
        assert peer.lost is not kept
        if kept:
            await peer.end()

    run(work)


def test_head_and_statuses_without_body() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": int(scope["path"][1:])})
        await send({"type": "http.response.body", "body": b"four"})

    async def work() -> None:
        peer = Peer(app)
        assert await peer.said(b"HEAD /200 HTTP/1.1\r\nHost: x\r\n\r\n") == b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
        assert await peer.said(b"GET /204 HTTP/1.1\r\nHost: x\r\n\r\n") == b"HTTP/1.1 204 No Content\r\n\r\n"
        assert await peer.said(b"GET /304 HTTP/1.1\r\nHost: x\r\n\r\n") == b"HTTP/1.1 304 Not Modified\r\n\r\n"
        assert await peer.said(b"GET /299 HTTP/1.1\r\nHost: x\r\n\r\n") == b"HTTP/1.1 299 Unknown\r\ncontent-length: 4\r\n\r\nfour"
        await peer.end()

    run(work)


def test_a_client_that_waits_to_be_told_to_go_on() -> None:
    """RFC 9110, 10.1.1: told when the application reads, not if it does not, nor if the body is there."""
    head, body = POST.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")[:-5], b"hello"

    async def deny(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 403})
        await send({"type": "http.response.body", "body": b""})

    async def work() -> None:
        peer = Peer(echo)
        assert await peer.said(head) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert await peer.said(body) == POSTED
        assert await peer.said(head + body) == POSTED
        await peer.end()
        denied = Peer(deny)
        assert await denied.said(head) == b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        assert denied.transport.eof_written
        await denied.end()

    run(work)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"\0\0\0\0", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
        (b"GET /" + b"a" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloGET / HTTP/1.1\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4c4b41\r\n", 413),
        (b"POST /lane HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 101 + b"Content-Length: 0\r\n\r\n", 431),
    ],
    ids=range(13),
)
def test_what_is_refused_ends_the_connection(request_: bytes, status: int) -> None:
    async def work() -> None:
        peer = Peer(Lane(at_once=True))
        said = await peer.said(request_ + GET)
        assert said.startswith(b"HTTP/1.1 %d " % status) and b"\r\nconnection: close\r\n" in said, said
        assert said.count(b"HTTP/1.1") == 1, "what comes behind it is not read"
        assert peer.transport.eof_written and not peer.lost and all(task.done() for task in peer.tasks)
        assert await peer.said(GET) == b""
        await peer.end()

    run(work)


def test_a_refused_request_behind_a_good_one() -> None:
    async def work() -> None:
        peer = Peer(echo)
        said = await peer.said(GET + POST + b"GET / HTTP/1.1\r\nHost : x\r\n\r\n" + GET)
        assert said.startswith(GOT + POSTED + b"HTTP/1.1 400 ") and said.count(b"HTTP/1.1") == 3
        await peer.end()

    run(work)


def test_an_application_that_fails() -> None:
    async def at_once(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("of its own")

    async def in_the_middle(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise RuntimeError("of its own")

    async def says_nothing(scope: Any, receive: Any, send: Any) -> None:
        await body_of(receive)

    async def sends_a_line_too_much(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y\r\nz: a")]})
        await send({"type": "http.response.body", "body": b""})

    async def work() -> None:
        for app in (at_once, says_nothing, sends_a_line_too_much):
            peer = Peer(app)
            said = await peer.said(GET + GET)
            assert said.count(b"HTTP/1.1 500 Internal Server Error\r\n") == 2 and b"z: a" not in said
            await peer.end()
        peer = Peer(in_the_middle)
        said = await peer.said(GET)
        assert said.endswith(b"1\r\nx\r\n") and peer.transport.aborted and peer.lost

    run(work)


def test_a_client_that_leaves_is_told_of() -> None:
    seen: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            seen.append((await receive())["type"])
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            seen.append((await receive())["type"])
            with pytest.raises(ClientGone):
                await send({"type": "http.response.start", "status": 200})
            raise

    async def work() -> None:
        peer = Peer(app)
        assert await peer.said(GET) == b""
        await peer.end()
        assert seen == ["http.request", "cancelled", "http.disconnect"]

    run(work)


def test_a_client_that_only_ends_his_side_gets_his_answers() -> None:
    """RFC 9112, 9.6: a half-closed connection may still want what it asked for."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await echo(scope, receive, send)

    async def work() -> None:
        peer = Peer(slow)
        peer.send(GET + POST)
        assert peer.connection.eof_received() is True
        assert await peer.said() + await peer.said() == GOT + POSTED
        assert peer.lost and not peer.transport.aborted
        idle = Peer(echo)
        assert idle.connection.eof_received() is False, "nothing is under way: closed"
        cut = Peer(echo)
        cut.send(POST[:-1])
        assert cut.connection.eof_received() is True
        assert await cut.said() == b"" and cut.lost, "half a body never becomes a request"
        secure = Peer(slow, tls={})
        secure.send(GET)
        assert secure.connection.eof_received() is False

    run(work)


def test_a_client_that_ended_his_side_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "HALF_CLOSED_S", 0.0)

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.get_running_loop().create_future()

    async def work() -> None:
        peer = Peer(waits)
        await peer.said(GET)
        peer.connection.eof_received()
        await asyncio.sleep(0.001)
        await settle()
        assert peer.lost and peer.transport.aborted and peer.tasks[0].cancelled()

    run(work)


def test_a_client_that_does_not_take_what_it_asked_for() -> None:
    sent: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"x", "more_body": number < 2})
            sent.append(number)

    async def work() -> None:
        peer = Peer(app)
        peer.connection.pause_writing()
        peer.send(GET)
        await settle()
        assert sent == [] and not peer.tasks, "no request begins before the last answer is taken"
        peer.connection.resume_writing()
        await settle()
        assert sent == [0, 1, 2]
        peer.send(GET)
        peer.connection.pause_writing()
        await settle()
        assert sent == [0, 1, 2], "an answer stops where it is"
        peer.connection.resume_writing()
        await settle()
        assert sent == [0, 1, 2] * 2
        peer.send(GET)
        peer.connection.pause_writing()
        await settle()
        await peer.end()
        assert sent == [0, 1, 2] * 2

    run(work)


def test_an_answer_that_is_never_taken_is_given_up() -> None:
    async def work() -> None:
        peer = Peer(echo, Limits(answer_stall_s=0.0, unary_prefixes=("/a",)))
        peer.send(GET)
        peer.connection.pause_writing()
        await asyncio.sleep(0.001)
        await settle()
        assert peer.transport.aborted and peer.lost

    run(work)


def test_a_client_that_sends_ahead_without_end() -> None:
    async def work() -> None:
        app = Lane()
        peer = Peer(app)
        peer.send(LANE)
        ahead = LANE * (READ_AHEAD_BYTES // len(LANE) + 1)
        peer.send(ahead)
        assert not peer.transport.reading and peer.held == len(ahead)
        while app.calls:
            app.calls.pop(0).respond(200, JSON, b"")
        assert peer.transport.reading and peer.held == 0
        await peer.end()

    run(work)


def test_a_body_that_nobody_reads_is_not_taken_in() -> None:
    begin = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await begin.wait()
        await echo(scope, receive, send)

    async def work() -> None:
        peer = Peer(app)
        content = bytes(4 << 20)
        peer.send(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(content))
        at = 0
        while peer.transport.reading:
            peer.send(content[at : at + 65536])
            at += 65536
        assert peer.held == at <= 4 * 65536
        begin.set()
        await settle()
        assert peer.transport.reading and peer.held == 0
        assert (await peer.said(content[at:])).endswith(b"POST /p? " + content)
        await peer.end()

    run(work)


def test_slow_clients() -> None:
    async def work() -> None:
        for begin in (GET[:10], POST[:-2], LANE[:-2], CHUNKED[:-8].replace(b"/p", b"/u")):
            peer = Peer(Lane(), Limits(head_s=0.0, body_idle_s=0.0, unary_prefixes=("/u",)))
            peer.send(begin)
            await asyncio.sleep(0.001)
            said = await peer.said()
            assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n") and peer.transport.eof_written, begin
            assert all(task.done() for task in peer.tasks)
            await peer.end()
        quiet = Peer(echo, Limits(head_s=0.0, body_idle_s=0.0))
        quiet.send(CHUNKED[:-8])
        await asyncio.sleep(0.001)
        assert await quiet.said() == b"", "what may be a stream may be silent"
        assert await quiet.said(CHUNKED[-8:]) == POSTED
        await asyncio.sleep(0.001)
        assert await quiet.said(GET) == GOT, "as may a connection on which nothing is under way"
        await quiet.end()

    run(work)


def test_an_answer_before_the_request_has_ended_ends_the_connection() -> None:
    async def deny(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 403})
        await send({"type": "http.response.body", "body": b"no"})

    async def work() -> None:
        peer = Peer(deny)
        said = await peer.said(POST[:-1])
        assert said == b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
        assert peer.transport.eof_written and not peer.lost, "the client may still be sending"
        assert await peer.said(b"o" + GET) == b""
        await peer.end()

    run(work)


def test_a_conversation() -> None:
    """Answers while the request's body goes on, as watches have it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        more = True
        while more:
            event = await receive()
            more = event["more_body"]
            await send({"type": "http.response.body", "body": event["body"].upper(), "more_body": more})

    async def work() -> None:
        peer = Peer(app)
        said = await peer.said(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert said == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n1\r\nA\r\n"
        assert await peer.said(b"1\r\nb\r\n") == b"1\r\nB\r\n"
        assert await peer.said(b"0\r\n\r\n") == b"0\r\n\r\n"
        assert peer.lost

    run(work)


def test_a_server_that_goes() -> None:
    async def work() -> None:
        idle = Peer(echo)
        idle.connection.drain()
        await settle()
        assert idle.lost
        for request in (GET, LANE):
            app = Lane()
            busy = Peer(app)
            busy.send(request)
            assert busy.connection.is_busy
            busy.connection.drain()
            for call in app.calls:
                call.respond(200, JSON, b"")
            said = await busy.said()
            assert said.startswith(b"HTTP/1.1 200 OK") and busy.lost, "what is under way is answered"

    run(work)


def test_the_scope() -> None:
    scopes: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    async def work() -> None:
        extension = {"client_cert_name": "CN=a"}
        for peer in (Peer(app), Peer(app, tls=extension)):
            await peer.said(b"GET /a%20b?c=%20 HTTP/1.1\r\nHOST: x\r\n\r\n")
            await peer.end()
        clear, secure = scopes
        assert secure.pop("extensions") == {"tls": extension} and clear.pop("extensions") == {}
        assert (clear.pop("scheme"), secure.pop("scheme")) == ("http", "https")
        assert clear == secure
        assert clear == {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "method": "GET",
            "path": "/a b",
            "raw_path": b"/a%20b",
            "query_string": b"c=%20",
            "root_path": "",
            "headers": [(b"host", b"x")],
            "client": CLIENT,
            "server": ("192.0.2.2", 2379),
        }

    run(work)


def test_an_answer_of_the_lane_that_is_not_taken() -> None:
    """It is counted, nothing follows it, and it does not wait for ever."""

    async def work() -> None:
        app = Lane()
        held: list[int] = []
        peer = Peer(app, Limits(answer_stall_s=0.01, hold=lambda _client, more: held.append(more)))

        def answer_a_pause() -> None:
            peer.send(LANE)
            peer.connection.pause_writing()
            app.calls.pop().respond(200, JSON, b"x" * 1000)

        answer_a_pause()
        peer.send(LANE)
        assert sum(held) == 1000 + len(LANE) and not app.calls
        peer.connection.resume_writing()
        assert sum(held) == 0
        app.calls.pop().respond(200, JSON, b"")
        answer_a_pause()
        await asyncio.sleep(0.02)
        await settle()
        assert peer.transport.aborted and peer.lost and sum(held) == 0

    run(work)
