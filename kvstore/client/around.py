"""What the views of a client have in common: its connections and its login are the client's own, which stays its owner's to close."""

from typing import Any

from kvstore.client.client import Client
from kvstore.errors import StoreError


class Around(Client):
    def __init__(self, client: Client) -> None:
        self._client = client
        self.channels = client.channels
        self.timeout_s = client.timeout_s

    async def close(self) -> None:
        """The client goes on."""

    def callable(self, path: str) -> Any:
        return self._client.callable(path)

    async def ready(self) -> None:
        await self._client.ready()

    async def login(self) -> None:
        await self._client.login()

    async def renew(self, error: StoreError) -> bool:
        return await self._client.renew(error)
