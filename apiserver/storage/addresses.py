"""Service addresses: each one that is in use is an IPAddress object, whose name nobody can take twice (pkg/registry/core/service/ipallocator).

The low end of the range is left for addresses that somebody chooses; the rest is drawn at random, so that two servers seldom try the same one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from apiserver.machinery.objects import Object, name_of, namespace_of
from apiserver.storage.objects import Objects, Removed

PREFIX = "/registry/ipaddresses/"
STATIC_MIN, STATIC_MAX, STATIC_STEP = 16, 256, 16
TRIES_RANDOM = 64
MANAGED_BY = "ipallocator.k8s.io"


class Taken(Exception):
    """The address is somebody else's."""


class OutOfRange(Exception):
    pass


class Exhausted(Exception):
    """No address is left."""


class Addresses:
    """`now` and `new_uid` as the server makes them; `draw(n)` gives a number below n."""

    def __init__(self, objects: Objects, cidr: str, now: Callable[[], str], new_uid: Callable[[], str], draw: Callable[[int], int]) -> None:
        self._objects = objects
        self.network = ipaddress.ip_network(cidr)
        self._now, self._new_uid, self._draw = now, new_uid, draw
        self._used: Callable[[str], bool] = lambda _: False

    def look_first(self, used: Callable[[str], bool]) -> None:
        """What the watch cache knows to be in use is not tried: most tries then succeed even in a full range."""
        self._used = used

    @property
    def family(self) -> str:
        return f"IPv{self.network.version}"

    @property
    def first(self) -> str:
        """The API server's own."""
        return str(self.network[1])

    async def claim(self, service: Object, wanted: str, *, dry_run: bool) -> str:
        """Raises Taken, OutOfRange, Exhausted, StoreError."""
        if wanted:
            try:
                address = ipaddress.ip_address(wanted)
            except ValueError:
                raise OutOfRange from None
            if address not in self.network or address in (self.network.network_address, self.network.broadcast_address):
                raise OutOfRange
            if not dry_run and not await self._store(service, str(address)):
                raise Taken
            return str(address)
        size = self.network.num_addresses - 2
        static = min(max(STATIC_MIN, size // STATIC_STEP), STATIC_MAX)
        for low, count in ((static, size - static), (1, static)):
            for _ in range(TRIES_RANDOM):
                if count <= 0:
                    break
                text = str(self.network[low + 1 + self._draw(count) if low == static else low + self._draw(count)])
                if not self._used(text) and (dry_run or await self._store(service, text)):
                    return text
        for number in range(1, size + 1):
            text = str(self.network[number])
            if not self._used(text) and (dry_run or await self._store(service, text)):
                return text
        raise Exhausted

    async def _store(self, service: Object, address: str) -> bool:
        """Whether it is the service's now; also if it was before."""
        parent = {"group": "", "resource": "services", "namespace": namespace_of(service), "name": name_of(service)}
        obj: Object = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IPAddress",
            "metadata": {
                "name": address,
                "uid": self._new_uid(),
                "creationTimestamp": self._now(),
                "labels": {"ipaddress.kubernetes.io/ip-family": self.family, "ipaddress.kubernetes.io/managed-by": MANAGED_BY},
            },
            "spec": {"parentRef": parent},
        }
        if await self._objects.create(PREFIX, PREFIX + address, obj) is not None:
            return True
        found = await self._objects.get(PREFIX, PREFIX + address)
        return found is not None and (found.obj.get("spec") or {}).get("parentRef") == parent

    async def release(self, service: Object, address: str) -> None:
        """Raises StoreError."""

        async def step(current: Object | None) -> Object | Removed:
            parent = (current or {}).get("spec", {}).get("parentRef") or {}
            ours = (parent.get("resource"), parent.get("namespace"), parent.get("name")) == ("services", namespace_of(service), name_of(service))
            if current is None or not ours:
                raise _NotOurs
            return Removed(current)

        try:
            await self._objects.update(PREFIX, PREFIX + address, step)
        except _NotOurs:
            return


class _NotOurs(Exception):
    pass


def owner(address: Object) -> tuple[str, str, str]:
    """(resource, namespace, name) of who holds an IPAddress."""
    parent = (address.get("spec") or {}).get("parentRef") or {}
    return parent.get("resource", ""), parent.get("namespace", ""), parent.get("name", "")
