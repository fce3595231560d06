"""How this machine reaches the balancers whose service wants to be reached on nodes that have one of its endpoints (externalTrafficPolicy Local).

Each such address leads over a node whose proxy says at healthCheckNodePort that it has some, as a cloud's balancer would find out. All others lead
where the whole range does.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from apiserver.machinery.objects import Object
from keelson.cogs import routes
from keelson.cogs.logs import fields
from keelson.cogs.routes import INTERVAL_S, Routes, ask_proxy

log = logging.getLogger(__name__)


class Ways:
    def __init__(self) -> None:
        self._wanted: dict[str, tuple[tuple[str, ...], int]] = {}
        """By address, the nodes' and the port at which their health is asked."""
        self._kept: dict[str, tuple[tuple[tuple[str, ...], int], Routes]] = {}
        self._left: set[str] = set()

    def change(self, service: Object, addresses: Sequence[str], nodes: Sequence[Object]) -> None:
        """What a service with these addresses wants now."""
        port = service["spec"].get("healthCheckNodePort")
        if service["spec"].get("externalTrafficPolicy") != "Local" or not port:
            self.leave(addresses)
            return
        gateways = tuple(sorted(address for node in nodes if (address := _internal(node))))
        for address in addresses:
            self._left.discard(address)
            self._wanted[address] = (gateways, int(port))

    def leave(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            self._wanted.pop(address, None)
            self._left.add(address)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except OSError as error:
                log.warning("the routes to load balancers cannot be changed", extra=fields(error=str(error)))
            await asyncio.sleep(INTERVAL_S)

    async def look(self) -> None:
        """Raises OSError, when all else is done."""
        while self._left:
            address = next(iter(self._left))
            self._kept.pop(address, None)
            if routes.way_to(f"{address}/32") is not None:
                await asyncio.to_thread(routes.forget, f"{address}/32")
            self._left.discard(address)
        failure = None
        for address, wanted in list(self._wanted.items()):
            if address not in self._kept or self._kept[address][0] != wanted:
                gateways, port = wanted
                self._kept[address] = wanted, Routes([f"{address}/32"], gateways, partial(ask_proxy, port=port))
            try:
                await self._kept[address][1].look()
            except OSError as error:
                failure = error
        if failure is not None:
            raise failure


def _internal(node: Object) -> str:
    listed = (node.get("status") or {}).get("addresses") or ()
    return next((str(each["address"]) for each in listed if each.get("type") == "InternalIP"), "")
