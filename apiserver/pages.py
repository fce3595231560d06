"""Everything that is no resource: health, metrics, version, discovery."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable

from aiohttp import web

from apiserver import sending
from apiserver.app import App
from apiserver.discovery import groups, openapi
from apiserver.filters import request_info
from apiserver.handlers import respond
from apiserver.handlers.refusals import no_such

STORE_CHECK_S = 2.0

Check = Callable[[], Awaitable[str]]
"""Empty if all is well, otherwise what is not."""


class Health:
    """Named checks. `livez` is about this process; `readyz` also about what it needs, and fails first when it stops."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.live: dict[str, Check] = {"ping": _fine}
        self.ready: dict[str, Check] = {"ping": _fine, "etcd": self._store, "informer-sync": self._caches, "shutdown": self._running}

    async def _store(self) -> str:
        try:
            async with asyncio.timeout(STORE_CHECK_S):
                await self._app.caches.newest.revision()
        except Exception as error:
            return f"the store does not answer: {error or type(error).__name__}"
        return ""

    async def _caches(self) -> str:
        waiting = [cache.prefix for cache in self._app.caches.all() if not cache.ready.is_set()]
        return f"{len(waiting)} watch caches are not filled yet: {', '.join(waiting[:5])}" if waiting else ""

    async def _running(self) -> str:
        return "the server is stopping" if self._app.stopping else ""

    async def page(self, request: web.BaseRequest) -> web.StreamResponse:
        """/livez, /readyz, /healthz, each also with the name of one check behind it; `?verbose`, `?exclude=NAME`."""
        name, _, one = request.path.strip("/").partition("/")
        checks = self.live if name == "livez" else self.ready
        if one:
            if one not in checks:
                raise no_such()
            checks = {one: checks[one]}
        query = request_info.Query(request.query_string)
        excluded = query.all("exclude")
        told, failed = [], []
        for each, check in checks.items():
            if each in excluded:
                told.append(f"[+]{each} excluded: ok\n")
                continue
            wrong = await check()
            told.append(f"[-]{each} failed: {wrong}\n" if wrong else f"[+]{each} ok\n")
            if wrong:
                failed.append(each)
        if failed:
            return _text("".join(told) + f"{name} check failed\n", 500)
        return _text("".join(told) + f"{name} check passed\n" if query.flag("verbose") else "ok")


async def _fine() -> str:
    return ""


def _text(text: str, code: int = 200) -> web.Response:
    return respond.raw(text.encode(), code, content_type="text/plain; charset=utf-8")


def install(app: App) -> Health:
    health = Health(app)
    for name in ("healthz", "livez", "readyz"):
        app.pages[name] = health.page

    async def metrics(_: web.BaseRequest) -> web.StreamResponse:
        return respond.raw(app.metrics.exposition(app), content_type="text/plain; version=0.0.4; charset=utf-8")

    async def version(_: web.BaseRequest) -> web.StreamResponse:
        return answered(groups.version(runtime=f"python{platform.python_version()}"))

    async def discovery(request: web.BaseRequest) -> web.StreamResponse:
        headers = request.headers
        found = groups.serve(app.registry.resources(), request.path, headers.get("Accept", ""), headers.get("If-None-Match", ""), request.host)
        if found is None:
            raise no_such()
        return answered(found)

    documents = openapi.Documents()

    async def described(request: web.BaseRequest) -> web.StreamResponse:
        _, _, rest = request.path.strip("/").partition("/")
        version, _, name = rest.partition("/")
        resources, headers = app.registry.resources(), request.headers
        known = headers.get("If-None-Match", "")
        if version == "v2" and not name:
            # Half a second of work the first time: beside the loop, which serves everybody else meanwhile.
            return answered(await asyncio.to_thread(documents.swagger, resources, app.schemas(), headers.get("Accept", ""), known))
        if version != "v3":
            raise no_such()
        if not name:
            return answered(documents.index(resources, app.schemas(), known))
        wanted = request_info.Query(request.query_string).get("hash")
        found = documents.document(resources, name, app.schemas(), wanted_hash=wanted, if_none_match=known, now_s=app.clock().timestamp())
        if found is None:
            raise no_such()
        return answered(found)

    app.pages.update({"openapi": described, "metrics": metrics, "version": version, "api": discovery, "apis": discovery})
    return health


def answered(answer: groups.Answer) -> web.Response:
    headers = {"Content-Type": answer.content_type, **answer.headers}
    # Documents are made once for all clients.
    return sending.answer([answer.body], 0, answer.status, headers)
