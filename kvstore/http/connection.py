"""The server's side of one HTTP/2 connection (RFC 9113) as a machine: `receive` takes bytes, `out` has what is to be written. No event loop.

Every request is a `Stream`, which is at the same time the lane's `Call`. A unary call is one pass: HEADERS look up their `Head` by the block's
bytes, DATA completes the message, the lane is asked, and the answer is one append to `out`. What does not go that way (streams, pages, long or
compressed messages, methods of no lane) is begun by `serve`, which gives a `Listener` for what comes later.

What goes out must fit the client's windows, and the transport: while that takes no more (`pause`), or a window is empty, a stream keeps what
it has in its `queue`, and `pump` hands out turns of one frame. What comes in is credited to the client when somebody has taken it, so a
client can make us keep no more than the windows that it was given.

Limits against those who mean harm: streams at a time, bytes and fields of headers, frames of one header block, and `NUISANCES_MAX` frames a
second that bring nobody anything (resets of what was just begun, settings, priorities, empty data, windows that grow by a few bytes, unknown kinds).
"""

from abc import abstractmethod
from collections.abc import Callable, Container
from typing import Protocol

from kvstore.http import frames
from kvstore.http.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_BYTES_LEAST,
    FRAME_BYTES_MOST,
    FRAME_HEAD_BYTES,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    STREAM_MAX,
    WINDOW_FIRST,
    WINDOW_MAX,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    WORD,
    ConnectionFault,
    StreamFault,
)
from kvstore.http.heads import HeadReader, check_fields
from kvstore.http.hpack_codec import Decoder
from kvstore.http.lane import LANE_BYTES_MAX, Call, Head
from kvstore.http.limits import Info, Limits
from kvstore.http.stream import PREFIX_BYTES, STREAM_WINDOW_BYTES, Stream

CONNECTION_WINDOW_BYTES = 4 << 20
"""What a client may send on all streams together before somebody takes it: a few requests of the largest size."""
PIECE_BYTES_LEAST = 4096
"""A message that comes in smaller pieces than this is collected by the application: here each costs a copy of what came before."""
NUISANCES_MAX = 10_000
USUAL_WINDOW_BYTES = 1024
"""Clients let windows grow by so much at a time, unless their answers are small or they mean harm."""
OUT_MAX = 256
"""Answers that may wait for the end of what was received: each has at most a frame of data."""
CONTINUATIONS_MAX = 64
ABANDONED_MAX = 1_000
"""Streams that we ended before their client did: what is under way on them then is no fault."""
PUMPED_BYTES = 256 << 10
"""Handed to the transport at a time, so that it can say when it is full."""
PING_STRIKES_MAX = 2
"""As grpc-go has it."""
PING_STRANGE_S = 7_200.0
"""How often a client may ask that has nothing under way (grpc-go's defaultPingTimeout)."""
_WORD_MAX = (FRAME_BYTES_LEAST + 1) << 8
_TOO_MANY_PINGS = b"too_many_pings"

Serve = Callable[[Stream], "Listener"]
Lane = Callable[[Call], bool]


class Listener(Protocol):
    """Whoever serves a stream: told of its body's bytes, of its end, and of the client's departure."""

    @abstractmethod
    def received(self, data: bytes, ended: bool) -> None: ...

    @abstractmethod
    def left(self) -> None: ...

    @abstractmethod
    def drained(self) -> None:
        """All that the stream was given has gone out."""


