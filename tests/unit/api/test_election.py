"""The election service over gRPC, on the model of etcd."""

import grpc
import pytest

from kvstore.wire import messages as pb
from tests.unit.api.coordination import UNKNOWN, Coordination, header, reply

NO_LEADER_FIELD = '"leader" field must be provided'


def campaign(service: Coordination, lease: int, value: bytes) -> object:
    return service.ask("Campaign", pb.CampaignRequest(name=b"throne", lease=lease, value=value))


def key_value(key: bytes, create: int, mod: int, version: int, value: bytes, lease: int) -> object:
    return pb.KeyValue(key=key, create_revision=create, mod_revision=mod, version=version, value=value, lease=lease)


def test_the_first_candidate_leads(service: Coordination) -> None:
    leader = pb.LeaderKey(name=b"throne", key=b"throne/a", rev=2, lease=0xA)
    assert campaign(service, 0xA, b"one") == pb.CampaignResponse(header=header(2), leader=leader)
    found = service.ask("Leader", pb.LeaderRequest(name=b"throne"))
    assert found == pb.LeaderResponse(header=header(2), kv=key_value(b"throne/a", 2, 2, 1, b"one", 0xA))


def test_a_second_campaign_keeps_the_place_and_changes_the_value(service: Coordination) -> None:
    """The header is that of the first look, as in etcd, also when the value is then changed."""
    first = campaign(service, 0xA, b"one")
    service.served.wire.ask(pb.PutRequest(key=b"other"))
    assert campaign(service, 0xA, b"one") == pb.CampaignResponse(header=header(3), leader=first.leader)
    assert campaign(service, 0xA, b"two") == pb.CampaignResponse(header=header(3), leader=first.leader)
    found = service.ask("Leader", pb.LeaderRequest(name=b"throne"))
    assert found.kv == key_value(b"throne/a", 2, 4, 2, b"two", 0xA)


def test_the_next_candidate_leads_when_the_first_resigns(service: Coordination) -> None:
    first = campaign(service, 0xA, b"one")
    second = service.start("Campaign", pb.CampaignRequest(name=b"throne", lease=0xB, value=b"two"))
    assert service.waits(1)
    assert service.ask("Resign", pb.ResignRequest(leader=first.leader)) == pb.ResignResponse(header=header(4))
    leader = pb.LeaderKey(name=b"throne", key=b"throne/b", rev=3, lease=0xB)
    assert second.result() == pb.CampaignResponse(header=header(3), leader=leader)
    assert service.waits(0)


def test_a_candidate_that_leaves_is_no_candidate(service: Coordination) -> None:
    campaign(service, 0xA, b"one")
    waiting = service.start("Campaign", pb.CampaignRequest(name=b"throne", lease=0xB))
    assert service.waits(1)
    waiting.cancel()
    assert service.waits(0)
    assert service.served.wait_until(lambda backend: backend.model.revision == 4)
    assert service.keys() == [b"throne/a"]


def test_a_candidate_without_a_lease_any_more_wins_and_learns_it_later(service: Coordination) -> None:
    """A trap of etcd's service that clients must know: the answer does not prove that the key is still there."""
    campaign(service, 0xA, b"one")
    waiting = service.start("Campaign", pb.CampaignRequest(name=b"throne", lease=0xB))
    assert service.waits(1)
    service.revoke(0xB)
    service.revoke(0xA)
    leader = waiting.result().leader
    answer = service.call("Proclaim", pb.ProclaimRequest(leader=leader, value=b"me"))
    assert (answer.code, answer.text) == (UNKNOWN, "election: not leader")
    assert service.keys() == []


def test_proclamations_of_the_leader(service: Coordination) -> None:
    leader = campaign(service, 0xA, b"one").leader
    assert service.ask("Proclaim", pb.ProclaimRequest(leader=leader, value=b"two")) == pb.ProclaimResponse(header=header(3))
    assert service.ask("Leader", pb.LeaderRequest(name=b"throne")).kv.value == b"two"
    service.ask("Proclaim", pb.ProclaimRequest(leader=pb.LeaderKey(key=leader.key, rev=leader.rev), value=b"three"))
    kv = service.ask("Leader", pb.LeaderRequest(name=b"throne")).kv
    assert (kv.value, kv.lease not in (0, 0xA)) == (b"three", True), "a lease of its own, since none was given"


def test_after_the_loss_nothing_is_proclaimed_and_resigning_does_nothing(service: Coordination) -> None:
    leader = campaign(service, 0xA, b"one").leader
    service.revoke(0xA)
    service.grant(0xA)
    new = campaign(service, 0xA, b"again").leader
    assert new.key == leader.key
    answer = service.call("Proclaim", pb.ProclaimRequest(leader=leader, value=b"old"))
    assert (answer.code, answer.text) == (UNKNOWN, "election: not leader")
    assert service.ask("Resign", pb.ResignRequest(leader=leader)) == pb.ResignResponse(header=header(4))
    assert service.ask("Leader", pb.LeaderRequest(name=b"throne")).kv.value == b"again"


