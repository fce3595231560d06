"""What a member may be asked to make sure of before it serves: that its files are whole, and that it holds what its peers hold."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from keelson.cogs.logs import fields
from kvstore.server import inspector
from kvstore.server.loop import Runner
from kvstore.storage.engine import Corrupted, DiskFull
from kvstore.storage.lmdb_engine import LmdbDisk
from kvstore.storage.tables import open_state_tables

log = logging.getLogger("kvstore.server")

JOIN_AGAIN = "if other members are healthy, remove this member from the cluster and its data directory, and add it again"


def check_files(disk: LmdbDisk, *, defragment_mb: int, thorough: bool) -> None:
    """Before anything is opened. Raises Corrupted, naming the file and the place. An empty directory is fine."""
    state, raft_log = disk.directory / "state.mdb", disk.directory / "log.mdb"
    if not (state.exists() and raft_log.exists()):
        return
    if thorough:
        log.info("starting initial corruption check", extra=fields(data_dir=str(disk.directory)))
        found = inspector.run(state, 0, thorough=True, log=raft_log)
        if found.damage:
            raise Corrupted(f"{found.damage}; {JOIN_AGAIN}")
    if defragment_mb:
        _defragment(disk, defragment_mb << 20)


def _defragment(disk: LmdbDisk, threshold_bytes: int) -> None:
    engine = disk.open_state()
    open_state_tables(engine)
    before = engine.size_bytes()
    free = before - engine.size_in_use_bytes()
    engine.close()
    if free < threshold_bytes:
        log.info("skipping defragmentation", extra=fields(current_db_size_bytes=before, freeable_bytes=free, threshold_bytes=threshold_bytes))
        return
    try:
        engine = disk.defragment_state()
    except DiskFull as error:
        log.warning("not defragmented", extra=fields(error=str(error)))
        return
    log.info("finished defragmenting", extra=fields(before=before, after=engine.size_bytes()))
    engine.close()


async def compare_with_peers(runner: Runner, waiting: list[asyncio.Future[Any]], fatal: Callable[[str], None]) -> None:
    """The initial check: ends the member by `fatal` if its peers hold something else. Returns early when one of `waiting` is done."""
    future = runner.loop.create_future()
    runner.member.check_initially(future)
    runner.wake()
    await asyncio.wait([*waiting, future], return_when=asyncio.FIRST_COMPLETED)
    if not future.done():
        future.cancel()
        return
    error = future.exception()
    reason = str(error) if error is not None else future.result()
    if reason:
        log.error("initial corruption check failed", extra=fields(reason=reason))
        fatal(f"member {runner.member.id:x} is corrupt: {reason}; {JOIN_AGAIN}")
    else:
        log.info("initial corruption checking passed; no corruption")
