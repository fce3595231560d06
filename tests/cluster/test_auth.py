"""Three members with authentication on: a token of one is good at all, accounts survive what keys survive, and who was away guards from its first
answer."""

import asyncio
from collections.abc import Iterator

import pytest

from kvstore.client.authentication import Identity
from kvstore.client.client import Client
from kvstore.client.errors import WatchCanceled
from kvstore.errors import PermissionDenied, StoreError
from kvstore.wire import messages as pb
from tests.oracle.guarded import call
from tests.oracle.sides import Side
from tests.support import kinds
from tests.support.calls import METHOD_OF, OK, Reply, Wire
from tests.support.members import Cluster, Member, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

USER_EMPTY, DENIED, INVALID = "etcdserver: user name is empty", "etcdserver: permission denied", "etcdserver: invalid auth token"


class _At:
    """One member, asked as anybody."""

    def __init__(self, member: Member) -> None:
        self.wire = Wire(member.endpoint)

    def ask(self, request: object, token: str | None = None) -> Reply:
        side: Side = self  # type: ignore[assignment]
        return call(side, METHOD_OF[type(request)], request, token)  # type: ignore[index, arg-type]


def at(member: Member) -> _At:
    return _At(member)


def log_in(member: Member, name: str) -> str:
    reply = at(member).ask(pb.AuthenticateRequest(name=name, password=f"{name}-pw"))
    assert reply.message is not None, reply
    token: str = reply.message.token
    return token


def leader_of(cluster: Cluster, root: str) -> Member:
    """Members tell who leads only to users."""

    def find() -> Member | None:
        statuses = [(member, at(member).ask(pb.StatusRequest(), root).message) for member in cluster]
        return next((member for member, status in statuses if status and status.leader == status.header.member_id), None)

    return wait_until(find, 20, "a leader")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    kind = kinds.find(kinds.KEELSON)
    with Cluster(kind, tmp_path_factory.mktemp("guarded"), flags=["--bcrypt-cost=4", *kind.short_log(200, 50)]) as cluster:
        member = at(cluster[0])
        for request in (
            *(pb.AuthUserAddRequest(name=name, password=f"{name}-pw") for name in ("root", "ann", "tim")),
            pb.AuthUserGrantRoleRequest(user="root", role="root"),
            pb.AuthRoleAddRequest(name="r"),
            pb.AuthRoleGrantPermissionRequest(name="r", perm=pb.Permission(permType="READWRITE", key=b"a", range_end=b"b")),
            pb.AuthUserGrantRoleRequest(user="ann", role="r"),
            pb.AuthEnableRequest(),
        ):
            assert member.ask(request).code == OK
        yield cluster


def test_a_token_of_one_member_is_good_at_all_at_once(guarded: Cluster) -> None:
    everywhere = [at(member) for member in guarded]
    for number in range(30):
        token = log_in(guarded[number % 3], "ann")
        for member in everywhere:
            for request in (pb.RangeRequest(key=b"a", serializable=True), pb.RangeRequest(key=b"a"), pb.PutRequest(key=b"a", value=b"%d" % number)):
                assert member.ask(request, token).code == OK
            assert member.ask(pb.RangeRequest(key=b"z", serializable=True), token).text == DENIED


def test_a_change_of_permissions_holds_at_every_member_for_what_is_asked_after_it(guarded: Cluster) -> None:
    root, ann = log_in(guarded[0], "root"), log_in(guarded[0], "ann")
    everywhere = [at(member) for member in guarded]
    permission = pb.Permission(permType="READWRITE", key=b"x")
    for number in range(10):
        asked = everywhere[number % 3]
        assert asked.ask(pb.AuthRoleGrantPermissionRequest(name="r", perm=permission), root).code == OK
        for member in everywhere:
            assert member.ask(pb.RangeRequest(key=b"x"), ann).code == OK
            assert member.ask(pb.PutRequest(key=b"x"), ann).code == OK
        assert asked.ask(pb.AuthRoleRevokePermissionRequest(role="r", key=b"x"), root).code == OK
        for member in everywhere:
            assert member.ask(pb.RangeRequest(key=b"x"), ann).text == DENIED


