"""What containers that have ended leave on the node, their roots and their logs, and how much of it stays (kubelet's container garbage collection).

a pod lives or is done      of each name the newest dead container, for its log (--maximum-dead-containers-per-container=1)
it was evicted              nothing: the room is what it was evicted for
the disk is full            nothing of pods that are done; only then somebody is evicted
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from agents.kubelet import logs
from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import Runtime

KEPT_MAX = 1


def superfluous(history: Mapping[str, Sequence[base.Container]]) -> list[base.Container]:
    """`history`: a pod's containers by name, oldest first."""
    dead = ([each for each in containers if each.state == base.EXITED] for containers in history.values())
    return [each for containers in dead for each in containers[:-KEPT_MAX]]


async def remove(runtime: Runtime, containers: Iterable[base.Container]) -> None:
    """With their logs. Raises RuntimeRefused."""
    for each in containers:
        await runtime.remove_container(each.id)
        await asyncio.to_thread(logs.remove, Path(each.log_path))
