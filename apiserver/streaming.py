"""What this server fetches from elsewhere: streams of pods (log, exec, attach, port-forward), whatever is proxied, what nodes measure, and how
components are."""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from apiserver.app import App
from apiserver.config import Config, ConfigurationError
from apiserver.handlers import computed, get, refusals, writing
from apiserver.handlers.call import Call
from apiserver.handlers.component_status import ComponentStatuses, probes
from apiserver.handlers.metrics_api import RESOURCES as METRICS
from apiserver.handlers.metrics_api import MetricsApi
from apiserver.handlers.proxy import Proxies
from apiserver.handlers.streams import Streams
from apiserver.machinery.objects import Object
from apiserver.registry.registry import Served
from apiserver.registry.strategy import Strategy
from apiserver.streams.kubelets import Kubelets
from keelson.cogs.reloading import CallingTls, Reloading

Stream = Callable[[web.BaseRequest, Object], Awaitable[web.StreamResponse]]


def install(app: App, config: Config, reloading: Reloading) -> Streams:
    """Returns what is to be closed at the end. Raises ConfigurationError."""

    async def node(name: str) -> Object | None:
        return app.caches.get("nodes", "", name)

    try:
        tls = CallingTls(config.kubelet_certificate_authority or config.client_ca_file, config.kubelet_client_certificate, config.kubelet_client_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"--kubelet-client-certificate, --kubelet-certificate-authority: {error}") from None
    reloading.add("certificates towards nodes", tls.paths, tls.refresh)
    kubelets = Kubelets(node, lambda: tls.newest)
    streams, proxies = Streams(kubelets), Proxies(kubelets, app.caches)
    app.subresources[("pods", "log")] = _read(streams.log)
    for name, stream in (("exec", streams.exec), ("attach", streams.attach), ("portforward", streams.portforward)):
        app.subresources[("pods", name)] = _connect(stream)
    for resource in ("pods", "services", "nodes"):
        app.subresources[(resource, "proxy")] = _proxy(proxies)
    metrics = MetricsApi(kubelets, app.caches, time.monotonic)
    for each in METRICS:
        app.registry.add(Served(resource=each, prefix="", storage_version=each.api_version, strategy=Strategy()))
        app.sources[each.qualified] = computed.handlers(metrics.get, metrics.list)
    components = ComponentStatuses(probes(config.component_health, config.etcd_servers, config.store_tls))
    app.sources["componentstatuses"] = computed.handlers(components.get, components.list)
    return streams


def _proxy(proxies: Proxies) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    async def handle(call: Call) -> web.StreamResponse:
        raw = call.request.rel_url.raw_path
        tail = raw.partition("/proxy")[2] if not call.info.tail else "/" + call.info.tail
        await writing.admit_without_object(call, writing.write_of(call, "CONNECT", None, None, name=call.name))
        return await proxies.serve(call.request, call.resource.plural, call.namespace, call.name, tail)

    return handle


def _read(stream: Stream) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    async def handle(call: Call) -> web.StreamResponse:
        if call.info.verb != "get":
            raise refusals.not_allowed()
        return await stream(call.request, await get.stored(call))

    return handle


def _connect(stream: Stream) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    async def handle(call: Call) -> web.StreamResponse:
        if call.info.verb not in ("get", "create"):
            raise refusals.not_allowed()
        pod = await get.stored(call)
        await writing.admit_without_object(call, writing.write_of(call, "CONNECT", None, None, name=call.name))
        return await stream(call.request, pod)

    return handle
