"""The way of every request through the server, in one function: what it asks for, who asks, as whom, a place to be worked on, may they, the handler.

Failures of any step become a Status here and nowhere else; what is no ApiError is our fault: logged, and a 500 that tells nothing.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web

from apiserver.app import AUDIT_ID, App
from apiserver.filters import pretty, request_info
from apiserver.filters.deadline import REQUEST_TIMEOUT_S, deadline_s
from apiserver.filters.request_info import Query, RequestInfo
from apiserver.handlers import refusals, respond, verbs
from apiserver.handlers.call import Call
from apiserver.machinery.status import ApiError, bad_request
from apiserver.request import Attributes, User
from apiserver.sending import Large
from apiserver.storage.errors import translate
from keelson.cogs.logs import fields
from kvstore.errors import StoreError

log = logging.getLogger(__name__)

Authenticate = Callable[[web.BaseRequest], Awaitable[User]]
"""Who sends it, impersonation included. Raises ApiError (401, 403)."""
Authorize = Callable[[Attributes], Awaitable[str]]
"""Why it is allowed. Raises ApiError (403)."""


class Chain:
    def __init__(self, app: App, authenticate: Authenticate, authorize: Authorize, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._app = app
        self._authenticate = authenticate
        self._authorize = authorize

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        begun_s = asyncio.get_running_loop().time()
        request[AUDIT_ID] = request.headers.get("Audit-Id", "")[:64] or str(uuid.uuid4())
        info = RequestInfo(request.method.lower(), "")
        query = Query("")
        try:
            info, query = request_info.parse(request.method, request.raw_path if isinstance(request.raw_path, str) else request.path_qs)
            async with asyncio.timeout(deadline_s(info, query.get("timeout"), self._timeout_s)) as deadline:
                response = await self._served(request, info, query, deadline)
        except ApiError as error:
            response = respond.failure(error)
        except StoreError as error:
            response = respond.failure(translate(error))
        except TimeoutError:
            told = "Timeout: request did not complete within the allotted timeout"
            response = respond.failure(ApiError("Timeout", told, details={"retryAfterSeconds": 1}))
        except RecursionError:
            log.warning("a request was nested too deeply", extra=fields(method=request.method, path=info.path))
            response = respond.failure(bad_request("the object is nested too deeply"))
        except (ConnectionResetError, asyncio.CancelledError):
            if self._app.audit is not None:
                self._app.audit.abandoned(request)
            raise
        except Exception as error:
            if self._app.audit is not None:
                self._app.audit.failed(request)
            log.exception("a request failed", extra=fields(method=request.method, path=info.path))
            response = respond.failure(ApiError("InternalError", f"Internal error occurred: {type(error).__name__}"))
        if not response.prepared:
            if pretty.wanted(request.headers.get("User-Agent", ""), query):
                pretty.indent(response)
            self._mark(request, response)
        if self._app.audit is not None:
            self._app.audit.ended(request, response)
        seconds = asyncio.get_running_loop().time() - begun_s
        self._app.metrics.request(info, response.status, seconds, dry_run=bool(query.get("dryRun")), known=self._knows(info, response.status))
        return response

    def _knows(self, info: RequestInfo, code: int) -> bool:
        if not info.is_resource:
            return True
        found = self._app.registry.find(info.group, info.version, info.resource) is not None
        return found and not (info.subresource and code == 404) and info.verb != ""

    def _mark(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self._app.mark(request, response)
        if self._app.stopping:
            response.headers["Connection"] = "close"
            response.force_close()

    async def _served(self, request: web.BaseRequest, info: RequestInfo, query: Query, deadline: asyncio.Timeout) -> web.StreamResponse:
        user = await self._known(request, info)
        async with self._app.inflight.place(info.verb, info.subresource, user, info.path):
            await self._admitted(request, _attributes(user, info, query))
            try:
                response = await (self._resource(request, info, query, user) if info.is_resource else self._page(request, info))
                if isinstance(response, Large) and not response.prepared:
                    # It keeps its place until the client has it, and has a time of its own: a Status cannot follow half an answer.
                    deadline.reschedule(None)
                    self._mark(request, response)
                    await self._app.outgoing.send(request, response)
                return response
            finally:
                self._app.outgoing.done(request)

    async def _resource(self, request: web.BaseRequest, info: RequestInfo, query: Query, user: User) -> web.StreamResponse:
        served = self._app.registry.find(info.group, info.version, info.resource)
        if served is None:
            raise refusals.no_such()
        call = Call(self._app, request, info, query, user, served)
        try:
            response = await verbs.serve(call)
        except ApiError as refused:
            # Here, since clients are warned whether their request is carried out or not.
            response = respond.refusal(call, refused)
        finally:
            if self._app.audit is not None:
                self._app.audit.annotate(request, call.annotations)
        if not response.prepared:
            for text in dict.fromkeys(call.warnings):
                response.headers.add("Warning", respond.warning(text))
        return response

    async def _known(self, request: web.BaseRequest, info: RequestInfo) -> User:
        audit = self._app.audit
        try:
            user = await self._authenticate(request)
        except ApiError:
            if audit is not None:
                audit.unknown(request, info, request[AUDIT_ID])
            raise
        if audit is not None:
            audit.begin(request, info, user, request[AUDIT_ID])
        return user

    async def _admitted(self, request: web.BaseRequest, attributes: Attributes) -> None:
        audit = self._app.audit
        try:
            reason = await self._authorize(attributes)
        except ApiError:
            if audit is not None:
                audit.forbidden(request, "")
            raise
        if audit is not None:
            audit.allowed(request, reason)

    async def _page(self, request: web.BaseRequest, info: RequestInfo) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise refusals.not_allowed()
        first = info.path.strip("/").partition("/")[0]
        page = self._app.pages.get(first)
        if page is None:
            raise refusals.no_such()
        return await page(request)


def _attributes(user: User, info: RequestInfo, query: Query) -> Attributes:
    return Attributes(
        user=user,
        verb=info.verb,
        path=info.path,
        is_resource=info.is_resource,
        group=info.group,
        version=info.version,
        resource=info.resource,
        subresource=info.subresource,
        namespace=info.namespace,
        name=info.name,
        field_selector=query.get("fieldSelector"),
        label_selector=query.get("labelSelector"),
    )
