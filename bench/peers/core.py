"""Keelson's Raft core alone, without services and clients: the counterpart of pysyncobj, see `bench.raft_core`."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import raft_core
from bench.cases import FULL_SCALE, Scale
from bench.load.requests import PUT
from bench.load.tally import Measured
from bench.machine import commit
from bench.results import Case, PeerInfo


class RaftCore:
    name = "raft-core"

    def info(self) -> PeerInfo:
        size = raft_core.COMMAND_BYTES
        settings = f"Keelson's Raft, log and peer protocol in three processes, without services; {size}-byte commands are proposed inside "
        return PeerInfo(commit(), f"{settings}the leader; acknowledged once a majority has it on disk (fsync)")

    def can(self, case: Case) -> bool:
        return case.operation == PUT.name and case.at == "leader" and not case.tls and not case.percent

    @contextlib.contextmanager
    def start(self, folder: Path, members: int, *, tls: bool) -> "Iterator[Alone]":
        assert not tls and members == raft_core.MEMBERS
        yield Alone(folder)


class Alone:
    """Members that live for one case each."""

    processes: Sequence[int] = ()

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def alive(self) -> bool:
        return True

    def measure(self, case: Case, *, seconds: float, warm_up_s: float, seed: int, rate: float | None, scale: Scale = FULL_SCALE) -> Measured:
        try:
            return raft_core.measure(self._folder, in_flight=case.in_flight, warm_up_s=warm_up_s, seconds=seconds)
        except (raft_core.Disagreement, RuntimeError) as error:
            raise OSError(f"the Raft core failed: {error}") from error
