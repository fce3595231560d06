"""The kubelet's own HTTPS server (port 10250): logs, exec, attach, port-forward, pods, figures.

Who may ask: a client certificate that the cluster's authority has signed; members of system:masters at once (the API server's own client is one),
others if the API server says so (SubjectAccessReview on nodes/log, nodes/proxy, nodes/stats, nodes/metrics). A bearer token is reviewed likewise.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from agents.kit.times import to_seconds
from agents.kubelet import logs, pods, streams
from agents.kubelet.kubelet import Kubelet
from agents.kubelet.pod_worker import PodWorker
from agents.kubelet.recipe import POD_UID
from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import RuntimeRefused
from agents.kubelet.stats import Stats
from apiserver.client.errors import Unreachable
from apiserver.client.rest import Client
from apiserver.machinery.objects import name_of, namespace_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError

MASTERS = "system:masters"
REVIEWED_S, REVIEWS_MAX = 60.0, 1000
"""How long an answer about somebody's rights holds."""
ARGUMENTS_MAX, ARGUMENTS_BYTES_MAX = 1000, 128 << 10
COUNT_MAX = (1 << 63) - 1
STREAMS = {"All": "", "Stdout": "stdout", "Stderr": "stderr"}


class User(Struct, frozen=True):
    name: str
    groups: tuple[str, ...] = ()


class Server:
    def __init__(self, kubelet: Kubelet, client: Client, stats: Stats, node_name: str) -> None:
        self._kubelet, self._client, self._stats, self._node_name = kubelet, client, stats, node_name
        self._reviews: dict[tuple[Any, ...], tuple[float, Any]] = {}

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        get = app.router.add_get
        get("/healthz", _ok)
        get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        get("/exec/{namespace}/{pod}/{container}", self._exec)
        get("/attach/{namespace}/{pod}/{container}", self._attach)
        get("/portForward/{namespace}/{pod}", self._forward)
        get("/pods", self._pods)
        get("/runningpods/", self._pods)
        get("/stats/summary", self._summary)
        get("/metrics/resource", self._metrics)
        return app

    # --- who may ------------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        try:
            user = await self._who(request)
            if user is None:
                return web.Response(status=401, text="Unauthorized")
            subresource = _subresource(request.path)
            if MASTERS not in user.groups and not await self._may(user, subresource):
                text = f"Forbidden (user={user.name}, verb=get, resource=nodes, subresource={subresource})"
                return web.Response(status=403, text=text)
        except (ApiError, Unreachable) as error:
            return web.Response(status=500, text=f"Authorization error: {error}")
        try:
            return await handler(request)
        except RuntimeRefused as error:
            return web.Response(status=500, text=str(error))

    async def _who(self, request: web.Request) -> User | None:
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        if certificate:
            names = [pair for each in certificate.get("subject", ()) for pair in each]
            name = next((value for key, value in names if key == "commonName"), "")
            return User(name, tuple(value for key, value in names if key == "organizationName")) if name else None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        answer = await self._reviewed(("token", token), "tokenreviews.authentication.k8s.io", review)
        if not answer.get("authenticated"):
            return None
        return User(answer["user"].get("username", ""), tuple(answer["user"].get("groups") or ()))

    async def _may(self, user: User, subresource: str) -> bool:
        attributes = {"verb": "get", "version": "v1", "resource": "nodes", "subresource": subresource, "name": self._node_name}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user.name, "groups": list(user.groups), "resourceAttributes": attributes},
        }
        answer = await self._reviewed(("access", user, subresource), "subjectaccessreviews.authorization.k8s.io", review)
        return bool(answer.get("allowed"))

    async def _reviewed(self, key: tuple[Any, ...], kind: str, review: dict[str, Any]) -> dict[str, Any]:
        now_s = time.monotonic()
        known = self._reviews.get(key)
        if known is not None and known[0] > now_s:
            return dict(known[1])
        answer = (await self._client.create(resource(kind), review)).get("status") or {}
        if len(self._reviews) >= REVIEWS_MAX:
            self._reviews.clear()
        self._reviews[key] = (now_s + REVIEWED_S, answer)
        return dict(answer)

    # --- pods and containers ------------------------------------------------------------------------------------------

    def _worker(self, request: web.Request) -> PodWorker:
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        for worker in self._kubelet.workers.values():
            if (namespace_of(worker.pod), name_of(worker.pod)) == (namespace, name):
                return worker
        raise web.HTTPNotFound(text=f"pod does not exist: {name}_{namespace}")

    async def _containers(self, request: web.Request) -> list[base.Container]:
        """Those of the name, the newest last."""
        worker, name = self._worker(request), request.match_info["container"]
        if pods.container_named(worker.pod, name) is None:
            raise web.HTTPNotFound(text=f"container {name} not found in pod {name_of(worker.pod)}")
        found = [each for each in await self._kubelet.shared.runtime.containers() if each.name == name and each.labels.get(POD_UID) == worker.uid]
        return sorted(found, key=lambda each: (each.attempt, each.created_ns))

    async def _running(self, request: web.Request) -> base.Container:
        found = await self._containers(request)
        if not found or found[-1].state != base.RUNNING:
            raise web.HTTPNotFound(text=f'container not found ("{request.match_info["container"]}")')
        return found[-1]

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        try:
            wanted = logs.Wanted(
                follow=_yes(query.get("follow", "")),
                timestamps=_yes(query.get("timestamps", "")),
                tail_lines=_count(query.get("tailLines") or query.get("tail")),
                limit_bytes=_count(query.get("limitBytes")),
                since_s=_since(query),
                stream=_stream(query.get("stream", "All")),
            )
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        found, worker = await self._containers(request), self._worker(request)
        try:
            wanted_id = logs.logged_container(worker.status, name_of(worker.pod), request.match_info["container"], _yes(query.get("previous", "")))
        except logs.NoLog as error:
            return web.Response(status=400, text=str(error))
        container = next((each for each in found if each.id == wanted_id.partition("://")[2]), None)
        if container is None:  # removed since (leftovers.py); upstream finds out when its answer has begun
            return web.Response(text=f"unable to retrieve container logs for {wanted_id}")
        path = Path(container.log_path)
        if not path.is_file():
            return web.Response(status=500, text=f"failed to try resolving symlinks in path {str(path)!r}: no such file or directory")
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        state = {"running": container.state == base.RUNNING}

        async def look() -> None:
            while state["running"]:
                await asyncio.sleep(0.2)
                newest = [each for each in await self._kubelet.shared.runtime.containers() if each.id == container.id]
                state["running"] = bool(newest) and newest[0].state == base.RUNNING

        try:
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(look(), name="look")
                async for piece in logs.read(path, wanted, lambda: state["running"]):
                    await answer.write(piece)
                looking.cancel()
        except* OSError:
            pass  # who asked has gone
        return answer

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        words = request.query.getall("command", [])
        if not words:
            return web.Response(status=400, text="you must specify at least one command")
        if len(words) > ARGUMENTS_MAX or sum(map(len, words)) > ARGUMENTS_BYTES_MAX:
            return web.Response(status=413, text=f"a command has {ARGUMENTS_MAX} words and {ARGUMENTS_BYTES_MAX} bytes at most")
        if any("\0" in word or not _is_text(word) for word in words):
            return web.Response(status=400, text="a word of a command must be text without NUL bytes")
        _must_upgrade(request)
        container = await self._running(request)
        wanted, stdin, tty = _streams(request)
        session = await self._kubelet.shared.runtime.exec(container.id, words, stdin=stdin, tty=tty)
        return await streams.serve(request, session, wanted, attached=False)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        _must_upgrade(request)
        container = await self._running(request)
        wanted, stdin, _ = _streams(request)
        session = await self._kubelet.shared.runtime.attach(container.id, stdin=stdin)
        return await streams.serve(request, session, wanted, attached=True)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        worker = self._worker(request)
        try:
            port = int(request.query["port"])
        except (KeyError, ValueError):
            return web.Response(status=400, text="port must be a number")
        if not 0 < port < 65536:
            return web.Response(status=400, text=f"port {port} must be between 1 and 65535")
        _must_upgrade(request)
        sandbox = await worker._sandbox()
        if sandbox is None:
            return web.Response(status=404, text=f'pod "{name_of(worker.pod)}" has no sandbox that runs')
        try:
            pipe = await self._kubelet.shared.runtime.connect(sandbox.id, port)
        except RuntimeRefused as error:
            return web.Response(status=500, text=f"failed to connect to localhost:{port} inside namespace {sandbox.id[:12]!r}: {error}")
        return await streams.forward(request, pipe)

    async def _pods(self, request: web.Request) -> web.Response:
        items = [worker.pod for worker in self._kubelet.workers.values()]
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    async def _summary(self, request: web.Request) -> web.Response:
        return _json(await self._stats.summary())

    async def _metrics(self, request: web.Request) -> web.Response:
        from keelson.cogs import exposition

        return web.Response(body=exposition.text_of(await self._stats.metrics()), headers={"Content-Type": exposition.TEXT})


