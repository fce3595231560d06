"""Our server's HTTP/2 against the library `h2` as its client: random requests, sizes, windows and cuts of the byte stream.

Whatever comes in which pieces: every request is answered with its own bytes, whole, and nobody breaks the protocol.
"""

import contextlib
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.http.connection import Connection
from kvstore.http.lane import Call
from kvstore.http.limits import Info, Limits
from kvstore.http.stream import Stream
from tests.support.http2 import message

STEP_BYTES = 3_000
LANE, OTHER = "/lane", "/other"
INFO = Info(("192.0.2.1", 7), ("192.0.2.2", 2379), None, lambda work, name: None)  # type: ignore[arg-type,return-value]


@dataclass
class Request:
    path: str
    body: bytes
    answer: bytes
    frames: int
    """Of data, at least."""
    later: bool
    """Answered when everything has been read."""
    timeout: str
    reset: bool


@dataclass
class Heard:
    body: bytes = b""
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    ended: bool = False
    was_reset: bool = False


requests = st.builds(
    Request,
    path=st.sampled_from([LANE, OTHER]),
    body=st.binary(max_size=300) | st.integers(0, 40_000).map(bytes),
    answer=st.binary(max_size=300) | st.integers(0, 40_000).map(lambda size: b"x" * size),
    frames=st.integers(1, 4),
    later=st.booleans(),
    timeout=st.sampled_from(["", "1S", "2S", "3S", "4S"]),
    reset=st.integers(0, 9).map(lambda number: number == 0),
)


class Server:
    """Answers each request with what its body asks for: the answers are given by number."""

    def __init__(self, wanted: dict[int, Request]) -> None:
        self.wanted = wanted
        self.waiting: list[tuple[Stream, bytes]] = []
        self.bodies: dict[int, bytes] = {}
        self.connection = Connection(Limits(), INFO, self.serve, lambda: None, self.write, self.lane, {LANE})
        self.written = bytearray()

    def write(self) -> None:
        self.written += b"".join(self.connection.out)
        self.connection.out.clear()

    def lane(self, call: Call) -> bool:
        assert isinstance(call, Stream)
        self.bodies[call.number] = call.body
        request = self.wanted[call.number]
        if request.later:
            self.waiting.append((call, request.answer))
        else:
            call.answer(request.answer)
        return True

    def serve(self, stream: Stream) -> "Serving":
        return Serving(self, stream)

    def answer_waiting(self) -> None:
        for stream, answer in self.waiting:
            stream.answer(answer)
        self.waiting.clear()

    def output(self) -> bytes:
        while self.connection.waiting or self.connection.out:
            self.connection.pump()
            if not self.connection.out:
                break
            self.write()
        data = bytes(self.written)
        self.written.clear()
        return data


class Serving:
    def __init__(self, server: Server, stream: Stream) -> None:
        self.server, self.stream, self.body = server, stream, b""

    def received(self, data: bytes, ended: bool) -> None:
        self.body += data
        self.server.connection.take(self.stream, len(data))
        if ended:
            self.server.bodies[self.stream.number] = self.body
            self.stream.answer(self.server.wanted[self.stream.number].answer)

    def left(self) -> None:
        pass

    def drained(self) -> None:
        pass


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_request_gets_its_answer(data: st.DataObject) -> None:
    wanted: dict[int, Request] = {}
    server = Server(wanted)
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: data.draw(st.sampled_from([0, 1, 100, 65_535, 1 << 20]), label="window")})
    heard: dict[int, Heard] = {}
    unsent: dict[int, list[bytes]] = {}

    def exchange() -> None:
        """Both sides until neither has anything to say, in pieces as they come."""
        while True:
            out = client.data_to_send()
            at = 0
            while at < len(out):
                size = data.draw(st.integers(1, len(out) - at)) if data.draw(st.booleans()) else len(out) - at
                server.connection.receive(out[at : at + size])
                at += size
            back = server.output()
            if not out and not back:
                return
            for event in client.receive_data(back):
                take(event)
            send_bodies()

    def take(event: h2.events.Event) -> None:
        number = getattr(event, "stream_id", 0)
        if isinstance(event, h2.events.DataReceived):
            heard[number].body += event.data
            client.acknowledge_received_data(event.flow_controlled_length, number)
            grow(number)
        elif isinstance(event, h2.events.TrailersReceived):
            heard[number].trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            heard[number].ended = True
        elif isinstance(event, h2.events.StreamReset):
            heard[number].was_reset = True
        assert not isinstance(event, h2.events.ConnectionTerminated), event

    def grow(number: int) -> None:
        """Small windows grow by small steps, as long as the stream is open."""
        with contextlib.suppress(h2.exceptions.StreamClosedError):
            if client.remote_flow_control_window(number) < STEP_BYTES:
                client.increment_flow_control_window(STEP_BYTES, number)

    def send_bodies() -> None:
        for number, pieces in list(unsent.items()):
            while pieces and len(pieces[0]) <= client.local_flow_control_window(number):
                client.send_data(number, pieces[0], end_stream=len(pieces) == 1)
                del pieces[0]
            if not pieces:
                del unsent[number]

    exchange()
    for request in data.draw(st.lists(requests, min_size=1, max_size=8), label="requests"):
        number = client.get_next_available_stream_id()
        wanted[number], heard[number] = request, Heard()
        headers = [(":method", "POST"), (":scheme", "http"), (":path", request.path), (":authority", "x")]
        headers += [("content-type", "application/grpc"), ("te", "trailers")]
        client.send_headers(number, headers + ([("grpc-timeout", request.timeout)] if request.timeout else []))
        body = message(request.body)
        size = min(16_384, max(1, len(body) // request.frames))
        unsent[number] = [body[at : at + size] for at in range(0, len(body), size)]
        grow(number)
        if data.draw(st.booleans()):
            send_bodies()
        if request.reset:
            unsent.pop(number, None)
            client.reset_stream(number)
        if data.draw(st.booleans()):
            exchange()
    send_bodies()
    exchange()
    server.answer_waiting()
    exchange()
    for number, request in wanted.items():
        if request.reset:
            continue
        assert server.bodies[number] == message(request.body)
        assert (heard[number].body, heard[number].ended) == (message(request.answer), True), number
        assert heard[number].trailers == {b"grpc-status": b"0"}
    assert not server.connection.streams, "streams that are over are forgotten"
    assert not server.connection.closing
