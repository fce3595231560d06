"""Two pods of one name are told from one that was replaced, by what the nodes' folders and processes say."""

import asyncio
import json
import os
from pathlib import Path

from keelson.cogs.tasks import TaskSet
from keelson.drills.whole.twins import Twins, running
from keelson.launcher import processes


def pod(nodes: Path, node: str, sandbox: str, name: str, namespace: str = "drill", pid: int | None = None, ended: bool = False) -> None:
    folder = nodes / node / "runtime" / "sandboxes" / sandbox
    container = folder / "containers" / "c"
    container.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"asked": {"name": name, "namespace": namespace}}))
    own = processes.identify(os.getpid())
    assert own is not None
    (folder / "shim.json").write_text(json.dumps({"pid": pid or own.pid, "started": own.start_ticks}))
    (container / "state.json").write_text("{}")
    if ended:
        (container / "exit.json").write_text("{}")


def test_only_what_runs_counts(tmp_path: Path) -> None:
    pod(tmp_path, "node1", "a", "db-0")
    pod(tmp_path, "node2", "b", "db-1")
    pod(tmp_path, "node2", "c", "db-0", ended=True)
    pod(tmp_path, "node3", "d", "db-1", pid=1)  # its keeper is gone, and another process has the number
    pod(tmp_path, "node3", "e", "db-1", namespace="other")
    assert running(tmp_path, "drill") == {"db-0": ["node1"], "db-1": ["node2"]}


def test_a_name_that_runs_twice_is_told(tmp_path: Path) -> None:
    async def looked() -> Twins:
        twins = Twins(tmp_path, "drill")
        looking = TaskSet("test")
        looking.start("twins", twins.run())
        async with asyncio.timeout(30):
            while not twins.looks:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
        await looking.close()
        return twins

    pod(tmp_path, "node1", "a", "db-0")
    pod(tmp_path, "node3", "b", "db-0")
    assert list(asyncio.run(looked()).seen) == ["db-0"]
