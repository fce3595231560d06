"""SPDY streams over one connection: the client opens them, each is read and written like a connection of its own (k8s.io/apimachinery httpstream)."""

import asyncio
from collections import deque

from apiserver.streams.duplex import Duplex
from apiserver.streams.spdy import (
    DATA_BYTES_MAX,
    Data,
    Decoder,
    Encoder,
    Frame,
    GoAway,
    Headers,
    Malformed,
    MoreHeaders,
    Ping,
    Reset,
    RstStream,
    SynReply,
    SynStream,
)

STREAMS_MAX = 1024
"""Open at once on a connection; more are refused."""
WAITING_BYTES_MAX = 1 << 18
"""Unread bytes of one stream; with more, the connection is not read on: SPDY as it is spoken here has no windows."""


class Stream:
    """One stream that the client opened. What it is for stands in its headers (streamtype, port, requestid)."""

    def __init__(self, session: "Session", number: int, headers: Headers) -> None:
        self.number = number
        self.headers = headers
        self._session = session
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Event()
        self._peer_done = False
        self._done = False

    async def read(self) -> bytes:
        """Some bytes; nothing when the client has closed or reset its side, or is gone."""
        while not self._chunks:
            if self._peer_done:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._chunks.popleft()
        self._waiting_bytes -= len(data)
        self._session.room.set()
        return data

    async def write(self, data: bytes) -> None:
        """Silently nothing after the stream has ended: the client does not want it any more."""
        for at in range(0, len(data), DATA_BYTES_MAX):
            if self._done:
                return
            await self._session.send(Data(self.number, data[at : at + DATA_BYTES_MAX]))

    async def close(self) -> None:
        """No more from us."""
        if not self._done:
            self._done = True
            await self._session.send(Data(self.number, b"", True))
            self._session.maybe_forget(self)

    async def reset(self, status: Reset = Reset.CANCEL) -> None:
        if not self._done or not self._peer_done:
            self._done = True
            self.end()
            await self._session.send(RstStream(self.number, status))
            self._session.maybe_forget(self)

    @property
    def over(self) -> bool:
        return self._done and self._peer_done

    @property
    def full(self) -> bool:
        return self._waiting_bytes > WAITING_BYTES_MAX

    # --- called by the session --------------------------------------------------------------------------------------------

    def receive(self, data: bytes, fin: bool) -> None:
        if data and not self._peer_done:
            self._chunks.append(data)
            self._waiting_bytes += len(data)
        self._peer_done |= fin
        self._changed.set()

    def end(self, reset: bool = False) -> None:
        self._peer_done = True
        self._done |= reset
        self._waiting_bytes = 0
        if reset:
            self._chunks.clear()
        self._changed.set()
        self._session.room.set()


class Session:
    """The server's side of a connection. `run` reads it until it ends; `accept` gives the streams as the client opens them."""

    def __init__(self, duplex: Duplex) -> None:
        self._duplex = duplex
        self._decoder = Decoder()
        self._encoder = Encoder()
        self._streams: dict[int, Stream] = {}
        self._opened: asyncio.Queue[Stream | None] = asyncio.Queue()
        self._sending = asyncio.Lock()
        self._last_stream = 0
        self.room = asyncio.Event()

    async def accept(self) -> Stream | None:
        """The next stream that the client opens; None when the connection has ended."""
        return await self._opened.get()

    async def run(self) -> None:
        """Until the client is gone or sends nonsense."""
        try:
            while data := await self._duplex.read():
                for frame in self._decoder.feed(data):
                    await self._handle(frame)
        except (Malformed, OSError):
            pass
        finally:
            for stream in self._streams.values():
                stream.end(reset=True)
            self._opened.put_nowait(None)

    async def send(self, frame: Frame) -> None:
        async with self._sending:
            await self._duplex.write(self._encoder.encode(frame))

    async def close(self) -> None:
        """Say that no more streams are taken. The client then closes the connection, or whoever owns it does."""
        await self.send(GoAway(self._last_stream))

    def maybe_forget(self, stream: Stream) -> None:
        if stream.over:
            self._streams.pop(stream.number, None)

    async def _handle(self, frame: Frame) -> None:
        if isinstance(frame, Data):
            await self._data(frame)
        elif isinstance(frame, SynStream):
            await self._open(frame)
        elif isinstance(frame, Ping):
            if frame.id % 2:  # the client's are odd; an even one is an answer to ours, which we never send
                await self.send(frame)
        elif isinstance(frame, RstStream):
            if stream := self._streams.pop(frame.stream, None):
                stream.end(reset=True)
        elif isinstance(frame, MoreHeaders | SynReply) and frame.fin and (stream := self._streams.get(frame.stream)):
            stream.receive(b"", True)
            self.maybe_forget(stream)

    async def _data(self, frame: Data) -> None:
        stream = self._streams.get(frame.stream)
        if stream is None:
            return
        stream.receive(frame.data, frame.fin)
        self.maybe_forget(stream)
        while stream.full:
            self.room.clear()
            await self.room.wait()

    async def _open(self, frame: SynStream) -> None:
        if frame.stream <= self._last_stream or frame.stream % 2 == 0:
            raise Malformed(f"stream {frame.stream} opened after {self._last_stream}")
        self._last_stream = frame.stream
        if len(self._streams) >= STREAMS_MAX:
            await self.send(RstStream(frame.stream, Reset.REFUSED_STREAM))
            return
        stream = Stream(self, frame.stream, frame.headers)
        self._streams[frame.stream] = stream
        await self.send(SynReply(frame.stream, {}))
        if frame.fin:
            stream.receive(b"", True)
        self._opened.put_nowait(stream)