@pytest.mark.parametrize(
    "method, request_, text",
    [
        ("Campaign", pb.CampaignRequest(name=b"x", lease=404), "etcdserver: requested lease not found"),
        ("Campaign", pb.CampaignRequest(name=b"x", lease=0xA, value=b"v" * 1_600_000), "etcdserver: request is too large"),
        ("Leader", pb.LeaderRequest(name=b"x"), "election: no leader"),
        ("Leader", pb.LeaderRequest(), "election: no leader"),
        ("Proclaim", pb.ProclaimRequest(value=b"v"), NO_LEADER_FIELD),
        ("Proclaim", pb.ProclaimRequest(leader=pb.LeaderKey()), "etcdserver: key is not provided"),
        ("Proclaim", pb.ProclaimRequest(leader=pb.LeaderKey(key=b"k", rev=7, lease=0xA)), "election: not leader"),
        ("Proclaim", pb.ProclaimRequest(leader=pb.LeaderKey(key=b"k", lease=404)), "etcdserver: requested lease not found"),
        ("Resign", pb.ResignRequest(), NO_LEADER_FIELD),
        ("Resign", pb.ResignRequest(leader=pb.LeaderKey()), "etcdserver: key is not provided"),
    ],
)
def test_errors_have_lost_their_codes(service: Coordination, method: str, request_: object, text: str) -> None:
    answer = service.call(method, request_)
    assert (answer.code, answer.text) == (UNKNOWN, text)
    assert service.keys() == []


def test_an_observer_hears_of_leaders_and_what_they_proclaim(service: Coordination) -> None:
    observer = service.observe(b"throne")
    assert service.waits(1)
    service.served.wire.ask(pb.PutRequest(key=b"other"))
    one = campaign(service, 0xA, b"one").leader
    assert next(observer) == pb.LeaderResponse(header=header(3), kv=key_value(b"throne/a", 3, 3, 1, b"one", 0xA))
    assert service.waits(1)
    service.ask("Proclaim", pb.ProclaimRequest(leader=one, value=b"more"))
    assert next(observer) == pb.LeaderResponse(header=header(4), kv=key_value(b"throne/a", 3, 4, 2, b"more", 0xA))
    two = service.start("Campaign", pb.CampaignRequest(name=b"throne", lease=0xB, value=b"two"))
    assert service.waits(2)
    service.ask("Resign", pb.ResignRequest(leader=one))
    assert next(observer) == pb.LeaderResponse(header=header(6), kv=key_value(b"throne/b", 5, 5, 1, b"two", 0xB))
    assert two.result().leader.rev == 5
    late = service.observe(b"throne")
    assert next(late).kv.value == b"two"
    assert service.waits(2)
    late.cancel(), observer.cancel()
    assert service.waits(0)


def test_of_two_first_keys_of_one_transaction_an_observer_hears_the_first(service: Coordination) -> None:
    observer = service.observe(b"throne")
    assert service.waits(1)
    puts = [pb.RequestOp(request_put=pb.PutRequest(key=key)) for key in (b"throne/2", b"throne/1")]
    service.served.wire.ask(pb.TxnRequest(success=puts))
    assert next(observer).kv.key == b"throne/2"
    observer.cancel()


def test_an_observer_whose_history_is_gone_is_told(service: Coordination) -> None:
    observer = service.observe(b"throne")
    assert service.waits(1)

    def as_after_a_snapshot(backend: object) -> None:
        for stream in backend.streams:
            for watcher in stream.watchers.values():
                watcher.next_revision = 1
        backend.model.compact_revision = 2
        backend.tell()

    service.served.do(as_after_a_snapshot)
    with pytest.raises(grpc.RpcError) as caught:
        next(observer)
    assert (caught.value.code().value[0], caught.value.details()) == (UNKNOWN, "election: observe closed early")


def test_an_observer_that_does_not_read_holds_no_memory(service: Coordination) -> None:
    """Its updates wait in the state's history, not here; it gets all of them when it reads."""
    leader = campaign(service, 0xA, b"one").leader
    observer = service.observe(b"throne")
    assert service.waits(1)
    big = b"x" * 100_000
    for number in range(60):
        service.ask("Proclaim", pb.ProclaimRequest(leader=leader, value=big + b"%d" % number))
    values = [next(observer).kv.value.removeprefix(big) for _ in range(61)]
    assert values == [b"one", *(b"%d" % number for number in range(60))]
    observer.cancel()
    assert service.waits(0)


def test_over_the_gateway(service: Coordination) -> None:
    answer = service.served.http.post("/v3/election/campaign", {"name": "dA==", "lease": "10", "value": "dg=="})
    assert (answer.status, answer.json()["leader"]) == (200, {"name": "dA==", "key": "dC9h", "rev": "2", "lease": "10"})
    answer = service.served.http.post("/v3/election/leader", {"name": "bm9uZQ=="})
    text = "election: no leader"
    assert (answer.status, answer.json()) == (500, {"error": text, "code": 2, "message": text})


def test_a_candidate_may_campaign_twice_at_once(service: Coordination) -> None:
    """With one lease it is one key, and the later value counts."""
    campaign(service, 0xA, b"one")
    waiting = service.start("Campaign", pb.CampaignRequest(name=b"throne", lease=0xB, value=b"two"))
    assert service.waits(1)
    again = service.start("Campaign", pb.CampaignRequest(name=b"throne", lease=0xB, value=b"three"))
    assert service.waits(2)
    service.revoke(0xA)
    assert waiting.result().leader == again.result().leader
    assert reply(service.start("Leader", pb.LeaderRequest(name=b"throne"))).message.kv.value == b"three"
