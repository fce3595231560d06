"""`Client`: the API's verbs as coroutines, on objects that are plain JSON.

    async with Client.from_kubeconfig(path) as client:
        pod = await client.get(resource("pods"), "web-1", "default")

Answers of 400 and more are raised as `machinery.status.ApiError`. When no server takes the connection, or one closes it before it answered, the next
is asked, though the first may have carried out what it was asked for. That does no harm: a second create answers AlreadyExists (with generateName as
well, because the name is drawn here), a second update with a resourceVersion answers Conflict, and every loop that writes here looks first.
"""

import asyncio
import builtins
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from apiserver.client import kubeconfig, watch
from apiserver.client.errors import Unreachable, from_answer
from apiserver.client.kubeconfig import Access
from apiserver.client.watch import WatchEvent
from apiserver.machinery.names import GENERATE_TRIES_MAX, GENERATED_BASE_MAX, suffix
from apiserver.machinery.objects import Object, name_of, namespace_of
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

REQUEST_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
WATCH_TIMEOUT_S = 300.0
SILENCE_S = 90.0
"""A watch that says nothing for so long beyond its own end is taken for dead: servers send bookmarks about once a minute."""
PAUSE_S = 0.2
"""Between two rounds over all servers."""
CHUNK_BYTES = 256 << 10


class Course:
    """What became of a request on its way."""

    def __init__(self) -> None:
        self.is_in_doubt = False
        """It was asked more than once, and a server that gave no answer may have carried it out."""


