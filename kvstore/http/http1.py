"""A connection that speaks HTTP/1.1 or 1.0 (RFC 9112): requests one after the other, their answers in that order.

A request whose body is whole, and for whose path the application has a lane, is answered without coroutine, task or event:

    gateway_lane(call) -> bool    True: it has taken the call, and calls `respond` exactly once, now or later, on the event loop. False: the
                                  request is served through ASGI as any other.
    gateway_paths                 the paths for which it is asked, all with POST.

What a client sends while his request is served waits: READ_AHEAD_BYTES of it, then he is not read any more. What he does not take waits with the
transport, and no other request of his begins before he took it.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from kvstore.http.http1_answer import refusal, remembered_beginning
from kvstore.http.http1_body import ChunkedBody, NoBody, SizedBody
from kvstore.http.http1_exchange import BODY_AHEAD_BYTES, Body, Exchange
from kvstore.http.http1_head import Head, Header, Refusal, parse, refuse_early
from kvstore.http.limits import App, ClientGone, Info, Limits

LANE_BYTES_MAX = 64 << 10
"""A longer body goes through ASGI, where it is counted as it comes."""
READ_AHEAD_BYTES = 64 << 10
LINGER_S = 1.0
"""How long what a client still sends is taken and thrown away after an answer that ends the connection: closed at once, it could lose the answer."""
HALF_CLOSED_S = 0.25
"""How long a request may still run when its client has ended his side. Whoever left looks the same as whoever only has nothing more to say."""

TASK = "http request"


class Call:
    """A request with its body, for the application's lane."""

    __slots__ = ("_connection", "body", "head")

    def __init__(self, connection: "Http1Connection", head: Head, body: bytes) -> None:
        self._connection = connection
        self.head = head
        self.body = body

    @property
    def client(self) -> tuple[str, int]:
        return self._connection.info.client

    @property
    def tls(self) -> dict[str, Any] | None:
        """ASGI's TLS extension."""
        return self._connection.info.tls

    def respond(self, status: int, headers: tuple[Header, ...], body: bytes) -> None:
        """The whole answer; its length is added. Nothing happens if the client has left. Equal headers should be one object: they are remembered."""
        connection = self._connection
        if connection.call is self:
            connection.respond(status, headers, body)


