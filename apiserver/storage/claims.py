"""Addresses and ports that one object holds and no other may: claimed before the object is written, given back if it is not, or when it goes.

The order makes a leak possible and a double use impossible: who dies between claim and write leaves a claim without an object, which `repair` finds.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

from apiserver.machinery.objects import Object

Claim = tuple[str, str]
"""(what kind: `ip`, `port`; which one)"""


class Allocator(Protocol):
    """One for each resource whose objects hold something."""

    def carry(self, new: Object, old: Object) -> None:
        """Before validation of an update: what a client left out stays as it was. In place."""

    async def claim(self, obj: Object, old: Object | None, *, dry_run: bool) -> tuple[Object, Set[Claim]]:
        """The object with everything it needs (a new one, or the argument), and what was claimed for it beyond what `old` holds.

        Raises ApiError (422), StoreError."""

    def held(self, obj: Object) -> Set[Claim]:
        """What a stored object holds."""

    async def release(self, claims: Set[Claim], obj: Object) -> None:
        """Give back what `obj` claimed. Harmless for what it does not hold. Raises StoreError."""


class Claims:
    """Those of one write, which may take several tries."""

    def __init__(self, allocator: Allocator | None, *, dry_run: bool) -> None:
        self._allocator = allocator
        self._dry_run = dry_run
        self._taken: set[Claim] = set()
        self._last: Object | None = None

    async def take(self, obj: Object, old: Object | None) -> Object:
        """Raises ApiError, StoreError."""
        if self._allocator is None:
            return obj
        self._last = obj
        complete, taken = await self._allocator.claim(obj, old, dry_run=self._dry_run)
        if not self._dry_run:
            self._taken |= taken
        return complete

    async def settle(self, old: Object | None, stored: Object | None) -> None:
        """Give back what nobody holds now. `old`: what a write has replaced, or a deletion removed; None if it came to nothing."""
        if self._allocator is None or self._dry_run:
            return
        kept = self._allocator.held(stored) if stored is not None else set()
        before = self._allocator.held(old) if old is not None else set()
        gone = (self._taken | before) - kept
        owner = stored or self._last or old
        if gone and owner is not None:
            await self._allocator.release(gone, owner)
