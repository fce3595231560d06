"""Leases that many short-lived objects share (apiserver storage/etcd3/lease_manager.go): events live for an hour, and a lease each would cost the
store more than the events."""

import asyncio

from kvstore.client.client import Client

WINDOW_S = 60
OBJECTS_MAX = 1000


class SharedLeases:
    """One for each lifetime. An object lives for `ttl_s` at least and a window more at most."""

    def __init__(self, client: Client, ttl_s: int) -> None:
        self._client = client
        self._ttl_s = ttl_s
        self._lease = 0
        self._until_s = 0.0
        self._left = 0
        self._lock = asyncio.Lock()

    async def take(self) -> int:
        """A lease for one more object. Raises StoreError."""
        async with self._lock:
            now_s = asyncio.get_running_loop().time()
            if not self._left or now_s >= self._until_s:
                self._lease = (await self._client.lease_grant(self._ttl_s + WINDOW_S)).ID
                self._until_s = now_s + WINDOW_S
                self._left = OBJECTS_MAX
            self._left -= 1
            return self._lease
