"""The `kubernetes` Service and its endpoints: the API servers that live (pkg/controlplane/reconcilers/lease.go).

Each server keeps a key with a lease under /registry/masterleases; whoever looks writes the endpoints down from those that are there. A server that
was killed is gone after its lease, one that stops takes its key with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import msgspec

from apiserver.app import App
from apiserver.machinery.objects import Object, metadata, name_of
from apiserver.request import Change
from apiserver.storage.writer import SystemWriter
from keelson.cogs.logs import fields
from kvstore.client.client import Client
from kvstore.errors import LeaseNotFound, StoreError

log = logging.getLogger(__name__)

PREFIX = b"/registry/masterleases/"
LEASE_S = 15
INTERVAL_S = 5.0
NAME, NAMESPACE = "kubernetes", "default"
PORT = 443
SLICES = "endpointslices.discovery.k8s.io"
SLICE_LABELS = {"kubernetes.io/service-name": NAME}

Place = tuple[str, int]
"""Address and port of a server."""


class Masters:
    def __init__(self, app: App, client: Client, place: Place, service_address: str) -> None:
        self._app = app
        self._client = client
        self._place = place
        self._service_address = service_address
        self._lease = 0
        self._writer = SystemWriter(app)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.reconcile()
            except StoreError as error:
                log.warning("the endpoints of the API servers could not be written", extra=fields(error=str(error)))
            await asyncio.sleep(INTERVAL_S)

    async def leave(self) -> None:
        """This server stops: nobody is sent to it any more. Raises StoreError."""
        if self._lease:
            await self._client.lease_revoke(self._lease)
            self._lease = 0
            await self._write(await self.living())

    async def reconcile(self) -> None:
        """Raises StoreError."""
        await self._stay()
        await self._write(await self.living())

    async def _stay(self) -> None:
        if self._lease and (await self._client.keep_alive_once(self._lease)).TTL > 0:
            return
        self._lease = (await self._client.lease_grant(LEASE_S)).ID
        address, port = self._place
        value = {"kind": "Endpoints", "apiVersion": "v1", "metadata": {}, "subsets": [{"addresses": [{"ip": address}], "ports": [{"port": port}]}]}
        try:
            await self._client.put(PREFIX + f"{address}:{port}".encode(), msgspec.json.encode(value), lease=self._lease)
        except LeaseNotFound:
            self._lease = 0

    async def living(self) -> list[Place]:
        """Raises StoreError."""
        found = []
        for kv in (await self._client.get_prefix(PREFIX)).kvs:
            address, _, port = kv.key.decode().removeprefix(PREFIX.decode()).rpartition(":")
            if address and port.isdigit():
                found.append((address, int(port)))
        return sorted(found)

    async def _write(self, places: list[Place]) -> None:
        await self._put("services", service(self._service_address, self._place[1]), _keep)
        for each in endpoints(places):
            await self._put("endpoints", each, _replaced(each, ("subsets",)))
        wanted = slices(places)
        for each in wanted:
            await self._put(SLICES, each, _replaced(each, ("endpoints", "ports")))
        await self._remove_others({name_of(each) for each in wanted})

    async def _put(self, resource: str, obj: Object, change: Change) -> None:
        found = self._app.caches.get(resource, NAMESPACE, name_of(obj))
        if found is not None and change(found) is found:
            return
        if not await self._writer.create(resource, obj):
            await self._writer.update(resource, NAMESPACE, name_of(obj), change)

    async def _remove_others(self, kept: set[str]) -> None:
        """Slices of ports at which no server listens any more."""
        for each in list(self._app.caches.list(SLICES, NAMESPACE)):
            labels = metadata(each).get("labels") or {}
            if labels == SLICE_LABELS and name_of(each) not in kept and name_of(each).startswith(f"{NAME}-"):
                await self._client.delete(f"/registry/endpointslices/{NAMESPACE}/{name_of(each)}".encode())


def service(address: str, port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv6" if ":" in address else "IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": PORT, "protocol": "TCP", "targetPort": port}],
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    }


def by_port(places: Iterable[Place]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for address, port in sorted(places):
        found.setdefault(port, []).append(address)
    return dict(sorted(found.items()))


def endpoints(places: Iterable[Place]) -> list[Object]:
    subsets = [
        {"addresses": [{"ip": address} for address in addresses], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}
        for port, addresses in by_port(places).items()
    ]
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    meta = {"name": NAME, "namespace": NAMESPACE, "labels": labels}
    return [{"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": subsets}]


def slices(places: Iterable[Place]) -> list[Object]:
    """One for each port, since a slice has the same ports for all; the first has the service's name, as upstream's only one."""
    found = []
    for number, (port, addresses) in enumerate(by_port(places).items()):
        name = NAME if not number else f"{NAME}-{port}"
        found.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": name, "namespace": NAMESPACE, "labels": SLICE_LABELS},
                "addressType": "IPv6" if ":" in addresses[0] else "IPv4",
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }
        )
    return found


def _keep(found: Object) -> Object:
    return found


def _replaced(wanted: Object, names: tuple[str, ...]) -> Change:
    def change(found: Object) -> Object:
        if all(found.get(name) == wanted[name] for name in names):
            return found
        return {**found, **{name: wanted[name] for name in names}}

    return change