def test_who_was_away_and_got_the_whole_state_guards_at_once(guarded: Cluster) -> None:
    """Also the keys that came, and the users that came, while it was away (AU-17)."""
    root = log_in(guarded[0], "root")
    leader = leader_of(guarded, root)
    away = next(member for member in guarded if member is not leader)
    away.kill()
    asked = at(leader)
    missed = asked.ask(pb.StatusRequest(), root).message.raftIndex + 1
    for request in (
        pb.AuthUserAddRequest(name="bob", password="bob-pw"),
        pb.AuthUserGrantRoleRequest(user="bob", role="r"),
        pb.AuthUserDeleteRequest(name="tim"),
    ):
        assert asked.ask(request, root).code == OK
    for number in range(400):  # more than the log keeps
        assert asked.ask(pb.PutRequest(key=b"a%d" % number, value=b"x" * 100), root).code == OK
    leader.wait_log_cut(missed)
    away.start()
    away.wait_ready()
    assert "applied snapshot" in away.log()
    back = at(away)
    for request in (pb.RangeRequest(key=b"a", serializable=True), pb.RangeRequest(key=b"a"), pb.PutRequest(key=b"a"), pb.StatusRequest()):
        assert back.ask(request).text == USER_EMPTY
    bob = log_in(away, "bob")
    assert back.ask(pb.RangeRequest(key=b"a0", serializable=True), bob).message.count == 1
    assert back.ask(pb.RangeRequest(key=b"z", serializable=True), bob).text == DENIED
    gone = back.ask(pb.AuthenticateRequest(name="tim", password="tim-pw"))
    assert gone.text == "etcdserver: authentication failed, invalid user ID or password"


def test_accounts_survive_a_restart_of_all_and_tokens_do_not(guarded: Cluster) -> None:
    old = log_in(guarded[0], "ann")
    for number in range(400):  # so that the entry of the token is cut off the log
        assert at(guarded[0]).ask(pb.PutRequest(key=b"a%d" % number), old).code == OK
    for member in guarded:
        member.kill()
    for member in guarded:
        member.start()
    for member in guarded:
        member.wait_ready()
        assert at(member).ask(pb.RangeRequest(key=b"a")).text == USER_EMPTY
    assert at(guarded[0]).ask(pb.RangeRequest(key=b"a"), old).text in (INVALID, "")
    new = log_in(guarded[1], "ann")
    assert at(guarded[2]).ask(pb.RangeRequest(key=b"a399"), new).message.count == 1


def test_leases_end_under_authentication_whoever_leads(guarded: Cluster) -> None:
    ann = log_in(guarded[0], "ann")
    asked = at(guarded[0])
    assert asked.ask(pb.LeaseGrantRequest(ID=7, TTL=2), ann).code == OK
    assert asked.ask(pb.PutRequest(key=b"a-leased", lease=7), ann).code == OK
    leader = leader_of(guarded, log_in(guarded[0], "root"))
    leader.kill()
    others = [at(member) for member in guarded.alive()]
    wait_until(lambda: _count(others[0], b"a-leased", log_in(guarded.alive()[0], "ann")) == 0, 30, "the lease ends", pause_s=0.3)
    leader.start()
    leader.wait_ready()


def _count(asked: _At, key: bytes, token: str) -> int | None:
    reply = asked.ask(pb.RangeRequest(key=key), token)
    return None if reply.message is None else reply.message.count


def test_the_client_logs_in_again_by_itself(guarded: Cluster) -> None:
    """Its calls, its watch and its lease go on through the end of its tokens, and none of them through the end of its permission."""

    async def scenario() -> None:
        endpoints = [member.endpoint for member in guarded]
        ann, root = Identity("ann", "ann-pw"), Identity("root", "root-pw")
        async with Client(endpoints, timeout_s=10, identity=ann) as client, Client(endpoints, timeout_s=10, identity=root) as admin:
            lease = (await client.lease_grant(3)).ID
            seen: list[bytes] = []
            renewals = 0
            renewed = asyncio.Event()

            async def follow() -> None:
                async for response in client.watch(b"a", b"b"):
                    seen.extend(event.kv.value for event in response.events)
                    if seen[-1:] == [b"last"]:
                        return

            async def renew() -> None:
                nonlocal renewals
                async for _ in client.keep_alive(lease):
                    renewals += 1
                    if renewals == 5:
                        renewed.set()
                        return

            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                group.create_task(follow(), name="follow")
                group.create_task(renew(), name="renew")
                await client.put(b"a", b"first", lease=lease)
                # The password stays the same, but all of ann's tokens are gone.
                await admin.auth("UserChangePassword", name="ann", password="ann-pw")
                await client.put(b"a", b"second", lease=lease)
                assert (await client.get(b"a")).kvs[0].value == b"second"
                for member in guarded:  # and so are everybody's, and the streams
                    member.kill()
                    member.start()
                    await asyncio.to_thread(member.wait_ready)
                while not seen:
                    await asyncio.sleep(0.05)
                    await _put(client, b"a", b"between")
                await renewed.wait()
                await _put(client, b"a", b"last")
            with pytest.raises(PermissionDenied):
                await client.get(b"z")
            with pytest.raises(WatchCanceled, match="permission denied"):
                async for _ in client.watch(b"z"):
                    raise AssertionError("what must not be read was told")

    asyncio.run(scenario())


async def _put(client: Client, key: bytes, value: bytes) -> None:
    """Until it is written: members are being restarted."""
    while True:
        try:
            await client.put(key, value)
            return
        except StoreError:
            await asyncio.sleep(0.05)
