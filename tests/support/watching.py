"""One raw watch stream: requests go out when told, responses are collected in the order they came."""

import queue
import threading
from collections.abc import Callable, Iterator

import grpc
from google.protobuf.message import Message

from kvstore.wire import messages as pb
from tests.support.calls import path


class WatchStream:
    """Responses gather in `responses` (only ever appended to); `ended` holds the error that ended the stream, if one did."""

    def __init__(self, channel: grpc.Channel, reading: bool = True) -> None:
        """`reading` False: take no responses until `read` is called."""
        self.responses: list[Message] = []
        self.ended: grpc.RpcError | None = None
        self._requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        stub = channel.stream_stream(path("Watch/Watch"), pb.WatchRequest.SerializeToString, pb.WatchResponse.FromString)
        self._call = stub(self._outgoing())
        self._reader = threading.Thread(target=self._read, name="watch-reader", daemon=True)
        if reading:
            self.read()

    def read(self) -> None:
        self._reader.start()

    def _outgoing(self) -> Iterator[Message]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self) -> None:
        try:
            for response in self._call:
                with self._changed:
                    self.responses.append(response)
                    self._changed.notify_all()
        except grpc.RpcError as error:
            with self._changed:
                self.ended = error
                self._changed.notify_all()

    def create(self, **spec: object) -> None:
        self._requests.put(pb.WatchRequest(create_request=pb.WatchCreateRequest(**spec)))

    def cancel(self, watch_id: int) -> None:
        self._requests.put(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id)))

    def request_progress(self) -> None:
        self._requests.put(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    def send(self, request: Message) -> None:
        self._requests.put(request)

    def half_close(self) -> None:
        self._requests.put(None)

    def wait_for(self, enough: Callable[[list[Message]], bool], timeout_s: float = 10) -> bool:
        """Whether `enough(responses)` became true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: enough(self.responses) or self.ended is not None, timeout_s) and enough(self.responses)

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()
        self._reader.join(5)
