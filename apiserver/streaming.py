"""Subresources that are streams through the server to a pod's node: log, exec, attach, port-forward."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

from aiohttp import web

from apiserver.app import App
from apiserver.config import Config, ConfigurationError
from apiserver.handlers import get, verbs, writing
from apiserver.handlers.call import Call
from apiserver.handlers.streams import Streams
from apiserver.machinery.objects import Object
from apiserver.streams.kubelets import Kubelets

Stream = Callable[[web.BaseRequest, Object], Awaitable[web.StreamResponse]]


def kubelet_tls(config: Config) -> ssl.SSLContext:
    """What this server shows to nodes, and whom it believes to be one. Raises ConfigurationError."""
    try:
        context = ssl.create_default_context(cafile=config.kubelet_certificate_authority or config.client_ca_file or None)
        if config.kubelet_client_certificate:
            context.load_cert_chain(config.kubelet_client_certificate, config.kubelet_client_key or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"--kubelet-client-certificate, --kubelet-certificate-authority: {error}") from None
    return context


def install(app: App, config: Config) -> Streams:
    """Returns what is to be closed at the end. Raises ConfigurationError."""

    async def node(name: str) -> Object | None:
        return app.caches.get("nodes", "", name)

    streams = Streams(Kubelets(node, kubelet_tls(config)))
    app.subresources[("pods", "log")] = _read(streams.log)
    for name, stream in (("exec", streams.exec), ("attach", streams.attach), ("portforward", streams.portforward)):
        app.subresources[("pods", name)] = _connect(stream)
    return streams


def _read(stream: Stream) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    async def handle(call: Call) -> web.StreamResponse:
        if call.info.verb != "get":
            raise verbs.not_allowed()
        return await stream(call.request, await get.stored(call))

    return handle


def _connect(stream: Stream) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    async def handle(call: Call) -> web.StreamResponse:
        if call.info.verb not in ("get", "create"):
            raise verbs.not_allowed()
        pod = await get.stored(call)
        await writing.admit_without_object(call, writing.write_of(call, "CONNECT", None, None, name=call.name))
        return await stream(call.request, pod)

    return handle
