"""The network between the members is cut: both directions, or one. Clients reach every member all the time."""

from collections.abc import Sequence

from keelson.drills.cluster import Cluster, Member
from keelson.drills.fault import Fault, Tell
from keelson.drills.network.network import Network, choose


class NetworkFault(Fault):
    """`network` is chosen when the drill begins, unless it was given before."""

    network: Network | None = None

    async def prepare(self, cluster: Cluster) -> None:
        if self.network is None:
            self.network = choose()
        await self.network.prepare(cluster)

    async def inject(self, cluster: Cluster, tell: Tell) -> None:
        leader = await cluster.leader()
        network = self._network
        for sender, receiver in self.cuts(leader, [member for member in cluster.members if member is not leader], tell):
            await network.cut(sender, receiver)

    def cuts(self, leader: Member, followers: list[Member], tell: Tell) -> Sequence[tuple[Member, Member]]:
        """Which directions to cut, as (sender, receiver); says so."""
        raise NotImplementedError

    async def heal(self, cluster: Cluster, tell: Tell) -> None:
        tell("the network is whole again")
        await self._network.mend()

    async def clean_up(self, cluster: Cluster) -> None:
        if self.network is not None:
            await self.network.close()

    @property
    def _network(self) -> Network:
        assert self.network is not None, "prepare comes first"
        return self.network


class Partition(NetworkFault):
    name = "partition"
    what = "the leader cut off from the other members, both ways"

    def cuts(self, leader: Member, followers: list[Member], tell: Tell) -> Sequence[tuple[Member, Member]]:
        tell(f"{leader.name}, the leader, cut off ({self._network.name})")
        return [pair for other in followers for pair in ((leader, other), (other, leader))]


class AsymmetricPartition(NetworkFault):
    """What check-quorum is for: followers hear their leader, so they would never elect another, and it can commit nothing."""

    name = "asymmetric-partition"
    what = "the leader can send to the others, and hears nobody"
    hold_s = 8.0  # one election timeout until it steps down, and up to two until the others campaign

    def cuts(self, leader: Member, followers: list[Member], tell: Tell) -> Sequence[tuple[Member, Member]]:
        tell(f"{leader.name}, the leader, hears nobody ({self._network.name})")
        return [(other, leader) for other in followers]


class DeafFollower(NetworkFault):
    """What pre-vote is for: it campaigns again and again, and must depose nobody, neither meanwhile nor when it is back."""

    name = "deaf-follower"
    what = "a follower can send to the others, and hears nobody"

    def cuts(self, leader: Member, followers: list[Member], tell: Tell) -> Sequence[tuple[Member, Member]]:
        deaf, *others = followers
        tell(f"{deaf.name}, a follower, hears nobody ({self._network.name})")
        return [(other, deaf) for other in (leader, *others)]