class Connection:
    def __init__(
        self,
        limits: Limits,
        info: Info,
        serve: Serve,
        wake: Callable[[], None],
        write: Callable[[], None],
        lane: Lane | None = None,
        lane_paths: Container[str] | None = None,
    ) -> None:
        self.limits = limits
        self.info = info
        self._serve = serve
        self.wake = wake
        """Called when something was put into `out` while it was not `scheduled`."""
        self.write = write
        """Called to have `out` written before `receive` ends."""
        self._lane = lane
        decoder = Decoder(limits.header_bytes_max, limits.header_fields_max)
        self._heads = HeadReader(decoder, lane_paths if lane else (), lane is not None and lane_paths is None)
        self._ready: list[Stream] = []
        """Calls whose first message is whole, for the lane."""
        self.out: list[bytes | memoryview] = []
        self.scheduled = False
        """Whether somebody will look at `out` anyway."""
        self.streams: dict[int, Stream] = {}
        self.waiting: dict[Stream, None] = {}
        """Those with something in their queue, in the order of their turns."""
        self.last_stream = 0
        self.window = WINDOW_FIRST
        """What may still be sent on the connection."""
        self.first_window = WINDOW_FIRST
        """What may be sent on a new stream."""
        self.piece_bytes = FRAME_BYTES_LEAST
        """How much of data may go into a frame now: 0 while the transport takes nothing."""
        self.credit = CONNECTION_WINDOW_BYTES
        """What the client may still send on the connection."""
        self.uncredited = 0
        """Bytes taken that it was not told of yet."""
        self.closing = False
        """Nothing more is read; the transport is closed when `out` has gone."""
        self.going_away = self.finished = False
        self.controls = 0
        """Frames that we answered by ourselves since the transport was last free."""
        self.nuisances = 0
        """Of this second."""
        self.spoke = True
        """Whether anything but answers to pings was sent since the client's last ping."""
        self._ping_strikes = 0
        self._last_ping_s = float("-inf")
        self.now_s = 0.0
        """As of the last sweep."""
        self.pinged_s: float | None = None
        """When the client was asked whether it is there; None: it has answered."""
        self._rest = b""
        self._awaits_preface = True
        self._awaits_settings = True
        self._block: bytearray | None = None
        """A header block that goes on in CONTINUATION, of the stream and with the flags that follow."""
        self._block_stream = self._block_flags = self._block_pieces = 0
        self._abandoned: dict[int, None] = {}
        self._abandoned_before = 0
        self.out.append(
            frames.settings(
                {
                    frames.MAX_CONCURRENT_STREAMS: limits.streams_max,
                    frames.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                    frames.MAX_HEADER_LIST_SIZE: limits.header_bytes_max,
                }
            )
            + frames.window_update(0, CONNECTION_WINDOW_BYTES - WINDOW_FIRST)
        )

    # --- in -------------------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """All that is complete in what has come; the rest is kept. What must be said is in `out` afterwards."""
        if self.closing:
            return
        before, self.scheduled = self.scheduled, True
        if self._rest:
            data = self._rest + data
            self._rest = b""
        try:
            if self._awaits_preface and not (data := self._after_preface(data)):
                return
            self._frames(data)
            if self._ready:
                self._ask_lane()
        except ConnectionFault as fault:
            self.fail(fault.code, str(fault).encode())
        finally:
            self.scheduled = before

    def _after_preface(self, data: bytes) -> bytes:
        if len(data) < len(PREFACE):
            if not PREFACE.startswith(data):
                raise ConnectionFault(PROTOCOL_ERROR, "no preface")
            self._rest = data
            return b""
        if not data.startswith(PREFACE):
            raise ConnectionFault(PROTOCOL_ERROR, "no preface")
        self._awaits_preface = False
        return data[len(PREFACE) :]

    def _frames(self, data: bytes) -> None:
        at, end = 0, len(data)
        unpack = frames.HEAD.unpack_from
        streams, known = self.streams, self._heads.known
        while end - at >= FRAME_HEAD_BYTES:
            word, flags, number = unpack(data, at)
            if word >= _WORD_MAX:
                raise ConnectionFault(FRAME_SIZE_ERROR, "a frame of more than SETTINGS_MAX_FRAME_SIZE")
            start = at + FRAME_HEAD_BYTES
            stop = start + (word >> 8)
            if stop > end:
                break
            at = stop
            kind = word & 0xFF
            if self._awaits_settings or self._block is not None or number > STREAM_MAX:
                number &= STREAM_MAX
                self._check_order(kind, flags, number)
            if kind == DATA:
                stream = streams.get(number)
                if stream is None or flags & PADDED or stream.ended:
                    self._odd_data(stream, flags, number, data[start:stop])
                elif stream.awaits:
                    self._message(stream, flags, data[start:stop])
                else:
                    self._body(stream, flags, data[start:stop], stop - start)
            elif kind == HEADERS:
                if flags & (PADDED | WITH_PRIORITY | END_HEADERS) == END_HEADERS:
                    block = data[start:stop]
                    head = known.get(block)
                    if head is not None and number > self.last_stream and number & 1:
                        self._begin(number, head, flags)
                    else:
                        self._headers(number, flags, block)
                else:
                    self._odd_headers(number, flags, data[start:stop])
            else:
                self._other(kind, flags, number, data[start:stop])
            if self.closing:
                return
        if at < end:
            self._rest = data[at:]

    def _check_order(self, kind: int, flags: int, number: int) -> None:
        if self._awaits_settings:
            if kind != SETTINGS or flags & ACK:
                raise ConnectionFault(PROTOCOL_ERROR, "settings come first")
            self._awaits_settings = False
        if self._block is not None and (kind != CONTINUATION or number != self._block_stream):
            raise ConnectionFault(PROTOCOL_ERROR, "a header block that is not continued")

    # --- headers --------------------------------------------------------------------------------------------------------------

    def _begin(self, number: int, head: Head, flags: int) -> None:
        """A request."""
        self.last_stream = number
        if len(self.streams) >= self.limits.streams_max or self.finished:
            self._reset(number, REFUSED_STREAM)
            return
        stream = Stream(self, number, head, self.first_window)
        self.streams[number] = stream
        if flags & END_STREAM:
            stream.ended = True
            if head.content_length:
                self.reset(stream, PROTOCOL_ERROR)
                return
        elif head.lane:
            return
        self._serve_rest(stream)

    def _headers(self, number: int, flags: int, block: bytes) -> None:
        """A whole header block, of a request or of trailers."""
        if number & 1 == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "a stream of a client has an odd number")
        try:
            if number > self.last_stream:
                head = self._heads.known.get(block) or self._heads.read(block)
                self._begin(number, head, flags)
            else:
                self._trailers(number, flags, block)
        except StreamFault as fault:
            self.last_stream = max(self.last_stream, number)
            self._fault(number, fault)

    def _trailers(self, number: int, flags: int, block: bytes) -> None:
        fields = self._heads.fields(block)
        stream = self.streams.get(number)
        if stream is None or stream.ended:
            self._of_closed(number, stream)
            return
        if not flags & END_STREAM:
            raise StreamFault(PROTOCOL_ERROR, "trailers that are not the end")
        check_fields(tuple(fields))
        self._ended(stream)

    def _odd_headers(self, number: int, flags: int, payload: bytes) -> None:
        """With padding or priority, or in pieces."""
        if number == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "headers of no stream")
        if flags & PADDED:
            payload = _unpadded(payload)
        if flags & WITH_PRIORITY:
            if len(payload) < 5:
                raise ConnectionFault(FRAME_SIZE_ERROR, "headers shorter than their priority")
            depends = WORD.unpack_from(payload)[0] & STREAM_MAX
            payload = payload[5:]
            if depends == number:
                # The block must be read all the same: what comes later builds on it.
                self._heads.fields(payload) if flags & END_HEADERS else None
                raise ConnectionFault(PROTOCOL_ERROR, "a stream that depends on itself")
        if flags & END_HEADERS:
            self._headers(number, flags, payload)
            return
        self._block, self._block_stream, self._block_flags, self._block_pieces = bytearray(payload), number, flags, 0

    def _continuation(self, number: int, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ConnectionFault(PROTOCOL_ERROR, "a continuation of nothing")
        block += payload
        self._block_pieces += 1
        if len(block) > self.limits.header_bytes_max or self._block_pieces > CONTINUATIONS_MAX:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "a header block that does not end")
        if flags & END_HEADERS:
            self._block = None
            self._headers(number, self._block_flags, bytes(block))

    # --- data -----------------------------------------------------------------------------------------------------------------

    def _message(self, stream: Stream, flags: int, data: bytes) -> None:
        """Of a call whose first message is not whole yet: the lane is asked when it is."""
        size = len(data)
        self.credit -= size
        if self.credit < 0:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more data than the connection's window")
        first = not stream.body
        body = stream.body = data if first else stream.body + data
        if flags & END_STREAM:
            stream.ended = True
        have = len(body)
        if have >= PREFIX_BYTES and body[0] == 0 and have - PREFIX_BYTES >= int.from_bytes(body[1:PREFIX_BYTES], "big"):
            stream.awaits = False
            self._ready.append(stream)
            return
        if not stream.ended and (first or size >= PIECE_BYTES_LEAST) and have <= LANE_BYTES_MAX and not body[:1].strip(b"\0"):
            stream.progress += 1
            if not size:
                self._nuisance()
            return
        stream.credit -= have
        self._serve_rest(stream)

    def _ask_lane(self) -> None:
        """For all calls at the end of what was received: those that their client reset in the same breath cost nothing more (CVE-2023-44487)."""
        lane, ready = self._lane, self._ready
        assert lane is not None, "only then a head is marked for it"
        for stream in ready:
            if stream.closed:
                continue
            size = len(stream.body)
            if lane(stream):
                self.uncredited += size
            else:
                stream.credit -= size
                self._serve_rest(stream)
            if len(self.out) > OUT_MAX:
                self.write()
        ready.clear()
        if self.uncredited >= CONNECTION_WINDOW_BYTES >> 1:
            self._credit()

    def _serve_rest(self, stream: Stream) -> None:
        """What the lane does not take."""
        stream.awaits = False
        stream.progress += 1
        body, stream.body = stream.body, b""
        stream.received_bytes = len(body)
        stream.listener = self._serve(stream)
        if body or stream.ended:
            stream.listener.received(body, stream.ended)

    def _body(self, stream: Stream, flags: int, data: bytes, frame_bytes: int) -> None:
        """Of a stream that somebody serves, or that is answered already."""
        self.credit -= frame_bytes
        stream.credit -= frame_bytes
        if self.credit < 0:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more data than the connection's window")
        if stream.credit < 0:
            self.reset(stream, FLOW_CONTROL_ERROR)
            return
        size = len(data)
        stream.progress += 1
        stream.received_bytes += size
        if frame_bytes > size:
            self.take(stream, frame_bytes - size)
        length = stream.head.content_length
        if length is not None and (stream.received_bytes > length or (flags & END_STREAM and stream.received_bytes < length)):
            self.reset(stream, PROTOCOL_ERROR)
        elif flags & END_STREAM:
            self._ended(stream, data)
        elif not size:
            self._nuisance()
        elif stream.listener is None or stream.answered:
            self.take(stream, size)
        else:
            stream.listener.received(data, False)

    def _ended(self, stream: Stream, data: bytes = b"") -> None:
        """The client has said all."""
        length = stream.head.content_length
        if length is not None and stream.received_bytes != length:
            self.reset(stream, PROTOCOL_ERROR)
            return
        stream.ended = True
        if stream.answered:
            self.take(stream, len(data))
            if not stream.queue:
                self.streams.pop(stream.number, None)
        elif stream.listener is not None:
            stream.listener.received(data, True)
        elif stream.awaits:
            self._serve_rest(stream)
        else:
            self.take(stream, len(data))

    def _odd_data(self, stream: Stream | None, flags: int, number: int, payload: bytes) -> None:
        """Padded, or of a stream that does not take it."""
        if number == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "data of no stream")
        size = len(payload)
        if stream is None or stream.ended:
            self.credit -= size
            if self.credit < 0:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "more data than the connection's window")
            self.take(None, size)
            self._of_closed(number, stream)
            return
        data = _unpadded(payload)
        if stream.awaits:
            self._serve_rest(stream)  # rare enough to be served as any other
        self._body(stream, flags, data, size)

    def _of_closed(self, number: int, stream: Stream | None) -> None:
        """Something came on a stream on which nothing more may come. Raises StreamFault or ConnectionFault, unless it may have been under way."""
        if number > self.last_stream or number & 1 == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "a stream that was never begun")
        if stream is not None:
            self.reset(stream, STREAM_CLOSED)
            return
        self._nuisance()
        if number not in self._abandoned and number > self._abandoned_before:
            raise ConnectionFault(STREAM_CLOSED, "a stream that is closed")

    def take(self, stream: Stream | None, size: int) -> None:
        """So many received bytes are with whoever wanted them: the client may send as many more."""
        self.uncredited += size
        if self.uncredited >= CONNECTION_WINDOW_BYTES >> 1:
            self._credit()
        if stream is not None and not stream.ended:
            stream.uncredited += size
            if stream.uncredited >= STREAM_WINDOW_BYTES >> 1:
                self.say(frames.window_update(stream.number, stream.uncredited))
                stream.credit += stream.uncredited
                stream.uncredited = 0

    def _credit(self) -> None:
        self.say(frames.window_update(0, self.uncredited))
        self.credit += self.uncredited
        self.uncredited = 0

    # --- the other frames -----------------------------------------------------------------------------------------------------

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._window_update(number, payload)
        elif kind == CONTINUATION:
            self._continuation(number, flags, payload)
        elif kind == PING:
            self._ping(flags, number, payload)
        elif kind == SETTINGS:
            self._settings(flags, number, payload)
        elif kind == RST_STREAM:
            self._reset_by_client(number, payload)
        elif kind == PRIORITY:
            self._priority(number, payload)
        elif kind == GOAWAY:
            if number or len(payload) < 8:
                raise ConnectionFault(PROTOCOL_ERROR if number else FRAME_SIZE_ERROR, "a GOAWAY that is none")
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionFault(PROTOCOL_ERROR, "clients do not push")
        else:
            self._nuisance()  # 5.5: ignored

    def _window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "a WINDOW_UPDATE has four bytes")
        more = WORD.unpack(payload)[0] & WINDOW_MAX
        if more < USUAL_WINDOW_BYTES:
            self._nuisance()
        if number == 0:
            if more == 0:
                raise ConnectionFault(PROTOCOL_ERROR, "a window grows by something")
            self.window += more
            if self.window > WINDOW_MAX:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "a window of more than 2^31 - 1")
            return
        stream = self.streams.get(number)
        if stream is None:
            if number > self.last_stream or number & 1 == 0:
                raise ConnectionFault(PROTOCOL_ERROR, "a stream that was never begun")
            return
        stream.window += more
        if more == 0 or stream.window > WINDOW_MAX:
            self.reset(stream, FLOW_CONTROL_ERROR if more else PROTOCOL_ERROR)
        elif stream.may_go():
            self.waiting[stream] = None

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "a PING of a stream")
        if len(payload) != 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "a PING has eight bytes")
        if flags & ACK:
            self.pinged_s = None
            self.finish()
            return
        self.controls += 1
        self._nuisance()
        self.say(frames.frame(PING, ACK, 0, payload))
        if self.limits.ping_least_s:
            self._judge_ping()

    def _judge_ping(self) -> None:
        """grpc-go's enforcement policy (http2_server.go, handlePing), by the clock of the last sweep: to the second."""
        last_s, self._last_ping_s = self._last_ping_s, self.now_s
        if self.spoke:
            self.spoke = False
            self._ping_strikes = 0
            return
        least_s = self.limits.ping_least_s if self.streams else PING_STRANGE_S
        if self.now_s - last_s < least_s:
            self._ping_strikes += 1
            if self._ping_strikes > PING_STRIKES_MAX:
                self.fail(ENHANCE_YOUR_CALM, _TOO_MANY_PINGS)

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "settings of a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(FRAME_SIZE_ERROR, "settings acknowledged with settings")
            return
        if len(payload) % 6:
            raise ConnectionFault(FRAME_SIZE_ERROR, "settings have six bytes each")
        for name, value in frames.SETTING.iter_unpack(payload):
            self._set(name, value)
        self.controls += 1
        self._nuisance()
        self.say(frames.frame(SETTINGS, ACK, 0))

    def _set(self, name: int, value: int) -> None:
        if name == frames.INITIAL_WINDOW_SIZE:
            if value > WINDOW_MAX:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "a window of more than 2^31 - 1")
            more, self.first_window = value - self.first_window, value
            for stream in self.streams.values():
                stream.window += more
                if stream.window > WINDOW_MAX:
                    raise ConnectionFault(FLOW_CONTROL_ERROR, "a window of more than 2^31 - 1")
                if stream.may_go():
                    self.waiting[stream] = None
        elif name == frames.MAX_FRAME_SIZE:
            if not FRAME_BYTES_LEAST <= value <= FRAME_BYTES_MOST:
                raise ConnectionFault(PROTOCOL_ERROR, "a frame size out of bounds")
            # Larger frames than the least would only keep others waiting.
        elif name == frames.ENABLE_PUSH and value > 1:
            raise ConnectionFault(PROTOCOL_ERROR, "push is on or off")
        # The header table's size is no matter to us, who use none; nor is the list's size, which our answers never reach.

    def _reset_by_client(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR, "a RST_STREAM has four bytes")
        if number > self.last_stream or number & 1 == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "a stream that was never begun")
        self._nuisance()
        stream = self.streams.get(number)
        if stream is not None:
            self._drop(stream)

    def _priority(self, number: int, payload: bytes) -> None:
        """Deprecated (5.3.2): checked for its form, and ignored."""
        if number == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "a priority of no stream")
        self._nuisance()
        if len(payload) != 5:
            self._fault(number, StreamFault(FRAME_SIZE_ERROR, "a PRIORITY has five bytes"))
        elif WORD.unpack_from(payload)[0] & STREAM_MAX == number:
            self._fault(number, StreamFault(PROTOCOL_ERROR, "a stream that depends on itself"))

    def _nuisance(self) -> None:
        self.nuisances += 1
        if self.nuisances > NUISANCES_MAX:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many frames that say nothing")

    # --- ends -----------------------------------------------------------------------------------------------------------------

    def fail(self, code: int, text: bytes = b"") -> None:
        """End the connection with a reason; whoever serves a stream of it is told."""
        if not self.closing:
            self.say(frames.goaway(self.last_stream, code, text))
            self.lost()

    def lost(self) -> None:
        """The connection is gone, or going."""
        self.closing = True
        self._rest = b""
        self.waiting.clear()
        streams = list(self.streams.values())
        self.streams.clear()
        for stream in streams:
            self._leave(stream)

    def drain(self) -> None:
        """Take no new streams soon: the first of two GOAWAYs (6.8), so that none is lost that is under way."""
        if not self.going_away and not self.closing:
            self.going_away = True
            self.say(frames.goaway(STREAM_MAX, NO_ERROR) + frames.frame(PING, 0, 0, b"goodbye!"))

    def finish(self) -> None:
        """The second: what was begun is served, and nothing else."""
        if self.going_away and not self.finished and not self.closing:
            self.finished = True
            self.say(frames.goaway(self.last_stream, NO_ERROR))

    @property
    def is_settled(self) -> bool:
        """It takes no new streams, and none is left but those that have no end of their own (watches)."""
        if self.closing:
            return True
        prompt = self.limits.unary_prefixes
        return self.finished and not any(stream.head.path.startswith(prompt) for stream in self.streams.values())

    def ping(self, now_s: float) -> None:
        """Ask the client whether it is there."""
        self.pinged_s = now_s
        self.say(frames.frame(PING, 0, 0, b"keepaliv"))

    def sweep(self, now_s: float) -> None:
        """To be called every second: streams that stand still for too long are ended."""
        self.now_s = now_s
        self.nuisances = 0
        for stream in list(self.streams.values()):
            if stream.progress != stream.seen_progress:
                stream.seen_progress, stream.still_since_s = stream.progress, now_s
            else:
                self._judge(stream, now_s - stream.still_since_s)

    def _judge(self, stream: Stream, still_s: float) -> None:
        limits = self.limits
        if stream.answered and not stream.queue:
            self.reset(stream, NO_ERROR)  # its client has not ended it: what he still has to say is not wanted (8.1)
        elif still_s >= min(limits.answer_stall_s, limits.body_idle_s) and stream.head.path.startswith(limits.unary_prefixes):
            if stream.queue:
                if still_s >= limits.answer_stall_s:
                    self.reset(stream, frames.CANCEL)
            elif not stream.ended and (stream.awaits or stream.listener is not None) and still_s >= limits.body_idle_s:
                self.reset(stream, frames.CANCEL)

    def _fault(self, number: int, fault: StreamFault) -> None:
        stream = self.streams.get(number)
        if stream is not None:
            self.reset(stream, fault.code)
        else:
            self._reset(number, fault.code)

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream before its time."""
        self._reset(stream.number, code)
        self._drop(stream)

    def _reset(self, number: int, code: int) -> None:
        self._nuisance()
        self.say(frames.reset(number, code))
        abandoned = self._abandoned
        abandoned[number] = None
        if len(abandoned) > ABANDONED_MAX:
            oldest = next(iter(abandoned))
            del abandoned[oldest]
            self._abandoned_before = max(self._abandoned_before, oldest)

    def _drop(self, stream: Stream) -> None:
        self.streams.pop(stream.number, None)
        self.waiting.pop(stream, None)
        self._leave(stream)

    def _leave(self, stream: Stream) -> None:
        stream.leave()
        listener, stream.listener = stream.listener, None
        if listener is not None:
            listener.left()

    # --- out ------------------------------------------------------------------------------------------------------------------

    def say(self, data: bytes | memoryview) -> None:
        self.out.append(data)
        if not self.scheduled:
            self.wake()

    def pause(self) -> None:
        """The transport takes no more."""
        self.piece_bytes = 0

    def resume(self) -> None:
        self.piece_bytes = FRAME_BYTES_LEAST
        self.controls = 0
        if (self.out or self.waiting) and not self.scheduled:
            self.wake()

    def pump(self) -> None:
        """Frames of what waits, a turn each, as far as windows and transport allow, and not more than the transport should get at a time."""
        waiting = self.waiting
        room = PUMPED_BYTES
        before, self.scheduled = self.scheduled, True
        held: list[Stream] = []
        while waiting and room > 0 and self.piece_bytes:
            stream = next(iter(waiting))
            del waiting[stream]
            if not stream.may_go():
                continue  # its own window will say when
            if self.window <= 0 and stream.has_data:
                held.append(stream)
                continue
            room -= stream.take_turn() + FRAME_HEAD_BYTES
            if stream.queue:
                waiting[stream] = None
        waiting.update(dict.fromkeys(held))
        self.scheduled = before


def _unpadded(payload: bytes) -> bytes:
    if not payload:
        raise ConnectionFault(FRAME_SIZE_ERROR, "padding without its length")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFault(PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - padding]
