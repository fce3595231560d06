"""Whether two pods of one name ever run at once: a member of a stateful set must not, whatever its node is cut off from.

What the API server says of pods proves nothing here, for a node that is cut off does not speak with it: the nodes' own folders and processes are
looked at.
"""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from agents.kubelet.runtime import shims

LOOK_S = 0.1


def running(nodes: Path, namespace: str) -> dict[str, list[str]]:
    """The nodes on which containers of a pod of each name run now, by name; a node twice if two pods of that name run there."""
    found: dict[str, list[str]] = defaultdict(list)
    for sandbox in nodes.glob("*/runtime/sandboxes/*"):
        with contextlib.suppress(OSError, ValueError, KeyError):  # it is being made, or taken away
            asked = json.loads((sandbox / "config.json").read_text())["asked"]
            if asked["namespace"] == namespace and shims.running_pid(sandbox) and any(_live(sandbox)):
                found[asked["name"]].append(sandbox.relative_to(nodes).parts[0])
    return found


def _live(sandbox: Path) -> Iterator[bool]:
    for container in (sandbox / "containers").iterdir():
        yield (container / "state.json").exists() and not (container / "exit.json").exists()


class Twins:
    """Looks until it is cancelled; `seen` tells of each name that ran twice, and where."""

    def __init__(self, nodes: Path, namespace: str) -> None:
        self._nodes, self._namespace = nodes, namespace
        self.seen: dict[str, str] = {}
        self.looks = 0

    async def run(self) -> None:
        while True:
            for name, places in (await asyncio.to_thread(running, self._nodes, self._namespace)).items():
                if len(places) > 1:
                    self.seen.setdefault(name, f"{name} on {' and '.join(places)}")
            self.looks += 1
            await asyncio.sleep(LOOK_S)
