"""As much of an API server as kubectl needs to reach pods' streams: discovery of pods, one pod, and the handlers under test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from apiserver.handlers.streams import Streams
from apiserver.machinery.status import ApiError
from apiserver.streams.kubelets import Kubelets
from tests.support.kubelet import FakeKubelet

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "default", "uid": "u-1", "resourceVersion": "1"},
    "spec": {
        "nodeName": "node-1",
        "containers": [{"name": "main", "image": "i"}],
        "initContainers": [{"name": "gone", "image": "i"}],
        "securityContext": {},
        "restartPolicy": "Always",
    },
    "status": {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
}
DISCOVERY = {
    "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get", "list", "watch"], "shortNames": ["po"]}
        ],
    },
}


@web.middleware
async def told(request: web.Request, handler: object) -> web.StreamResponse:
    try:
        return await handler(request)  # type: ignore[operator,no-any-return]
    except ApiError as error:
        return web.json_response(error.status(), status=error.code)


@asynccontextmanager
async def serving(kubelet: FakeKubelet, pod: dict[str, object] | None = None) -> AsyncIterator[str]:
    """The address of a server in front of `kubelet`."""
    known = pod or POD

    async def node(name: str) -> dict[str, object] | None:
        return kubelet.node() if name == "node-1" else None

    streams = Streams(Kubelets(node, None))
    app = web.Application(middlewares=[told])

    def document(path: str) -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.json_response(DISCOVERY[path])

        app.router.add_get(path, answer)

    for path in DISCOVERY:
        document(path)
    at = "/api/v1/namespaces/default/pods/p"

    async def get(_: web.Request) -> web.Response:
        return web.json_response(known)

    app.router.add_get(at, get)
    for name, handler in (("log", streams.log), ("exec", streams.exec), ("attach", streams.attach), ("portforward", streams.portforward)):

        async def bound(request: web.Request, handler: object = handler) -> web.StreamResponse:
            return await handler(request, known)  # type: ignore[operator,no-any-return]

        app.router.add_route("*", f"{at}/{name}", bound)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await streams.close()
        await runner.cleanup()


def kubeconfig(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig"
    path.write_text(
        f"""apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: c, cluster: {{server: "{server}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{}}}}]
"""
    )
    return path
