"""A watch that survives its connection: every event once, in order, whatever breaks in between.

It remembers the revision after the last one it told of (events or progress, both say how far the server has told) and asks for history from there
when it connects again, to whichever endpoint answers. History that is compacted meanwhile cannot be told: that is an error, never a gap.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from kvstore.client.authentication import unwelcome
from kvstore.client.errors import WatchCanceled, WatchCompacted, is_unavailable, translate
from kvstore.client.retry import BACKOFF_S, BACKOFF_S_MAX
from kvstore.errors import AuthOldRevision, InvalidAuthToken, UserEmpty
from kvstore.wire import messages

if TYPE_CHECKING:
    from kvstore.client.client import Client

_PATH = "/etcdserverpb.Watch/Watch"


class Watcher:
    """Iterate over it for WatchResponses with events (or, with progress_notify, progress). Raises WatchCompacted, WatchCanceled."""

    def __init__(self, client: "Client", key: bytes, range_end: bytes = b"", *, start_revision: int = 0, **options: Any) -> None:
        self._client = client
        self._key = key
        self._range_end = range_end
        self._options = options
        self.next_revision = start_revision
        """Where a new connection goes on; 0 until the server has said where "now" is."""
        self._stream: Any = None

    def _request(self) -> Any:
        create = messages.WatchCreateRequest(key=self._key, range_end=self._range_end, start_revision=self.next_revision, **self._options)
        return messages.WatchRequest(create_request=create)

    async def __aiter__(self) -> AsyncGenerator[Any, None]:
        pause_s = BACKOFF_S
        await self._client.ready()
        while True:
            asked = self._client.channels.current
            stream = self._stream = self._client.callable(_PATH)()
            try:
                await stream.write(self._request())
                async for response in _joined(stream):
                    pause_s = BACKOFF_S
                    if self._note(response):
                        yield response
            except grpc.aio.AioRpcError as rpc_error:
                error = translate(rpc_error)
                if not is_unavailable(error) and not await self._client.renew(error):
                    raise error from None
            except (InvalidAuthToken, AuthOldRevision, UserEmpty) as error:
                if not await self._client.renew(error):
                    raise WatchCanceled(str(error)) from None
            finally:
                self._stream = None
                stream.cancel()
            self._client.channels.move_on(asked)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, BACKOFF_S_MAX)

    async def request_progress(self) -> None:
        """Ask how far the watch is: a response without events says it, once everything before was told. Does nothing while there is no connection."""
        if self._stream is not None:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await self._stream.write(messages.WatchRequest(progress_request=messages.WatchProgressRequest()))

    def _note(self, response: Any) -> bool:
        """Learn from a response; True if it is one to hand on."""
        if response.compact_revision:
            raise WatchCompacted(response.compact_revision)
        if response.canceled:
            raise unwelcome(response.cancel_reason) or WatchCanceled(response.cancel_reason or "watch canceled by the server")
        if response.created:
            if not self.next_revision:
                self.next_revision = response.header.revision + 1
            return False
        if response.events:
            self.next_revision = response.events[-1].kv.mod_revision + 1
        else:
            self.next_revision = max(self.next_revision, response.header.revision + 1)
        return True


async def _joined(stream: Any) -> AsyncIterator[Any]:
    """Responses with their fragments put together."""
    held: Any = None
    async for response in stream:
        if held is not None:
            held.events.extend(response.events)
            held.fragment = response.fragment
            response = held
        if response.fragment:
            held = response
            continue
        held = None
        yield response
