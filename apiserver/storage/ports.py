"""Node ports: one map of bits under /registry/ranges/servicenodeports, changed in transactions (core/service/portallocator, allocator/storage)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable

from apiserver.machinery.objects import Object
from apiserver.storage.objects import Objects, Removed

PREFIX = "/registry/ranges/"
KEY = PREFIX + "servicenodeports"


class Taken(Exception):
    """The port is in use."""


class OutOfRange(Exception):
    pass


class Exhausted(Exception):
    """No port is left."""


class Ports:
    """`draw(n)` gives a number below n."""

    def __init__(self, objects: Objects, bounds: tuple[int, int], draw: Callable[[int], int]) -> None:
        self._objects = objects
        self.low, self.high = bounds
        self._draw = draw

    @property
    def text(self) -> str:
        return f"{self.low}-{self.high}"

    async def claim(self, wanted: int, *, dry_run: bool) -> int:
        """Raises Taken, OutOfRange, Exhausted, StoreError."""
        if wanted and not self.low <= wanted <= self.high:
            raise OutOfRange
        chosen = 0

        async def step(current: Object | None) -> Object | Removed:
            nonlocal chosen
            bits = self._bits(current)
            chosen = wanted or self._free(bits)
            if bits >> (chosen - self.low) & 1:
                raise Taken
            return self._object(current, bits | 1 << (chosen - self.low))

        if dry_run:
            row = await self._objects.get(PREFIX, KEY)
            await step(None if row is None else row.obj)
        else:
            await self._objects.update(PREFIX, KEY, step)
        return chosen

    async def release(self, ports: Iterable[int]) -> None:
        """Raises StoreError."""
        gone = 0
        for port in ports:
            if self.low <= port <= self.high:
                gone |= 1 << (port - self.low)

        async def step(current: Object | None) -> Object | Removed:
            bits = self._bits(current)
            if current is None or not bits & gone:
                raise _Nothing
            return self._object(current, bits & ~gone)

        try:
            await self._objects.update(PREFIX, KEY, step)
        except _Nothing:
            return

    async def used(self) -> set[int]:
        """Raises StoreError."""
        row = await self._objects.get(PREFIX, KEY)
        bits = self._bits(None if row is None else row.obj)
        return {port for port in range(self.low, self.high + 1) if bits >> (port - self.low) & 1}

    def _bits(self, obj: Object | None) -> int:
        # Another range was served before: its map says nothing of this one, and the repair makes a new one.
        if obj is None or obj.get("range") != self.text:
            return 0
        return int.from_bytes(base64.b64decode(obj.get("data") or ""), "big")

    def _object(self, current: Object | None, bits: int) -> Object:
        data = base64.b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, "big")).decode()
        meta = (current or {}).get("metadata") or {}
        return {"apiVersion": "v1", "kind": "RangeAllocation", "metadata": meta, "range": self.text, "data": data}

    def _free(self, bits: int) -> int:
        count = self.high - self.low + 1
        begin = self._draw(count)
        for number in range(count):
            at = (begin + number) % count
            if not bits >> at & 1:
                return self.low + at
        raise Exhausted


class _Nothing(Exception):
    pass