async def _ok(request: web.Request) -> web.Response:
    return web.Response(text="ok")


def _json(content: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), headers={"Content-Type": "application/json"})


def _subresource(path: str) -> str:
    """What of a node a path is about (pkg/kubelet/server/auth.go)."""
    for prefix, subresource in (("/stats", "stats"), ("/metrics", "metrics"), ("/logs", "log"), ("/spec", "spec")):
        if path == prefix or path.startswith(f"{prefix}/"):
            return subresource
    return "proxy"


def _streams(request: web.Request) -> tuple[frozenset[int], bool, bool]:
    query = request.query
    names = (("stdout", "output", streams.OUTPUT), ("stderr", "error", streams.ERRORS))
    wanted = frozenset(channel for name, old, channel in names if _yes(query.get(name, query.get(old, ""))))
    return wanted, _yes(query.get("stdin", query.get("input", ""))), _yes(query.get("tty", ""))


def _yes(text: str) -> bool:
    return text.lower() in ("1", "true", "t")


def _is_text(word: str) -> bool:
    """Whether it has no halves of characters, which no program can be given."""
    try:
        return bool(word.encode()) or not word
    except UnicodeEncodeError:
        return False


def _must_upgrade(request: web.Request) -> None:
    """Before anything is begun for somebody who cannot be told of it. Raises HTTPBadRequest."""
    if not web.WebSocketResponse(protocols=(streams.PROTOCOL,)).can_prepare(request).ok:
        raise web.HTTPBadRequest(text="unable to upgrade: a WebSocket handshake is expected")


def _count(text: str | None) -> int | None:
    """Raises ValueError."""
    if not text:
        return None
    if not text.isascii() or len(text) > 20 or not 0 <= (number := int(text)) <= COUNT_MAX:
        raise ValueError(f"{text[:20]!r} must be a number from 0 to {COUNT_MAX}")
    return number


def _stream(name: str) -> str:
    """Raises ValueError."""
    if name not in STREAMS:
        raise ValueError(f"{name!r} is no stream: it must be one of {', '.join(STREAMS)}")
    return STREAMS[name]


def _since(query: Any) -> float:
    if seconds := _count(query.get("sinceSeconds")):
        return time.time() - seconds
    return to_seconds(query.get("sinceTime")) if query.get("sinceTime") else 0.0