class Client:
    """Safe to use from many tasks of one event loop. `user_agent` names the program: it becomes the field manager of its writes."""

    def __init__(self, access: Access, *, user_agent: str = "keelson", timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self.access = access
        self.timeout_s = timeout_s
        self._user_agent = user_agent
        self._current = 0
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_kubeconfig(cls, path: Path | str, **options: Any) -> "Client":
        """Raises BadConfiguration."""
        return cls(kubeconfig.load(path), **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- objects ------------------------------------------------------------------------------------------------------

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Object:
        return await self._json("GET", resource.path(namespace, name, subresource))

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> Object:
        """One page of the list as it came; `list_all` follows the pages."""
        query = _query(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=str(limit) if limit else "",
            resourceVersion=resource_version,
            **{"continue": continue_token},
        )
        return await self._json("GET", resource.path(namespace), query)

    async def list_all(
        self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> "builtins.list[Object]":
        """All items, page by page, with their apiVersion and kind."""
        items: builtins.list[Object] = []
        token = ""
        while True:
            page = await self.list(resource, namespace, label_selector=label_selector, field_selector=field_selector, limit=500, continue_token=token)
            items.extend({"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in page.get("items") or ())
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return items

    async def create(
        self, resource: Resource, obj: Object, namespace: str = "", *, subresource: str = "", name: str = "", dry_run: bool = False
    ) -> Object:
        """`name` and `subresource` for pods/binding, pods/eviction, serviceaccounts/token."""
        where = namespace or namespace_of(obj)
        path, query = resource.path(where, name, subresource), _query(dryRun="All" if dry_run else "")
        meta = obj.get("metadata") or {}
        prefix = meta.get("generateName")
        if not prefix or meta.get("name"):
            return await self._json("POST", path, query, obj)
        for _ in range(GENERATE_TRIES_MAX):
            # The server would draw another name for each try, and make another object.
            drawn = prefix[:GENERATED_BASE_MAX] + suffix(random.choice)
            course = Course()
            try:
                return await self._json("POST", path, query, {**obj, "metadata": {**meta, "name": drawn}}, course=course)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                refused = error
            if course.is_in_doubt:
                return await self.get(resource, drawn, where)
        raise refused

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        return await self._json("PUT", resource.path(namespace_of(obj), name_of(obj), subresource), None, obj)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        kind: str = MERGE,
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object:
        query = _query(fieldManager=field_manager, force="true" if force else "")
        return await self._json("PATCH", resource.path(namespace, name, subresource), query, patch, kind)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        grace_s: int | None = None,
        propagation: str = "",
        uid: str = "",
        resource_version: str = "",
    ) -> Object:
        """The object if it is still there, else a Status. `propagation`: Background, Foreground, Orphan."""
        preconditions = {key: value for key, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
        options = {"kind": "DeleteOptions", "apiVersion": "v1"} | {
            key: value
            for key, value in (
                ("gracePeriodSeconds", grace_s),
                ("propagationPolicy", propagation or None),
                ("preconditions", preconditions or None),
            )
            if value is not None
        }
        return await self._json("DELETE", resource.path(namespace, name), None, options)

    async def delete_collection(self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = "") -> Object:
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        return await self._json("DELETE", resource.path(namespace), query)

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        initial_events: bool = False,
        timeout_s: float = WATCH_TIMEOUT_S,
    ) -> AsyncGenerator[WatchEvent, None]:
        """The events of one watch until the server ends it. With `initial_events` all that is there comes first, as ADDED, ended by a bookmark.

        Raises ApiError (Expired: the resourceVersion is too old) and Unreachable, also in the middle.
        """
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            timeoutSeconds=str(max(int(timeout_s), 1)),
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            sendInitialEvents="true" if initial_events else "",
            resourceVersionMatch="NotOlderThan" if initial_events else "",
        )
        timeouts = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_S)
        async with self.open("GET", resource.path(namespace), query=query, timeouts=timeouts) as answer:
            if answer.status >= 400:
                raise from_answer(answer.status, await answer.read())
            try:
                async for event in watch.events(answer.content.iter_any()):
                    yield event
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise Unreachable(f"the watch of {resource.qualified} broke: {error!r}") from None

    # --- requests -----------------------------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        course: Course | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Any request: status, headers and body of the answer, whatever it is. Raises Unreachable."""
        timeouts = aiohttp.ClientTimeout(total=timeout_s or self.timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        deadline_s = asyncio.get_running_loop().time() + (timeout_s or self.timeout_s)
        while True:
            try:
                async with self.open(method, path, query=query, body=body, headers=headers, timeouts=timeouts, course=course) as answer:
                    return answer.status, answer.headers, await answer.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                # The answer broke off half-way.
                if course is not None:
                    course.is_in_doubt = True
                if asyncio.get_running_loop().time() > deadline_s:
                    raise Unreachable(f"{method} {path}: {error!r}") from None
                await asyncio.sleep(PAUSE_S)

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeouts: aiohttp.ClientTimeout | None = None,
        course: Course | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer as it begins, from the first server that takes the request. Raises Unreachable."""
        sent = {"Accept": "application/json", **self._credentials(), **(headers or {})}
        servers = self.access.servers
        deadline_s = asyncio.get_running_loop().time() + self.timeout_s
        attempt = 0
        while True:
            asked = self._current
            try:
                answer = await self._started().request(
                    method, servers[asked] + path, params=query, data=body, headers=sent, timeout=timeouts or self._timeout()
                )
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                attempt += 1
                if course is not None and not isinstance(error, aiohttp.ClientConnectorError):
                    course.is_in_doubt = True
                if self._current == asked:
                    self._current = (asked + 1) % len(servers)
                if asyncio.get_running_loop().time() > deadline_s:
                    raise Unreachable(f"{method} {path}: no answer from {', '.join(servers)}: {error!r}") from None
                if attempt % len(servers) == 0:
                    await asyncio.sleep(PAUSE_S)
                continue
            async with answer:
                yield answer
                return

    async def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        obj: Any = None,
        kind: str = "application/json",
        *,
        course: Course | None = None,
    ) -> Object:
        body = None if obj is None else msgspec.json.encode(obj)
        sent = {"Content-Type": kind} if obj is not None else None
        code, headers, answer = await self.request(method, path, query=query, body=body, headers=sent, course=course)
        if code == 429 and (pause := headers.get("Retry-After", "")).isdigit() and (method == "GET" or "eviction" not in path):
            await asyncio.sleep(min(int(pause), self.timeout_s))
            code, headers, answer = await self.request(method, path, query=query, body=body, headers=sent, course=course)
        if code >= 400:
            raise from_answer(code, answer)
        found: Object = msgspec.json.decode(answer)
        return found

    def _credentials(self) -> dict[str, str]:
        token = self.access.token
        if self.access.token_file:
            token = Path(os.fspath(self.access.token_file)).read_text().strip()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _timeout(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=self.timeout_s, sock_connect=CONNECT_TIMEOUT_S)

    def _started(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self.access.tls if self.access.tls is not None else True, limit=0, keepalive_timeout=60)
            self._session = aiohttp.ClientSession(
                connector=connector, headers={"User-Agent": self._user_agent}, auto_decompress=True, read_bufsize=CHUNK_BYTES
            )
        return self._session


def _query(**wanted: str) -> dict[str, str]:
    return {key: value for key, value in wanted.items() if value}
