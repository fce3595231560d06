"""Addresses and ports that nobody holds, and those held without a claim: found and mended every few minutes (service/ipallocator/controller).

A claim is made before its service is written, so one without a service may be somebody's who is just writing: only what is seen twice, a round apart,
is taken for lost.
"""

from __future__ import annotations

import asyncio
import logging

from apiserver.app import App
from apiserver.handlers.services import IP, PORT, Services
from apiserver.machinery.objects import Object, name_of
from apiserver.storage import addresses, ports
from apiserver.storage.addresses import MANAGED_BY, owner
from apiserver.storage.claims import Claim
from keelson.cogs.logs import fields
from kvstore.errors import StoreError

log = logging.getLogger(__name__)

INTERVAL_S = 180.0
ADDRESSES = "ipaddresses.networking.k8s.io"


class Repair:
    def __init__(self, app: App, services: Services) -> None:
        self._app = app
        self._services = services
        self._suspected: set[Claim] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.once()
            except StoreError as error:
                log.warning("claims of services could not be repaired", extra=fields(error=str(error)))

    async def once(self) -> None:
        """One round. Raises StoreError, ApiError."""
        app = self._app
        claimed = await self._claimed()
        # The services after the claims: what was written meanwhile is seen.
        served = app.registry.by_qualified("services")
        assert served is not None
        await app.caches.of(served).reach(await app.caches.newest.revision())
        held: dict[Claim, Object] = {}
        for service in app.caches.list("services"):
            held.update(dict.fromkeys(self._services.held(service), service))
        lost = set(claimed) - set(held)
        for claim in sorted(lost & self._suspected):
            await self._services.release({claim}, claimed[claim])
            log.warning("a claim without a service was given back", extra=fields(kind=claim[0], value=claim[1]))
        self._suspected = lost
        for claim in sorted(set(held) - set(claimed)):
            await self._claim(claim, held[claim])

    async def _claimed(self) -> dict[Claim, Object]:
        """What is claimed, with the service that it was claimed for as far as that is known."""
        app = self._app
        served = app.registry.by_qualified(ADDRESSES)
        assert served is not None
        taken = await self._services.ports.used()
        await app.caches.of(served).reach(await app.caches.newest.revision())
        nobody: Object = {"metadata": {"name": "", "namespace": ""}}
        found: dict[Claim, Object] = {(PORT, str(port)): nobody for port in taken}
        for each in app.caches.list(ADDRESSES):
            if (each["metadata"].get("labels") or {}).get("ipaddress.kubernetes.io/managed-by") == MANAGED_BY:
                _, namespace, name = owner(each)
                found[(IP, name_of(each))] = {"metadata": {"name": name, "namespace": namespace}}
        return found

    async def _claim(self, claim: Claim, service: Object) -> None:
        kind, value = claim
        try:
            if kind == IP:
                await self._services.addresses.claim(service, value, dry_run=False)
            else:
                await self._services.ports.claim(int(value), dry_run=False)
        except (addresses.Taken, addresses.OutOfRange, ports.Taken, ports.OutOfRange):
            log.error("a service holds what is another's, or outside the range", extra=fields(service=name_of(service), kind=kind, value=value))
