"""etcdserverpb.Watch: one stream, many watchers (semantics W-1 to W-28).

`_Session` is one stream. Requests come in one at a time and change watchers through the backend's `WatchStream`; what there is to tell goes into one
queue, in order, and out through a sender. The queue is bounded: when it is full, `deliver` refuses, and the member lets those watchers catch up
from history once the sender says that there is room again. Answers to requests always get in, but while it is full no further request is
read: a client that asks and never listens is held by HTTP/2's flow control.

A frame for the same events, watcher id, revision and term is the same bytes: the last few are kept, so that a thousand streams which watch one key
share one encoding.
"""

import asyncio
import random
from collections import deque
from typing import Any

from kvstore.accounts import Credentials
from kvstore.api.backend import Backend, WatchStream
from kvstore.api.rpc import Context, Requests, Send, Service, Settings, Stats
from kvstore.errors import StoreError
from kvstore.ids import Revision
from kvstore.model import EncodedEvent, WatchSpec, WatchUpdate
from kvstore.wire import codec, messages
from kvstore.wire.status import describe

QUEUE_UPDATES_MAX = 128
QUEUE_BYTES_MAX = 8 << 20
QUEUES_BYTES_MAX = 128 << 20
"""Of all streams together. Beyond it each keeps one answer, and their watchers read history when their clients have taken that."""
BATCH_BYTES = 64 << 10
SHARED_FRAMES_MAX = 64
SHARED_FRAMES_BYTES_MAX = 4 << 20
PROGRESS_JITTER = 0.1
"""Each stream's progress interval is longer by up to this share, so that streams opened together do not all speak at once (W-19)."""

ALL_WATCHERS = -1
_DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
_EMPTY_RANGE = "mvcc: watcher range is empty"
_NEGATIVE_START = "etcdserver: mvcc: required revision has been compacted"


class Watch(Service):
    def __init__(self, backend: Backend, settings: Settings, stats: Stats) -> None:
        super().__init__(backend, settings)
        self.stats = stats
        self._frames: dict[tuple[int, int, int, int], tuple[WatchUpdate, bytes]] = {}
        self._frames_bytes = 0
        self.queued_bytes = 0
        """What waits in the queues of all streams."""

    async def watch(self, context: Context, requests: Requests, send: Send) -> None:
        if context.credentials is not None:
            await self.backend.catch_up(context.credentials)
        session = _Session(self, send, context.credentials)
        try:
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(session.run_sender(), name="watch sender"),
                    group.create_task(session.run_progress(), name="watch progress"),
                ]
                async for data in requests:
                    session.handle(codec.parse(messages.WatchRequest, data))
                    if session.full:
                        await session.room()
                for task in background:
                    task.cancel()
        finally:
            session.close()

    def frame(self, update: WatchUpdate) -> bytes:
        """The answer that tells of this update."""
        term = self.backend.header().raft_term
        key = (id(update.events), update.watch_id, update.revision, term)
        shared = self._frames.get(key)
        # The kept update holds its events alive, so their id is not somebody else's.
        if shared is not None and shared[0].events is update.events:
            return shared[1]
        encoded = codec.watch_response(self.header(update.revision), update)
        if update.events and len(encoded) < SHARED_FRAMES_BYTES_MAX:
            self._share(key, update, encoded)
        return encoded

    def _share(self, key: tuple[int, int, int, int], update: WatchUpdate, encoded: bytes) -> None:
        frames = self._frames
        while len(frames) >= SHARED_FRAMES_MAX or self._frames_bytes + len(encoded) > SHARED_FRAMES_BYTES_MAX:
            self._frames_bytes -= len(frames.pop(next(iter(frames)))[1])
        frames[key] = (update, encoded)
        self._frames_bytes += len(encoded)


