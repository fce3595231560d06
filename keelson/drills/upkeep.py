"""What operators do to a cluster while it serves: members join, are promoted and leave, history is compacted, files are defragmented."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from typing import Any

from keelson.drills.cluster import Cluster, Member
from keelson.drills.fault import Tell
from kvstore.client.client import StoreError

CHANGE_TIMEOUT_S = 30.0
"""A learner is promoted once it has caught up; and a cluster that has just lost a member refuses changes for some seconds, as etcd does."""
RETRY_S = 0.2


async def grow_and_shrink(cluster: Cluster, stay_s: float, tell: Tell, made: Callable[[Member], None]) -> None:
    """A learner joins, is promoted, serves clients for `stay_s`, and is removed with its files; `made` is told of it before it starts. Raises
    StoreError, NotReady."""
    newcomer = cluster.make_member()
    made(newcomer)
    known = {member.peer_url: member.name for member in [*cluster.members, newcomer]}
    tell(f"{newcomer.name} added as a learner")
    answer = await insist(lambda: cluster.members[0].client.member_add([newcomer.peer_url], learner=True), CHANGE_TIMEOUT_S, RETRY_S)
    newcomer.initial_cluster = ",".join(f"{known[url]}={url}" for member in answer.members for url in member.peerURLs)
    newcomer.initial_cluster_state = "existing"
    try:
        newcomer.start()
        await newcomer.wait_ready()
        await insist(lambda: cluster.members[0].client.member_promote(answer.member.ID), CHANGE_TIMEOUT_S, RETRY_S)
        tell(f"{newcomer.name} promoted")
        cluster.members.append(newcomer)
        await asyncio.sleep(stay_s)
    finally:
        if newcomer in cluster.members:
            cluster.members.remove(newcomer)
        tell(f"{newcomer.name} removed")
        await insist(lambda: cluster.members[0].client.member_remove(answer.member.ID), CHANGE_TIMEOUT_S, RETRY_S)
        newcomer.stop()
        await newcomer.close_client()
        shutil.rmtree(newcomer.folder / newcomer.name, ignore_errors=True)


async def insist(change: Callable[[], Awaitable[Any]], timeout_s: float, retry_s: float) -> Any:
    """Ask for a change of membership until it is granted, at most for `timeout_s`. Raises StoreError."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            return await change()
        except StoreError:
            if time.monotonic() > deadline_s:
                raise
        await asyncio.sleep(retry_s)
