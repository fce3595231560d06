"""A `File` in memory that power cuts eat: of what was not synced, each sector is there or not, as chance has it."""

import random

from kvstore.storage.engine import EngineError
from kvstore.storage.file import SECTOR_BYTES


class MemoryFile:
    """`_seen` is what the system holds in memory and every process sees, `_durable` what a power cut leaves for certain."""

    name = "journal in memory"
    readonly = False

    def __init__(self, size_bytes: int) -> None:
        assert size_bytes % SECTOR_BYTES == 0, "whole sectors"
        self.size_bytes = size_bytes
        self.dies_in_sync = False
        """The next `sync` finds no power: it raises, and nothing is known of what was written. Then comes `power_cut`, or only the process died."""
        self._seen = bytearray(size_bytes)
        self._durable = bytearray(size_bytes)
        self._unsynced: set[int] = set()

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._seen[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        assert offset + len(data) <= self.size_bytes, "a file of fixed size"
        self._seen[offset : offset + len(data)] = data
        self._unsynced.update(range(offset // SECTOR_BYTES, (offset + len(data) - 1) // SECTOR_BYTES + 1))

    def sync(self) -> None:
        if self.dies_in_sync:
            raise EngineError("died in a sync (simulated)")
        for sector in self._unsynced:
            self._survives(sector)
        self._unsynced.clear()

    def write_through(self, offset: int, data: bytes) -> None:
        self.write(offset, data)
        self.sync()

    def _survives(self, sector: int) -> None:
        place = slice(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES)
        self._durable[place] = self._seen[place]

    def power_cut(self, rng: random.Random) -> None:
        for sector in sorted(self._unsynced):
            if rng.random() < 0.5:
                self._survives(sector)
        self._unsynced.clear()
        self._seen[:] = self._durable

    def close(self) -> None:
        pass