class Http1Connection(asyncio.Protocol):
    """`on_closed` is called once, when the connection is gone."""

    def __init__(self, app: App, info: Info, limits: Limits, on_closed: Callable[[asyncio.BaseTransport], None] | None = None) -> None:
        self.info = info
        self.limits = limits
        self.call: Call | None = None
        """Under way in the application's lane."""
        self._app = app
        self._on_closed = on_closed
        self._lane: Callable[[Call], bool] | None = getattr(app, "gateway_lane", None)
        self._lane_paths: frozenset[str] = getattr(app, "gateway_paths", frozenset()) if self._lane is not None else frozenset()
        self._exchange: Exchange | None = None
        """Under way through ASGI."""
        self._waiting: Head | None = None
        """Of a request for the lane whose body is still to come."""
        self._buffer = bytearray()
        self._looked = 0
        """So much of the buffer has no end of a head in it."""
        self._held_bytes = self._untaken_bytes = 0
        self._advancing = self._paused = self._reading_paused = self._eof = self._lost = self._last = self._lingering = False
        self._drained: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard_s = 0.0
        self.loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport

    # --- what the transport says ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        if not self._buffer and not self.is_busy and self._waiting is None and not self._paused and self._at_once(data):
            return
        self._buffer += data
        self._heard_s = self.loop.time()
        self._advance()
        if len(self._buffer) > READ_AHEAD_BYTES and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client has ended his side, or has left."""
        self._eof = True
        if not self.is_busy or self.info.tls is not None:  # with TLS the loop closes the connection, whatever is said here
            return False
        if self._exchange is not None:
            self._exchange.fed()
            self._limit_half_closed(self._exchange)
        return True

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._untaken_bytes:
            self._untaken_bytes = 0
            self._stop_timer()
            self._count_held()
        self._wake_writer()
        self._go_on()

    def connection_lost(self, _error: Exception | None) -> None:
        self._lost = True
        self.call = self._waiting = None
        self._stop_timer()
        self._wake_writer()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.left()
        self._buffer.clear()
        self._untaken_bytes = 0
        self._count_held()
        if self._on_closed is not None:
            self._on_closed(self._transport)

    # --- what the server says -------------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """A request is under way."""
        return self._exchange is not None or self.call is not None

    @property
    def is_settled(self) -> bool:
        """No request is under way that is answered in one piece and soon: such are served by the lane."""
        return self.call is None

    @property
    def is_lost(self) -> bool:
        return self._lost

    @property
    def is_gone(self) -> bool:
        """The client says nothing more."""
        return self._lost or self._eof

    @property
    def is_last(self) -> bool:
        """The request under way is the connection's last."""
        return self._last

    @property
    def is_paused(self) -> bool:
        """The client does not take what is written."""
        return self._paused

    def drain(self) -> None:
        """Close the connection, after the request under way if there is one."""
        self._last = True
        if not self.is_busy and self._waiting is None and not self._buffer:
            self._close()

    # --- requests -------------------------------------------------------------------------------------------------------------

    def _at_once(self, data: bytes) -> bool:
        """Whether `data` is exactly one request for the lane, and is served: what nearly every call is, without a buffer in between."""
        end = data.find(b"\r\n\r\n") + 4
        if end == 3 or end > self.limits.header_bytes_max:
            return False
        try:
            head = parse(data[:end])
        except Refusal:
            return False  # found out once more, on the way that answers it
        if head.path not in self._lane_paths or len(data) - end != head.content_length or not self._is_for_lane(head):
            return False
        body = data[end:]
        if not self._ask_lane(head, body):
            self._buffer += body
            self._serve(head)
        return True

    def _is_for_lane(self, head: Head) -> bool:
        return (
            head.method == "POST"
            and head.version == "1.1"
            and head.keep_alive
            and not head.chunked
            and not head.expects_continue
            and head.content_length <= LANE_BYTES_MAX
            and len(head.headers) <= self.limits.header_fields_max
            and not self._last
        )

    def _ask_lane(self, head: Head, body: bytes) -> bool:
        assert self._lane is not None, "no path is for a lane that is not there"
        call = self.call = Call(self, head, body)
        if self._lane(call):
            return True
        self.call = None
        return False

    def _advance(self) -> None:
        """Begin and go on with what the buffer has, as far as it goes."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._buffer and not self._lingering and not self._transport.is_closing() and self._step():
                pass
            if self._exchange is not None:
                self._exchange.fed()
        except Refusal as refused:
            self._refuse(refused)
        finally:
            self._advancing = False
            self._count_held()

    def _step(self) -> bool:
        """Whether there may be more to do at once. Raises Refusal."""
        if self._exchange is not None:
            return self._exchange.feed(self._buffer)
        if self.call is not None or self._paused:
            return False
        if self._waiting is not None:
            return self._try_lane(self._waiting)
        return self._begin()

    def _begin(self) -> bool:
        buffer, limits = self._buffer, self.limits
        while not self._looked and buffer.startswith(b"\r\n"):  # before a request they are forgiven (RFC 9112, 2.2)
            del buffer[:2]
        end = buffer.find(b"\r\n\r\n", max(0, self._looked - 3)) + 4
        if (len(buffer) if end == 3 else end) > limits.header_bytes_max:
            raise Refusal(431, "request header fields too large")
        if end == 3:
            self._wait_for_head()
            return False
        head = parse(bytes(memoryview(buffer)[:end]))
        if len(head.headers) > limits.header_fields_max:
            raise Refusal(431, "too many header fields")
        if head.content_length > limits.body_bytes_max:
            raise Refusal(413, "request body too large")
        del buffer[:end]
        self._looked = 0
        self._stop_timer()
        if head.path in self._lane_paths and self._is_for_lane(head):
            self._waiting = head
            return self._try_lane(head)
        self._serve(head)
        return True

    def _wait_for_head(self) -> None:
        buffer = self._buffer
        if not buffer or buffer == b"\r":
            return
        # A line that ends here may be the last byte of what was looked at.
        refuse_early(bytes(memoryview(buffer)[self._looked - 1 :]) if self._looked else bytes(buffer), not self._looked)
        self._looked = len(buffer) - (buffer[-1] == 0x0D)
        self._start_timer(self.limits.head_s)

    def _try_lane(self, head: Head) -> bool:
        size, buffer = head.content_length, self._buffer
        if len(buffer) < size:
            self._start_timer(self.limits.body_idle_s)
            return False
        self._waiting = None
        self._stop_timer()
        if self._ask_lane(head, bytes(memoryview(buffer)[:size])):
            del buffer[:size]
        else:
            self._serve(head)
        return True

    def _serve(self, head: Head) -> None:
        body: Body = ChunkedBody(self.limits.body_bytes_max) if head.chunked else SizedBody(head.content_length) if head.content_length else NoBody()
        exchange = self._exchange = Exchange(self, head, body)
        exchange.task = self.info.spawn(exchange.run(self._app), TASK)
        exchange.feed(self._buffer)
        if not body.done and (not head.chunked or exchange.is_unary):
            self._start_timer(self.limits.body_idle_s)
        if self._eof:
            self._limit_half_closed(exchange)

    # --- answers --------------------------------------------------------------------------------------------------------------

    def respond(self, status: int, headers: tuple[Header, ...], body: bytes) -> None:
        """The answer to the call in the lane."""
        self.call = None
        self._transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (remembered_beginning(status, headers), len(body), body))
        if self._paused:
            self._wait_for_taker(len(body))
        if self._last:
            self._close()
        elif self._buffer or self._reading_paused or self._eof:
            self._go_on()

    def _wait_for_taker(self, size: int) -> None:
        """Of an answer of the lane that the transport has to keep: nobody else counts it, or waits for its end."""
        self._untaken_bytes = size
        self._count_held()
        self._timer = self.loop.call_later(self.limits.answer_stall_s, self.abort)

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    async def drained(self, timeout_s: float | None) -> None:
        """Until the client has taken most of what was written. Raises ClientGone if he does not in time, or leaves."""
        if self._drained is None:
            self._drained = self.loop.create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._drained)
        except TimeoutError:
            self.abort()
            raise ClientGone("the client does not take the answer") from None
        if self._lost:
            raise ClientGone("the client has left")

    def _wake_writer(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def wants_body(self) -> None:
        """The application has taken all that there was of the body."""
        if self._buffer:
            self._advance()
        else:
            self._count_held()
        self._resume_reading()

    def finished(self, exchange: Exchange, answered: bool, keeps: bool) -> None:
        """The application is done with it; `keeps`: another request may follow."""
        if exchange is not self._exchange:
            return  # given up before
        self._exchange = None
        self._stop_timer()
        if not answered:
            self.abort()
        elif keeps and not self._last:
            self._go_on()
        elif exchange.body.done and not self._buffer:
            self._close()
        else:
            self._linger()

    def abort(self) -> None:
        """The answer cannot be finished: the client is to notice."""
        self._transport.abort()

    def _go_on(self) -> None:
        """With what waits, after an answer or because there is room for one."""
        if self._paused or self._transport.is_closing():
            return
        self._advance()
        if self._eof and not self.is_busy and not self._lingering:
            self._close()
        else:
            self._resume_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and len(self._buffer) <= READ_AHEAD_BYTES and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    def _refuse(self, refused: Refusal) -> None:
        """Say what is wrong, if nothing was said yet, and read nothing more."""
        exchange, self._exchange = self._exchange, None
        self._waiting = None
        self._stop_timer()
        if exchange is not None:
            exchange.left()
            if exchange.is_started:
                self.abort()
                return
        self._transport.write(refusal(refused.status, refused.text))
        self._linger()

    def _linger(self) -> None:
        """Close, but so that a client who still sends gets what was written (RFC 9112, 9.6)."""
        self._lingering = True
        self._buffer.clear()
        self._count_held()
        if self._transport.is_closing() or self._eof or not self._transport.can_write_eof():
            self._close()
            return
        self._resume_reading()
        self._transport.write_eof()
        self._timer = self.loop.call_later(LINGER_S, self._close)

    def _close(self) -> None:
        """Once the client has taken what was written, which must not take forever."""
        if not self._transport.is_closing():
            self._transport.close()
            self._timer = self.loop.call_later(self.limits.answer_stall_s, self._transport.abort)

    # --- time -----------------------------------------------------------------------------------------------------------------

    def _start_timer(self, after_s: float) -> None:
        """For the head from its first byte on, for a body from the last one that came."""
        if self._timer is None:
            self._heard_s = self.loop.time()
            self._timer = self.loop.call_later(after_s, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        exchange = self._exchange
        if exchange is not None:
            if exchange.body.done:
                return
            if self._reading_paused or exchange.waiting_bytes > BODY_AHEAD_BYTES:
                self._heard_s = self.loop.time()  # that the application does not read is not the client's fault
        if exchange is not None or self._waiting is not None:
            left_s = self._heard_s + self.limits.body_idle_s - self.loop.time()
            if left_s > 0:
                self._timer = self.loop.call_later(left_s, self._too_slow)
                return
        self._refuse(Refusal(408, "the request took too long"))

    def _limit_half_closed(self, exchange: Exchange) -> None:
        self.loop.call_later(HALF_CLOSED_S, self._give_up, exchange)

    def _give_up(self, exchange: Exchange) -> None:
        if exchange is self._exchange:
            exchange.left()

    def _count_held(self) -> None:
        size = len(self._buffer) + self._untaken_bytes + (0 if self._exchange is None else self._exchange.waiting_bytes)
        if size != self._held_bytes and self.limits.hold is not None:
            more, self._held_bytes = size - self._held_bytes, size
            self.limits.hold(self.info.client, more)
