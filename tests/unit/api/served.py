"""The services over the model of etcd, on a real port: the HTTP server that members use, in a thread of this process."""

import asyncio
import concurrent.futures
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import grpc
import uvloop
from google.protobuf.message import Message

from kvstore.api.app import App
from kvstore.api.rpc import Settings
from kvstore.server.guard import Guard
from kvstore.server.listeners import ClientPort
from kvstore.server.tls import TlsSettings
from tests.model.backend import ModelBackend
from tests.support.calls import ALL, OK, Reply, Wire, path
from tests.support.http import Http

T = TypeVar("T")

STREAMS_MAX = 1 << 20
START_TIMEOUT_S = 10


class Served:
    """`backend` belongs to the server's thread: look at it and change it through `do`."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.backend: ModelBackend
        self.app: App
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="served")

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result(START_TIMEOUT_S)
        self.wire = Wire(f"127.0.0.1:{self.port}")
        self.http = Http(self.port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wire.close()
        self.http.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.backend = ModelBackend()
        self.app = App(self.backend, self.settings)
        body_bytes_max = self.settings.message_bytes_max * 2
        listening = [(f"http://127.0.0.1:{self.port}", self._listener)]
        port = ClientPort(self.app, listening, TlsSettings(), STREAMS_MAX, body_bytes_max, self.app.held.add)
        async with asyncio.TaskGroup() as group:
            await port.open(group)
            guarding = group.create_task(Guard(self.app, [port]).run())
            self._started.set_result(None)
            await self._stop.wait()
            guarding.cancel()
            port.stop()
            await port.finish()

    def call_with_metadata(self, method: str, request: Message, *metadata: tuple[str, str]) -> Reply:
        """A unary call with request headers of its own."""
        parse = ALL[method][1].FromString
        stub = self.wire.channel.unary_unary(path(method), response_deserializer=parse)
        try:
            return Reply(OK, message=stub(request.SerializeToString(), metadata=metadata, timeout=10))
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            return Reply(error.code().value[0], error.details() or "")

    def do(self, work: Callable[[ModelBackend], T]) -> T:
        """`work(backend)` in the server's thread."""
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                done.set_result(work(self.backend))
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(10)

    def wait_until(self, true: Callable[[ModelBackend], bool], timeout_s: float = 10) -> bool:
        """Whether `true(backend)` came about in time."""
        deadline = time.monotonic() + timeout_s
        while not self.do(true):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True
