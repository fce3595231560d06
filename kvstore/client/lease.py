"""Keeping a lease alive: a renewal every third of its TTL, over whatever connection there is (clientv3/lease.go)."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from msgspec import Struct

from kvstore.client.errors import is_unavailable, translate
from kvstore.errors import LeaseNotFound
from kvstore.wire import messages

if TYPE_CHECKING:
    from kvstore.client.client import Client

_PATH = "/etcdserverpb.Lease/LeaseKeepAlive"
RECONNECT_S = 0.5
ANSWER_S = 3.0
"""A server that lets a renewal wait longer is not waited for: another may do better while there is time."""


class Renewal(Struct, frozen=True):
    """The server's answer, and the loop's time at which it was asked: the lease lives at least its TTL from then on."""

    asked_at_s: float
    answer: Any


async def keep_alive(client: "Client", lease_id: int) -> AsyncGenerator[Any, None]:
    """Every answer of the server, TTL in seconds in it. Raises LeaseNotFound when the lease has ended."""
    async with aclosing(renewals(client, lease_id)) as renewed:
        async for renewal in renewed:
            yield renewal.answer


async def renewals(client: "Client", lease_id: int) -> AsyncGenerator[Renewal, None]:
    """As `keep_alive`, for whoever counts the time."""
    loop = asyncio.get_running_loop()
    await client.ready()
    while True:
        asked = client.channels.current
        stream = client.callable(_PATH)()
        try:
            while True:
                asked_at_s = loop.time()
                async with asyncio.timeout(ANSWER_S):
                    await stream.write(messages.LeaseKeepAliveRequest(ID=lease_id))
                    answer = await stream.read()
                if answer is grpc.aio.EOF:
                    break
                if answer.TTL <= 0:
                    raise LeaseNotFound
                yield Renewal(asked_at_s, answer)
                await asyncio.sleep(answer.TTL / 3)
        except (TimeoutError, asyncio.InvalidStateError):
            pass  # no answer in time, or the stream ended while nobody looked: whatever its reason, a new one will tell
        except grpc.aio.AioRpcError as rpc_error:
            error = translate(rpc_error)
            if not is_unavailable(error) and not await client.renew(error):
                raise error from None
        finally:
            stream.cancel()
        client.channels.move_on(asked)
        await asyncio.sleep(RECONNECT_S)
