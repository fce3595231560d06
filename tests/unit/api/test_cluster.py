"""The Cluster service: URLs checked as etcd checks them, answers with all members, errors with etcd's codes."""

import pytest

from kvstore.wire import messages as pb
from tests.model.backend import CLUSTER, MEMBER, TERM
from tests.unit.api.served import Served

HEADER = pb.ResponseHeader(cluster_id=CLUSTER, member_id=MEMBER, raft_term=TERM)


def test_the_life_of_a_member(served: Served) -> None:
    ask = served.wire.ask
    answer = ask(pb.MemberAddRequest(peerURLs=["http://b:2", " http://a:1"], isLearner=True))
    assert answer.header == HEADER, "no revision in it"
    assert (answer.member.name, list(answer.member.peerURLs), answer.member.isLearner) == ("", ["http://a:1", "http://b:2"], True)
    assert [member.ID for member in answer.members] == [answer.member.ID, MEMBER]
    promoted = ask(pb.MemberPromoteRequest(ID=answer.member.ID))
    assert [member.isLearner for member in promoted.members] == [False, False]
    updated = ask(pb.MemberUpdateRequest(ID=answer.member.ID, peerURLs=["https://c:3"]))
    assert list(updated.members[0].peerURLs) == ["https://c:3"]
    removed = ask(pb.MemberRemoveRequest(ID=answer.member.ID))
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
