"""The client against a small server of its own: what goes out, what comes back, what happens when a server is gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from apiserver.client.errors import Unreachable
from apiserver.client.kubeconfig import Access
from apiserver.client.rest import APPLY, Client
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError, already_exists, not_found
from keelson.drills.ports import free_port

PODS = resource("pods")


@asynccontextmanager
async def served(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def test_a_patch_says_its_kind_and_its_manager() -> None:
    async def run() -> None:
        seen: list[Any] = []

        async def handle(request: web.Request) -> web.Response:
            seen.append((request.method, request.path, dict(request.query), request.headers["Content-Type"], await request.json()))
            return web.json_response({"kind": "Pod"})

        async with served(handle) as url, Client(Access((url,))) as client:
            await client.patch(PODS, "a", {"x": 1}, "ns", kind=APPLY, field_manager="me", force=True)
        assert seen == [("PATCH", "/api/v1/namespaces/ns/pods/a", {"fieldManager": "me", "force": "true"}, APPLY, {"x": 1})]

    asyncio.run(run())


def test_a_status_is_raised_as_it_was_said() -> None:
    async def run() -> None:
        async def handle(request: web.Request) -> web.Response:
            return web.json_response(not_found("", "pods", "a").status(), status=404)

        async with served(handle) as url, Client(Access((url,))) as client:
            with pytest.raises(ApiError, match='pods "a" not found') as caught:
                await client.get(PODS, "a", "ns")
        assert (caught.value.reason, caught.value.code, caught.value.details) == ("NotFound", 404, {"name": "a", "kind": "pods"})

    asyncio.run(run())


def test_the_next_server_is_asked_when_one_is_gone_and_all_gone_is_told() -> None:
    async def run() -> None:
        async def handle(request: web.Request) -> web.Response:
            return web.json_response({"kind": "Pod"})

        gone = f"http://127.0.0.1:{free_port()}"
        async with served(handle) as url, Client(Access((gone, url))) as client:
            assert await client.get(PODS, "a", "ns") == {"kind": "Pod"}
        async with Client(Access((gone,)), timeout_s=0.3) as client:
            with pytest.raises(Unreachable, match="no answer from"):
                await client.get(PODS, "a", "ns")

    asyncio.run(run())


def test_what_is_created_with_a_generated_name_is_made_once_though_the_answer_is_lost() -> None:
    """One index of a job ran twice where an API server was killed: asked again, the next one drew another name."""

    async def run() -> None:
        stored: dict[str, Any] = {}

        async def handle(request: web.Request) -> web.Response:
            if request.method == "GET":
                return web.json_response(stored[request.path.rpartition("/")[2]])
            pod = await request.json()
            name = pod["metadata"]["name"]
            if name in stored:
                return web.json_response(already_exists("", "pods", name).status(), status=409)
            stored[name] = pod
            if len(stored) == 1:
                assert request.transport is not None
                request.transport.abort()
            return web.json_response(pod, status=201)

        wanted = {"kind": "Pod", "metadata": {"generateName": "a-0-", "labels": {"index": "0"}}}
        async with served(handle) as url, Client(Access((url,))) as client:
            made = await client.create(PODS, wanted, "ns")
            assert list(stored) == [made["metadata"]["name"]]
            assert made["metadata"]["name"].startswith("a-0-")
            assert made["metadata"]["labels"] == {"index": "0"}
            assert "name" not in wanted["metadata"]

    asyncio.run(run())


def test_a_generated_name_that_is_another_s_is_drawn_anew() -> None:
    async def run() -> None:
        asked: list[str] = []

        async def handle(request: web.Request) -> web.Response:
            pod = await request.json()
            asked.append(pod["metadata"]["name"])
            if len(asked) < 3:
                return web.json_response(already_exists("", "pods", asked[-1]).status(), status=409)
            return web.json_response(pod, status=201)

        async with served(handle) as url, Client(Access((url,))) as client:
            made = await client.create(PODS, {"kind": "Pod", "metadata": {"generateName": "a-"}}, "ns")
        assert made["metadata"]["name"] == asked[2]
        assert len(set(asked)) == 3

    asyncio.run(run())


def test_a_watch_gives_events_across_chunks_and_raises_its_error() -> None:
    async def run() -> None:
        async def handle(request: web.Request) -> web.StreamResponse:
            assert request.query["sendInitialEvents"] == "true"
            answer = web.StreamResponse()
            await answer.prepare(request)
            for chunk in (
                b'{"type":"ADDED","object":{"a":1}}\n{"type":"BOOKMARK","obj',
                b'ect":{"metadata":{"annotations":{"k8s.io/initial-events-end":"true"}}}}\n',
                b'{"type":"ERROR","object":{"kind":"Status","reason":"Expired","code":410,"message":"too old"}}\n',
            ):
                await answer.write(chunk)
                await asyncio.sleep(0)
            return answer

        async with served(handle) as url, Client(Access((url,))) as client:
            seen = []
            with pytest.raises(ApiError, match="too old") as caught:
                async for event in client.watch(PODS, initial_events=True):
                    seen.append((event.type, event.ends_initial_events))  # noqa: PERF401 (it raises half-way)
            assert seen == [("ADDED", False), ("BOOKMARK", True)]
            assert caught.value.reason == "Expired"

    asyncio.run(run())
