"""componentstatuses, deprecated since v1.19 and still asked for (`kubectl get cs`): the health of scheduler, controller manager and store, as this
server finds it at that moment (pkg/registry/core/componentstatus).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import aiohttp
from msgspec import Struct
from yarl import URL

from apiserver.machinery.objects import Object
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError
from apiserver.streams.kubelets import told
from kvstore.client.client import Client
from kvstore.client.endpoints import TlsFiles
from kvstore.errors import StoreError

PROBE_TIMEOUT_S = 20.0
MESSAGE_BYTES_MAX = 10_000
STORE_KEY = b"/registry/health"


class Health(Struct, frozen=True):
    """`message` is what the component said, or why it said nothing; `error` is told of the store alone."""

    good: bool
    message: str = ""
    error: str = ""


Probe = Callable[[], Awaitable[Health]]


class ComponentStatuses:
    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = probes

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Raises ApiError."""
        probe = self._probes.get(name)
        if probe is None:
            raise ApiError("", f"Component not found: {name}", code=500)
        return _status(name, await probe())

    async def list(self, resource: Resource, namespace: str) -> list[Object]:
        found = await asyncio.gather(*(probe() for probe in self._probes.values()))
        return sorted(
            (_status(name, health) for name, health in zip(self._probes, found, strict=True)), key=lambda each: str(each["metadata"]["name"])
        )


def _status(name: str, health: Health) -> Object:
    told = {key: value for key, value in (("message", health.message), ("error", health.error)) if value}
    condition = {"type": "Healthy", "status": "True" if health.good else "False", **told}
    return {"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition]}


def probes(pages: Mapping[str, Sequence[str]], store_urls: Sequence[str], store_tls: TlsFiles | None) -> dict[str, Probe]:
    """`pages`: of a component, the health pages of its instances."""
    found: dict[str, Probe] = {name: _of_any(urls) for name, urls in pages.items()}
    for number, url in enumerate(store_urls):
        found[f"etcd-{number}"] = _of_store(url, store_tls)
    return found


def _of_any(urls: Sequence[str]) -> Probe:
    """A component is well as long as one of its instances is: another one takes over."""

    async def probe() -> Health:
        found = await asyncio.gather(*map(page_health, urls))
        return next((each for each in found if each.good), found[0])

    return probe


async def page_health(url: str) -> Health:
    """What an HTTP probe finds (pkg/probe/http). The certificate may be anybody's: it says nothing about how its owner is."""
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PROBE_TIMEOUT_S)) as session, session.get(url, ssl=False) as answer:
            if not 200 <= answer.status < 400:
                return Health(False, f"HTTP probe failed with statuscode: {answer.status}")
            return Health(True, (await answer.content.read(MESSAGE_BYTES_MAX)).decode(errors="replace"))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return Health(False, f'Get "{url}": {told(error, URL(url))}')


def _of_store(url: str, tls: TlsFiles | None) -> Probe:
    async def probe() -> Health:
        try:
            async with Client([url], tls=tls, timeout_s=PROBE_TIMEOUT_S) as client:
                await client.get(STORE_KEY)
        except (StoreError, OSError, TimeoutError) as error:
            return Health(False, error=str(error) or type(error).__name__)
        return Health(True, "ok")

    return probe
