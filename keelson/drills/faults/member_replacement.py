"""A member's machine is lost with its disk: it is removed from the cluster, and an empty one takes its place, under its name and address."""

import shutil

from keelson.drills.cluster import Cluster, Member
from keelson.drills.fault import Fault, Tell
from keelson.drills.upkeep import insist
from kvstore.client.client import Client

CHANGE_TIMEOUT_S = 20.0
"""A change of membership is refused for a while after a member was lost: etcd wants to have been connected to the others for 5 s."""
RETRY_S = 0.1


class MemberReplacement(Fault):
    name = "member-replacement"
    what = "a follower lost with its disk, removed, and an empty member added in its place"
    hold_s = 2.0

    _lost: Member

    async def inject(self, cluster: Cluster, tell: Tell) -> None:
        self._lost = (await cluster.followers())[0]
        tell(f"{self._lost.name}, a follower, killed; its disk is empty")
        await self._lost.kill()
        shutil.rmtree(self._lost.data)

    async def heal(self, cluster: Cluster, tell: Tell) -> None:
        lost = self._lost
        others = [member for member in cluster.members if member is not lost]
        async with Client([member.client_url for member in others], tls=lost.tls, timeout_s=5) as client:
            listed = (await client.members()).members
            tell(f"{lost.name} removed")
            await insist(lambda: client.member_remove(next(each.ID for each in listed if each.name == lost.name)), CHANGE_TIMEOUT_S, RETRY_S)
            tell(f"an empty {lost.name} added")
            answer = await insist(lambda: client.member_add([lost.peer_url]), CHANGE_TIMEOUT_S, RETRY_S)
        names = {member.peer_url: member.name for member in cluster.members}
        lost.initial_cluster = ",".join(f"{names[url]}={url}" for each in answer.members for url in each.peerURLs)
        lost.initial_cluster_state = "existing"
        await lost.close_client()
        await lost.restart()
        tell(f"{lost.name} serves")
