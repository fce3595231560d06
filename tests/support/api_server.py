"""The API server without sockets: requests go through the whole chain of filters and handlers, over the store in memory.

async with ApiServer() as api:
    code, pod = await api.post("/api/v1/namespaces/default/pods", {...})
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientSession, UnixConnector

from apiserver import bootstrap, pages
from apiserver.app import App
from apiserver.filters.chain import Chain
from apiserver.filters.open import everybody, everything
from apiserver.handlers import subresources
from apiserver.handlers.services import Services
from apiserver.listener import HttpServer
from apiserver.registry import built_in
from apiserver.security import Security
from apiserver.storage.addresses import Addresses
from apiserver.storage.objects import Objects
from apiserver.storage.ports import Ports
from tests.support.fake_store import FakeStore

MERGE = "application/merge-patch+json"


class ApiServer:
    """`path`: of a Unix socket, the one door of its HTTP. `store`: one that others use, too."""

    def __init__(self, path: str, store: FakeStore | None = None) -> None:
        self.path = path
        self.store = store or FakeStore()
        objects = Objects(self.store)  # type: ignore[arg-type]
        self.app = App(built_in.registry(), objects)
        addresses = Addresses(objects, "10.96.0.0/24", self.app.now, self.app.new_uid, lambda number: 0)
        self.app.allocators["services"] = Services(addresses, Ports(objects, (30000, 30010), lambda number: 0))
        pages.install(self.app)
        subresources.install(self.app)
        self.security: Security | None = None
        """With one the doors are closed: who comes needs a token."""

    async def __aenter__(self) -> Self:
        self.app.caches.start()
        for cache in list(self.app.caches.all()):
            await cache.ready.wait()
        await bootstrap.create_namespaces(self.app)
        if self.security is not None:
            await self.security.bootstrap()
        guards = (everybody, everything) if self.security is None else (self.security.who, self.security.may)
        self.chain = Chain(self.app, *guards)
        self._server = HttpServer(self.chain)
        self._listener = await asyncio.get_running_loop().create_unix_server(self._server, self.path)
        self.session = ClientSession("http://api", connector=UnixConnector(self.path, limit=0), headers={"User-Agent": "test/1"})
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.app.caches.end_watches()
        await self.session.close()
        self._listener.close()
        await self._server.shutdown(1)
        await self.app.caches.close()

    async def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json", **headers: str) -> tuple[int, Any]:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        data = None if raw is None else BytesIO(raw)
        sent = {**({"Content-Type": kind} if body is not None else {}), **headers}
        async with self.session.request(method, path, data=data, headers=sent) as answer:
            self.headers = answer.headers
            text = await answer.read()
        return answer.status, json.loads(text) if answer.content_type == "application/json" else text.decode()

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, body: Any, kind: str = "application/json") -> tuple[int, Any]:
        return await self.ask("POST", path, body, kind)

    async def put(self, path: str, body: Any) -> tuple[int, Any]:
        return await self.ask("PUT", path, body)

    async def patch(self, path: str, body: Any, kind: str = MERGE) -> tuple[int, Any]:
        return await self.ask("PATCH", path, body, kind)

    async def delete(self, path: str, body: Any = None) -> tuple[int, Any]:
        return await self.ask("DELETE", path, body)

    @asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[AsyncIterator[Any]]:
        async with self.session.get(path) as answer:
            assert answer.status == 200, await answer.text()
            yield (json.loads(line) async for line in answer.content)
