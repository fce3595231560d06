"""Keeping a lease alive: a renewal every third of its TTL, over whatever connection there is (clientv3/lease.go)."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from kvstore.client.errors import is_unavailable, translate
from kvstore.errors import LeaseNotFound
from kvstore.wire import messages

if TYPE_CHECKING:
    from kvstore.client.client import Client

_PATH = "/etcdserverpb.Lease/LeaseKeepAlive"
RECONNECT_S = 0.5


async def keep_alive(client: "Client", lease_id: int) -> AsyncGenerator[Any, None]:
    """Every answer of the server, TTL in seconds in it. Raises LeaseNotFound when the lease has ended."""
    await client.ready()
    while True:
        stream = client.callable(_PATH)()
        try:
            while True:
                await stream.write(messages.LeaseKeepAliveRequest(ID=lease_id))
                response = await stream.read()
                if response is grpc.aio.EOF:
                    break
                if response.TTL <= 0:
                    raise LeaseNotFound
                yield response
                await asyncio.sleep(response.TTL / 3)
        except grpc.aio.AioRpcError as rpc_error:
            error = translate(rpc_error)
            if not is_unavailable(error) and not await client.renew(error):
                raise error from None
        finally:
            stream.cancel()
        client.channels.move_on()
        await asyncio.sleep(RECONNECT_S)