class _Session:
    def __init__(self, service: Watch, send: Send, who: Credentials | None) -> None:
        self._service = service
        self._send = send
        self._stream: WatchStream = service.backend.open_watch_stream(self.deliver, who)
        self._queue: deque[bytes] = deque()
        service.stats.watch_queues[id(self._queue)] = self._queue
        self._queue_bytes = 0
        self._refused = False
        self._idle: asyncio.Future[None] | None = None
        """What the sender waits for when there is nothing to send (an asyncio.Event would cost a microsecond more for each event told)."""
        self._emptied = asyncio.Event()
        self._specs: dict[int, WatchSpec] = {}
        self._told: set[int] = set()
        self._next_id = 0
        self._compacted: set[int] = set()
        """Ids whose watchers a compaction ended. As in etcd they stay in use until the client cancels them, which is answered."""

    # --- requests -----------------------------------------------------------------------------------------------------------

    def handle(self, request: Any) -> None:
        which = request.WhichOneof("request_union")
        if which == "create_request":
            self._create(request.create_request)
        elif which == "cancel_request":
            self._cancel(request.cancel_request.watch_id)
        elif which == "progress_request":
            self._stream.request_progress()

    def _create(self, request: Any) -> None:
        spec = codec.watch_spec(request, request.watch_id)
        if spec.start_revision < 0:
            self._refuse(_NEGATIVE_START)
            return
        try:
            self._stream.check(spec)
        except StoreError as error:
            code, text = describe(error)
            self._refuse(f"rpc error: code = {code.words} desc = {text}")
            return
        if spec.range_end and spec.range_end != b"\x00" and spec.key >= spec.range_end:
            self._refuse(_EMPTY_RANGE)
            return
        watch_id: int = request.watch_id
        if watch_id == 0:  # an id is only used up by a watcher that comes to be
            while self._next_id in self._specs or self._next_id in self._compacted:
                self._next_id += 1
            watch_id = self._next_id
            self._next_id += 1
            spec = codec.watch_spec(request, watch_id)
        elif watch_id in self._specs or watch_id in self._compacted:
            self._refuse(_DUPLICATE_ID)
            return
        self._specs[watch_id] = spec
        revision = self._stream.create(spec)
        self._put(codec.watch_response(self._service.header(revision), WatchUpdate(watch_id, revision), created=True))

    def _refuse(self, reason: str) -> None:
        """Created and canceled at once, under no id."""
        revision = self._service.backend.header().revision
        update = WatchUpdate(ALL_WATCHERS, revision)
        self._put(codec.watch_response(self._service.header(revision), update, created=True, canceled=True, cancel_reason=reason))

    def _cancel(self, watch_id: int) -> None:
        """An unknown id gets no answer (W-9)."""
        if self._specs.pop(watch_id, None) is not None:
            self._stream.cancel(watch_id)
        elif watch_id in self._compacted:
            self._compacted.remove(watch_id)
        else:
            return
        revision = self._service.backend.header().revision
        self._put(codec.watch_response(self._service.header(revision), WatchUpdate(watch_id, revision), canceled=True))

    @property
    def full(self) -> bool:
        if len(self._queue) >= QUEUE_UPDATES_MAX or self._queue_bytes >= QUEUE_BYTES_MAX:
            return True
        return self._service.queued_bytes >= QUEUES_BYTES_MAX and bool(self._queue)

    async def room(self) -> None:
        """Wait until the client has taken what there was for it."""
        self._emptied.clear()
        await self._emptied.wait()

    def close(self) -> None:
        self._service.stats.watch_queues.pop(id(self._queue), None)
        self._service.queued_bytes -= self._queue_bytes
        self._queue_bytes = 0
        self._queue.clear()
        self._stream.close()

    # --- updates ------------------------------------------------------------------------------------------------------------

    def deliver(self, update: WatchUpdate) -> bool:
        if self.full:
            self._refused = True
            return False
        spec = self._specs.get(update.watch_id)
        if update.compact_revision:
            if self._specs.pop(update.watch_id, None) is not None:
                self._compacted.add(update.watch_id)
            self._put(codec.watch_response(self._service.header(0), update, canceled=True))
        elif update.events and spec is not None and spec.fragment:
            self._put_fragments(update)
            self._told.add(update.watch_id)
        else:
            self._put(self._service.frame(update))
            if update.events:
                self._told.add(update.watch_id)
        return True

    def _put_fragments(self, update: WatchUpdate) -> None:
        """Cut where the answer passes the limit; all but the last piece say that more follows (W-17)."""
        limit = self._service.settings.message_bytes_max
        header = self._service.header(update.revision)
        piece: list[EncodedEvent] = []
        size = len(header)
        for event in update.events:
            if piece and size + len(event) + 8 >= limit:
                self._put(codec.watch_response(header, WatchUpdate(update.watch_id, update.revision, tuple(piece)), fragment=True))
                piece, size = [], len(header)
            piece.append(event)
            size += len(event) + 8
        self._put(codec.watch_response(header, WatchUpdate(update.watch_id, Revision(update.revision), tuple(piece))))

    def _put(self, encoded: bytes) -> None:
        self._queue.append(encoded)
        self._queue_bytes += len(encoded)
        self._service.queued_bytes += len(encoded)
        idle = self._idle
        if idle is not None and not idle.done():
            idle.set_result(None)

    # --- tasks --------------------------------------------------------------------------------------------------------------

    async def run_sender(self) -> None:
        queue = self._queue
        new_future = asyncio.get_running_loop().create_future
        while True:
            if not queue:
                self._idle = new_future()
                await self._idle
                self._idle = None
            while queue:
                await self._send(*self._next_batch())
            self._emptied.set()
            if self._refused:
                self._refused = False
                self._stream.resume()

    def _next_batch(self) -> list[bytes]:
        """What has gathered while the sender was busy goes out together: a send costs several times what an answer does."""
        queue, batch, size = self._queue, [], 0
        while queue and size < BATCH_BYTES:
            batch.append(queue.popleft())
            size += len(batch[-1])
        self._queue_bytes -= size
        self._service.queued_bytes -= size
        return batch

    async def run_progress(self) -> None:
        """Tell quiet watchers that asked for it how far they are (W-19)."""
        interval_s = self._service.settings.progress_notify_interval_s * (1 + PROGRESS_JITTER * random.random())
        while True:
            await asyncio.sleep(interval_s)
            for watch_id, spec in list(self._specs.items()):
                if spec.progress_notify and watch_id not in self._told:
                    self._stream.progress(watch_id)
            self._told.clear()
