"""A cluster whose members come and go, by the commands an operator gives: add and start one, promote it, remove one."""

from google.protobuf.message import Message

from kvstore.wire import messages as pb
from tests.support.calls import Wire
from tests.support.members import Cluster, Member, wait_until

CHANGE_TIMEOUT_S = 30.0


def asked(cluster: Cluster, request: Message) -> Message:
    """The answer of a member that runs, asked again while members are not healthy for long enough or no leader is known."""
    method = {
        pb.MemberAddRequest: "MemberAdd",
        pb.MemberPromoteRequest: "MemberPromote",
        pb.MemberRemoveRequest: "MemberRemove",
        pb.MemberUpdateRequest: "MemberUpdate",
    }[type(request)]

    def answer() -> Message | None:
        wire = Wire(cluster.alive()[0].endpoint, cluster.tls)
        try:
            reply = wire.call(f"Cluster/{method}", request)
        finally:
            wire.close()
        if reply.message is not None:
            return reply.message
        again = ("unhealthy", "no leader", "timed out", "in sync", "leader changed")
        assert reply.code in (14, 4) or any(word in reply.text for word in again), reply
        return None

    return wait_until(answer, CHANGE_TIMEOUT_S, f"{method} is granted", 0.2)


def listed(cluster: Cluster) -> dict[str, pb.Member]:
    """Members by their peer URL."""
    wire = Wire(cluster.alive()[0].endpoint, cluster.tls)
    answer = wire.ask(pb.MemberListRequest(linearizable=True), 20)
    wire.close()
    return {member.peerURLs[0]: member for member in answer.members}


def prepared(cluster: Cluster, name: str, flags: list[str] | None = None) -> Member:
    """A member that is to join; its list is of those that the cluster's object knows, and itself."""
    member = Member(cluster.kind, name, cluster.folder, cluster.tls, cluster[0].flags if flags is None else flags)
    member.initial_cluster_state = "existing"
    member.initial_cluster_token = cluster[0].initial_cluster_token
    member.initial_cluster = ",".join(f"{known.name}={known.peer_url}" for known in [*cluster, member])
    return member


def add(cluster: Cluster, name: str, *, learner: bool = False) -> Member:
    """Add, start, and wait until it serves."""
    member = prepared(cluster, name)
    asked(cluster, pb.MemberAddRequest(peerURLs=[member.peer_url], isLearner=learner))
    cluster.members.append(member)
    member.start()
    member.wait_ready()
    return member


def promote(cluster: Cluster, member: Member) -> None:
    asked(cluster, pb.MemberPromoteRequest(ID=listed(cluster)[member.peer_url].ID))


def remove(cluster: Cluster, member: Member) -> None:
    """Remove; a process that runs ends by itself, as etcd's does, with status 0."""
    ran = member.alive()
    known = listed(cluster)[member.peer_url].ID
    cluster.members.remove(member)
    asked(cluster, pb.MemberRemoveRequest(ID=known))
    if ran:
        assert member.wait_exit() == 0, member.log_tail()
        assert "the member has been permanently removed from the cluster" in member.log()
