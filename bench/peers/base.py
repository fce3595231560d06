"""What a system under measurement is to `compare`: how it is called, how it is started, and how a load is put on it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from bench.cases import FULL_SCALE, Scale
from bench.load.tally import Measured
from bench.results import Case, PeerInfo


class Missing(Exception):
    """A system to be measured is not installed; the text says what to do."""


class Standing(Protocol):
    """A cluster that serves and has the keys that reads choose from."""

    @property
    def processes(self) -> Sequence[int]:
        """The leader first."""
        ...

    def alive(self) -> bool: ...

    def measure(self, case: Case, *, seconds: float, warm_up_s: float, seed: int, rate: float | None, scale: Scale = FULL_SCALE) -> Measured:
        """Raises ConnectionBroken, OSError or TimeoutError if the load cannot be put on."""
        ...


class Peer(Protocol):
    name: str

    def info(self) -> PeerInfo: ...

    def can(self, case: Case) -> bool: ...

    def start(self, folder: Path, members: int, *, tls: bool) -> AbstractContextManager[Standing]:
        """A fresh cluster with its data under `folder`, which ends with the context, whatever happens."""
        ...
