"""One request of an HTTP/2 connection, as its connection, the lane and ASGI see it; and what goes out for it.

What is touched by every unary call is in slots; the rest has its first value in the class and costs nothing until it is set.
"""

import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from kvstore.http import frames
from kvstore.http.frames import END_HEADERS, END_STREAM, FRAME_BYTES_LEAST, HEADERS
from kvstore.http.hpack_codec import encode
from kvstore.http.lane import Call, Head, Header

if TYPE_CHECKING:
    from kvstore.http.connection import Connection, Listener

STREAM_WINDOW_BYTES = 2 << 20
"""What a client may send on a stream before somebody takes it: one request of the largest size."""
FREE_BYTES = 32 << 10
"""Answers up to this size are not counted as held: the common ones, and how many there are is bounded by the open requests."""
PREFIX_BYTES = 5
"""gRPC's, before each message: compressed or not, and length."""

_CONTENT_TYPE: Header = (b"content-type", b"application/grpc")
_BEGIN_BLOCK = encode((_CONTENT_TYPE,), 200)
_END_BLOCK = encode(((b"grpc-status", b"0"),))
_BEGIN_HEAD = len(_BEGIN_BLOCK) << 8 | HEADERS
_END_HEAD = len(_END_BLOCK) << 8 | HEADERS
_begin = struct.Struct(f">IBI{len(_BEGIN_BLOCK)}sIBIBI").pack
"""The head of an answer, then the frame and the prefix of its message."""
_end = struct.Struct(f">IBI{len(_END_BLOCK)}s").pack
_ENDS = END_HEADERS | END_STREAM

_Item = tuple[bool, bool, bytes | memoryview]
"""Whether it is data (or frames as they are), whether the stream ends with it, and the bytes."""


