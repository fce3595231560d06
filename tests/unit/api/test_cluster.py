"""The Cluster service: URLs checked as etcd checks them, answers with all members, errors with etcd's codes."""

import pytest

from kvstore.wire import messages as pb
from tests.model.backend import CLUSTER, MEMBER, TERM
from tests.unit.api.served import Served

HEADER = pb.ResponseHeader(cluster_id=CLUSTER, member_id=MEMBER, raft_term=TERM)


def test_the_life_of_a_member(served: Served) -> None:
    call = served.wire.call
    added = call("Cluster/MemberAdd", pb.MemberAddRequest(peerURLs=["http://b:2", " http://a:1"], isLearner=True)).message
    assert added is not None
    answer = pb.MemberAddResponse.FromString(added)
    assert answer.header == HEADER, "no revision in it"
    assert (answer.member.name, list(answer.member.peerURLs), answer.member.isLearner) == ("", ["http://a:1", "http://b:2"], True)
    assert [member.ID for member in answer.members] == [answer.member.ID, MEMBER]
    promoted = pb.MemberPromoteResponse.FromString(call("Cluster/MemberPromote", pb.MemberPromoteRequest(ID=answer.member.ID)).message)
    assert [member.isLearner for member in promoted.members] == [False, False]
    updated = pb.MemberUpdateResponse.FromString(
        call("Cluster/MemberUpdate", pb.MemberUpdateRequest(ID=answer.member.ID, peerURLs=["https://c:3"])).message
    )
    assert list(updated.members[0].peerURLs) == ["https://c:3"]
    removed = pb.MemberRemoveResponse.FromString(call("Cluster/MemberRemove", pb.MemberRemoveRequest(ID=answer.member.ID)).message)
    assert [member.ID for member in removed.members] == [MEMBER]
    assert removed.header == HEADER


def test_refusals(served: Served) -> None:
    call = served.wire.call
    taken = call("Cluster/MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:2380"]))
    assert (taken.code, taken.text) == (9, "etcdserver: Peer URLs already exists")
    unknown = call("Cluster/MemberRemove", pb.MemberRemoveRequest(ID=404))
    assert (unknown.code, unknown.text) == (5, "etcdserver: member not found")


@pytest.mark.parametrize(
    "urls",
    [
        [],
        [""],
        ["foo"],
        ["http://127.0.0.1"],
        ["http://:2380"],
        ["http://127.0.0.1:port"],
        ["http://127.0.0.1:2380/"],
        ["http://127.0.0.1:2380/path"],
        ["http://user@127.0.0.1:2380"],
        ["ftp://127.0.0.1:2380"],
        ["http://127.0.0.1:2380", "bad"],
        ["http://[::1"],
    ],
)
@pytest.mark.parametrize("method", ["MemberAdd", "MemberUpdate"])
def test_urls_that_are_none(served: Served, urls: list[str], method: str) -> None:
    request = pb.MemberAddRequest(peerURLs=urls) if method == "MemberAdd" else pb.MemberUpdateRequest(ID=1, peerURLs=urls)
    refused = served.wire.call(f"Cluster/{method}", request)
    assert (refused.code, refused.text) == (3, "etcdserver: given member URLs are invalid")
