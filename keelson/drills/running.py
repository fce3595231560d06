"""Drills one after the other: which fault against which targets how often, into one result each."""

import asyncio
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from keelson.drills import drill, program
from keelson.drills.cluster import NotReady
from keelson.drills.drill import Settings
from keelson.drills.fault import Fault, Impossible
from keelson.drills.faults.registry import FAULTS
from keelson.drills.program import Program
from keelson.drills.progress import Progress
from keelson.drills.trial import Result, Target, medians
from kvstore.client.client import StoreError


def machine() -> dict[str, str | int]:
    """Where it ran: what a reader of its times has to know."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {"cpu": model or platform.machine(), "cores": os.cpu_count() or 0, "kernel": platform.release(), "python": platform.python_version()}


def run(name: str, programs: Sequence[Program], settings: Settings, trials: int, progress: Progress, keep: Path | None = None) -> Result:
    """Trials of the targets in turns: A B A B, so that a slow quarter of an hour of this machine meets both. Raises Refused."""
    kind = FAULTS[name]
    told = {key: value for key, value in msgspec.to_builtins(settings).items() if value is not None}
    targets = [Target(each.name, each.version, []) for each in programs]
    result = Result(name, kind.what, datetime.now(UTC).isoformat(timespec="seconds"), {**told, "trials": trials}, machine(), targets)
    for number in range(1, trials + 1):
        for each, target in zip(programs, targets, strict=True):
            if target.skipped:
                continue
            progress.begin(f"{name}  {each.name}" + (f" {number}/{trials}" if trials > 1 else ""))
            _one(kind(), each, target, msgspec.structs.replace(settings, seed=settings.seed + number - 1), progress, keep)
    for target in targets:
        target.medians = medians(target.trials)
    return result


def _one(fault: Fault, each: Program, target: Target, settings: Settings, progress: Progress, keep: Path | None) -> None:
    reason = fault.why_not(each)
    if reason is None:
        folder = None if keep is None else keep / f"{fault.name}-{each.name}-{settings.seed}"
        try:
            target.trials.append(asyncio.run(drill.run(fault, each, settings, progress, folder)))
        except Impossible as impossible:
            reason = str(impossible)
        except (NotReady, StoreError) as error:
            target.failed = str(error) or type(error).__name__
            progress.tell(f"FAILED: {target.failed}")
    if reason is not None:
        target.skipped = reason
        progress.tell(f"skipped: {reason}")


def find_programs(target: str, etcd: str) -> list[Program]:
    """`target`: keelson, etcd, or both. Raises Refused."""
    names = [program.KEELSON, program.ETCD] if target == "both" else [target]
    return [program.find(name, etcd) for name in names]