class Stream(Call):
    __slots__ = ("__dict__", "awaits", "connection", "ended", "number", "window")

    answered = False
    """Everything of the answer has been given, though some of it may be in the queue."""
    listener: "Listener | None" = None
    """Who serves it, if not the lane."""
    queue: "deque[_Item] | None" = None
    """What could not go out yet."""
    credit = STREAM_WINDOW_BYTES
    """What the client may still send."""
    uncredited = 0
    received_bytes = 0
    progress = 0
    """Grows whenever something moves; with `seen_progress` and `still_since_s` the connection's sweep sees what stands still."""
    seen_progress = -1
    still_since_s = 0.0
    _held_bytes = 0

    def __init__(self, connection: "Connection", number: int, head: Head, window: int) -> None:
        self.connection = connection
        self.number = number
        self.head = head
        self.window = window
        """What may be sent on it."""
        self.awaits = head.lane
        """The lane is to be asked as soon as the first message is whole."""
        self.body = b""
        self.ended = False
        """The client has said all."""
        self.closed = False
        self.taker = None

    @property
    def client(self) -> tuple[str, int]:
        return self.connection.info.client

    @property
    def tls(self) -> dict[str, Any] | None:
        return self.connection.info.tls

    # --- the lane's answers ---------------------------------------------------------------------------------------------------

    def answer(self, message: bytes) -> None:
        if self.closed:
            return
        connection, number, size = self.connection, self.number, len(message)
        data_bytes = size + PREFIX_BYTES
        begin = _begin(_BEGIN_HEAD, END_HEADERS, number, _BEGIN_BLOCK, data_bytes << 8 & 0xFFFFFFFF, 0, number, 0, size)
        if data_bytes <= self.window and data_bytes <= connection.window and data_bytes <= connection.piece_bytes:
            connection.window -= data_bytes
            connection.out.append(begin + message + _end(_END_HEAD, _ENDS, number, _END_BLOCK))
            connection.spoke = True
            if self.ended:
                del connection.streams[number]
            else:
                self.answered = True
            if not connection.scheduled:
                connection.wake()
            return
        self._hold(size)
        self.send_frames(begin[: frames.FRAME_HEAD_BYTES + len(_BEGIN_BLOCK)])
        self.send_data(begin[-PREFIX_BYTES:] + message if size < FREE_BYTES else begin[-PREFIX_BYTES:])
        if size >= FREE_BYTES:
            self.send_data(message)
        self.send_frames(_end(_END_HEAD, _ENDS, number, _END_BLOCK), True)

    def fail(self, trailers: list[Header]) -> None:
        if not self.closed:
            self.send_frames(header_frames(self.number, encode((_CONTENT_TYPE, *trailers), 200), True), True)

    # --- what goes out --------------------------------------------------------------------------------------------------------

    def send_head(self, status: int, headers: tuple[Header, ...], end: bool = False) -> None:
        self.send_frames(header_frames(self.number, encode(headers, status), end), end)

    def send_trailers(self, headers: tuple[Header, ...]) -> None:
        self.send_frames(header_frames(self.number, encode(headers), True), True)

    def send_frames(self, data: bytes, end: bool = False) -> None:
        connection = self.connection
        if self.queue or not connection.piece_bytes:
            self._enqueue((False, end, data))
            return
        connection.spoke = True
        connection.say(data)
        if end:
            self._end()

    def send_data(self, data: bytes | memoryview, end: bool = False) -> bool:
        """Whether all of it could go out; else the listener is told when it has (`drained`)."""
        connection, size = self.connection, len(data)
        if not self.queue and (size <= self.window and size <= connection.window and size <= connection.piece_bytes) and connection.piece_bytes:
            self._send_piece(data, end)
            if end:
                self._end()
            return True
        self._enqueue((True, end, data))
        return False

    def _send_piece(self, data: bytes | memoryview, end: bool) -> None:
        connection, size = self.connection, len(data)
        self.window -= size
        connection.window -= size
        connection.spoke = True
        connection.out.append(frames.HEAD.pack(size << 8, END_STREAM if end else 0, self.number))
        connection.say(data)

    def _enqueue(self, item: _Item) -> None:
        if self.queue is None:
            self.queue = deque()
        self.queue.append(item)
        if item[1]:
            self.answered = True
        connection = self.connection
        connection.waiting[self] = None
        if not connection.scheduled:
            connection.wake()

    @property
    def has_data(self) -> bool:
        """Whether what comes next out of the queue needs windows."""
        queue = self.queue
        return queue is not None and len(queue) > 0 and queue[0][0] and len(queue[0][2]) > 0

    def may_go(self) -> bool:
        """Whether the stream's own window lets something of the queue out."""
        return bool(self.queue) and (self.window > 0 or not self.has_data)

    def take_turn(self) -> int:
        """The next frame of data of the queue, with what needs no window before and after it; how many bytes."""
        queue = self.queue
        assert queue, "only streams that wait have turns"
        self.progress += 1
        size = 0
        while queue and (not size or not self.has_data):
            is_data, end, data = queue.popleft()
            if is_data:
                size = self._take_piece(queue, data, end)
                if size < len(data):
                    return size
            else:
                self.connection.spoke = True
                self.connection.say(data)
            if end:
                self._end()
        if not queue:
            self._hold(0)
            if self.listener is not None:
                self.listener.drained()
        return size

    def _take_piece(self, queue: "deque[_Item]", data: bytes | memoryview, end: bool) -> int:
        """As much of it as may go into a frame; the rest stays in front."""
        connection = self.connection
        size = max(0, min(len(data), self.window, connection.window, connection.piece_bytes))
        if size == len(data):
            self._send_piece(data, end)
            return size
        view = memoryview(data)
        queue.appendleft((True, end, view[size:]))
        if size:
            self._send_piece(view[:size], False)
        return size

    def _end(self) -> None:
        """The last of the answer has gone."""
        self.answered = True
        if self.ended:
            self.connection.streams.pop(self.number, None)

    def _hold(self, size: int) -> None:
        """So many bytes of an answer wait here."""
        hold = self.connection.limits.hold
        size = size if size > FREE_BYTES else 0
        if hold is not None and size != self._held_bytes:
            more, self._held_bytes = size - self._held_bytes, size
            hold(self.connection.info.client, more)

    def leave(self) -> None:
        """The client is gone, or the stream was reset."""
        self.closed = True
        if self.taker is not None:
            self.taker.left()
        self.awaits = False
        if self.queue:
            self.queue.clear()
        self._hold(0)


def header_frames(number: int, block: bytes, end: bool) -> bytes:
    """HEADERS, and CONTINUATION for what does not fit."""
    flags = END_STREAM if end else 0
    if len(block) <= FRAME_BYTES_LEAST:
        return frames.frame(HEADERS, flags | END_HEADERS, number, block)
    pieces = [block[at : at + FRAME_BYTES_LEAST] for at in range(0, len(block), FRAME_BYTES_LEAST)]
    first = frames.frame(HEADERS, flags, number, pieces[0])
    rest = [frames.frame(frames.CONTINUATION, END_HEADERS if piece is pieces[-1] else 0, number, piece) for piece in pieces[1:]]
    return b"".join((first, *rest))
