"""Addresses for pods out of the node's own range, kept on disk: one file an address, with the
sandbox that holds it (what the CNI plugin host-local does).

The first address is the bridge's. Addresses are given out in turn, so that one that was just freed rests as long as possible.
"""

import contextlib
import os
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path


class RangeExhausted(Exception):
    """Every address of the node's range is taken."""


class Addresses:
    def __init__(self, folder: Path, pod_range: str) -> None:
        self.folder = folder
        self.network = IPv4Network(pod_range)
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def gateway(self) -> str:
        return str(self.network.network_address + 1)

    def allocate(self, sandbox_id: str) -> str:
        """Raises RangeExhausted."""
        first, last = int(self.network.network_address) + 2, int(self.network.broadcast_address) - 1
        start = self._last() + 1
        count = last - first + 1
        for step in range(max(count, 0)):
            address = str(IPv4Address(first + (start - first + step) % count))
            try:
                fd = os.open(self.folder / address, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                continue
            with os.fdopen(fd, "w") as file:
                file.write(sandbox_id)
            (self.folder / "last_reserved_ip").write_text(address)
            return address
        raise RangeExhausted(f"no IP addresses available in range set: {self.network}")

    def _last(self) -> int:
        try:
            return int(IPv4Address((self.folder / "last_reserved_ip").read_text().strip()))
        except (OSError, ValueError):
            return int(self.network.network_address) + 1

    def release(self, sandbox_id: str) -> None:
        for address, holder in self.held().items():
            if holder == sandbox_id:
                (self.folder / address).unlink(missing_ok=True)

    def held(self) -> dict[str, str]:
        """Sandbox by address."""
        found = {}
        for path in self.folder.iterdir():
            with contextlib.suppress(ValueError, OSError):
                found[str(IPv4Address(path.name))] = path.read_text()
        return found

    def keep_only(self, sandboxes: Collection[str]) -> None:
        """Addresses of sandboxes that are no more (lost in a crash) are free again."""
        for address, holder in self.held().items():
            if holder not in sandboxes:
                (self.folder / address).unlink(missing_ok=True)
