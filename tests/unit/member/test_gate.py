"""Authentication through a whole member: tokens come out of the log, reads are looked at when they are read, what the cluster itself wants passes."""

from typing import Any

import pytest

from kvstore import errors
from kvstore.accounts import (
    CLUSTER,
    NOBODY_KNOWN,
    AuthDisable,
    AuthEnable,
    Authenticate,
    Caller,
    Credentials,
    PasswordAsked,
    Permission,
    RoleAdd,
    RoleGrantPermission,
    UserAdd,
    UserChangePassword,
    UserDelete,
    UserGrantRole,
)
from kvstore.member.gate import Gate
from kvstore.member.requests import Barrier, Guarded, LeaseTime, ListLeases, ListMembers, RenewLease
from kvstore.model import LeaseRevoke, Put, Range, Txn
from kvstore.statemachine.machine import Machine
from tests.unit.member.test_member import Alone

SETUP = [
    UserAdd("root", b"hash"),
    UserGrantRole("root", "root"),
    UserAdd("ann", b"hash"),
    RoleAdd("r"),
    RoleGrantPermission("r", Permission(2, b"a", b"c")),
    UserGrantRole("ann", "r"),
    AuthEnable(),
]


class GuardedMember(Alone):
    """One member whose accounts are set up."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.lead()
        for command in SETUP:
            assert not isinstance(self.write(command), errors.StoreError)

    def _answer(self, token: str) -> Any:
        for _ in range(5):
            self.pump()
            if token in self.answers:
                return self.answers.pop(token)
            self.do_state_work()
        raise AssertionError(f"no answer to {token}")

    def write(self, command: Any, caller: Caller = CLUSTER) -> Any:
        self.member.propose(command, "write", caller)
        return self._answer("write")

    def read(self, request: Any, who: Any = None, *, serializable: bool = False) -> Any:
        read = self.member.read_serializable if serializable else self.member.read
        read(request if who is None else Guarded(request, who), "read")
        return self._answer("read")

    def log_in(self, name: str) -> Credentials:
        token = self.write(Authenticate(name, "abcdefghijklmnop", self.member.machine.accounts.revision))
        assert isinstance(token, str)
        return Credentials(token)

    def as_user(self, name: str) -> Caller:
        return Caller(name, self.member.machine.accounts.revision)


@pytest.mark.parametrize("serializable", [False, True])
def test_reads_are_looked_at(serializable: bool) -> None:
    alone = GuardedMember()
    ann = alone.log_in("ann")
    alone.write(Put(b"a", b"1"))
    for request in (Range(b"a"), Range(b"a", b"c"), Txn(success=(Range(b"a"),))):
        assert not isinstance(alone.read(request, ann, serializable=serializable), errors.StoreError)
        assert isinstance(alone.read(request, serializable=serializable), errors.UserEmpty)
        assert isinstance(alone.read(request, NOBODY_KNOWN, serializable=serializable), errors.UserEmpty)
        assert isinstance(alone.read(request, Credentials("x.1"), serializable=serializable), errors.InvalidAuthToken)
        assert not isinstance(alone.read(request, CLUSTER, serializable=serializable), errors.StoreError)
    for request in (Range(b"c"), Range(b"a", b"d"), Range(b"\x00", b"\x00"), Txn(success=(Range(b"c"),))):
        assert isinstance(alone.read(request, ann, serializable=serializable), errors.PermissionDenied)


def test_a_token_of_before_the_last_change_of_permissions_goes_on() -> None:
    alone = GuardedMember()
    ann = alone.log_in("ann")
    alone.write(RoleGrantPermission("r", Permission(2, b"z")))
    assert not isinstance(alone.read(Range(b"z"), ann), errors.StoreError)


def test_a_signed_token_of_before_does_not() -> None:
    alone = GuardedMember()
    signed = alone.as_user("ann")
    assert not isinstance(alone.read(Range(b"a"), signed), errors.StoreError)
    alone.write(RoleGrantPermission("r", Permission(2, b"z")))
    assert isinstance(alone.read(Range(b"a"), signed), errors.AuthOldRevision)
    assert isinstance(alone.write(Put(b"a"), signed), errors.AuthOldRevision)


@pytest.mark.parametrize("command", [UserDelete("ann"), UserChangePassword("ann", b"other"), AuthDisable()])
def test_what_ends_tokens(command: Any) -> None:
    alone = GuardedMember()
    ann = alone.log_in("ann")
    assert alone.member.identify(ann).name == "ann"
    alone.write(command)
    if isinstance(command, AuthDisable):
        assert alone.member.identify(ann) == NOBODY_KNOWN
        alone.write(AuthEnable())
    with pytest.raises(errors.InvalidAuthToken):
        alone.member.identify(ann)


def test_the_time_of_a_token() -> None:
    alone = GuardedMember(auth_token_ttl_s=5.0)
    ann = alone.log_in("ann")
    for _ in range(3):
        alone.tick(40)  # four seconds
        assert alone.member.identify(ann).name == "ann"
    alone.tick(60)
    with pytest.raises(errors.InvalidAuthToken):
        alone.member.identify(ann)


def test_a_certificate_names_whom_it_names() -> None:
    alone = GuardedMember()
    assert alone.member.identify(Credentials(None, "ann")) == alone.as_user("ann")
    assert alone.member.identify(Credentials(None, "")) == NOBODY_KNOWN
    assert isinstance(alone.read(Range(b"a"), Credentials(None, "stranger")), errors.PermissionDenied)


def test_leases_under_authentication() -> None:
    alone = GuardedMember()
    ann = alone.log_in("ann")
    alone.member.grant_lease(7, 60, "grant", alone.as_user("ann"))
    assert not isinstance(alone._answer("grant"), errors.StoreError)
    alone.write(Put(b"a", lease=7), alone.as_user("ann"))

    def ask(question: Any, who: Any) -> Any:
        alone.member.ask_lease(question, "ask", who)
        return alone._answer("ask")

    assert ask(RenewLease(7), ann) == 60
    assert ask(LeaseTime(7, True), ann).keys == [b"a"]
    assert alone.read(ListLeases(), ann) == [7]
    alone.write(Put(b"z", lease=7))
    assert isinstance(ask(RenewLease(7), ann), errors.PermissionDenied)
    assert isinstance(ask(LeaseTime(7, True), ann), errors.PermissionDenied)
    assert ask(LeaseTime(7, False), ann).ttl_s > 0
    assert isinstance(alone.read(ListLeases(), ann), errors.PermissionDenied)
    for request in (RenewLease(7), LeaseTime(7, False), LeaseTime(7, True), LeaseTime(9, True), RenewLease(9)):
        assert isinstance(ask(request, None), errors.UserEmpty)
        assert isinstance(ask(request, Credentials("x.1")), errors.InvalidAuthToken)
    assert isinstance(alone.read(ListLeases()), errors.UserEmpty)
    root = alone.log_in("root")
    assert ask(RenewLease(7), root) == 60
    assert ask(LeaseTime(7, True), root).keys == [b"a", b"z"]
    assert ask(RenewLease(9), ann) == 0


def test_a_lease_that_nobody_renews_ends_by_itself() -> None:
    """Its end is an entry of the cluster's own, which passes (AU-16)."""
    alone = GuardedMember()
    alone.member.grant_lease(7, 2, "grant", alone.as_user("root"))
    alone._answer("grant")
    alone.write(Put(b"z", lease=7), alone.as_user("root"))
    alone.tick(40, lambda: alone.do_state_work())
    assert alone.member.machine.leases == {}
    assert alone.read(Range(b"z"), CLUSTER).count == 0
    assert isinstance(alone.write(LeaseRevoke(7), alone.as_user("root")), errors.LeaseNotFound)


def test_members_are_listed_to_users_only() -> None:
    alone = GuardedMember()
    assert alone.read(ListMembers(), alone.log_in("ann")) == []
    assert isinstance(alone.read(ListMembers()), errors.UserEmpty)


def test_what_members_ask_themselves_passes() -> None:
    alone = GuardedMember()
    assert alone.read(Barrier()) is None
    assert alone.read(PasswordAsked("ann")).password_hash == b"hash"


def test_watches_are_looked_at_when_they_are_made() -> None:
    alone = GuardedMember()
    ann = alone.log_in("ann")
    alone.member.check_watch(b"a", b"c", ann)
    for key, end in [(b"c", b""), (b"a", b"\x00"), (b"\x00", b"\x00")]:
        with pytest.raises(errors.PermissionDenied):
            alone.member.check_watch(key, end, ann)
    with pytest.raises(errors.UserEmpty):
        alone.member.check_watch(b"a", b"", None)


def test_a_state_that_was_copied_guards_at_once() -> None:
    """A member that is sent the whole state has its accounts with it (AU-17); tokens stay where they are."""
    source = GuardedMember()
    source.member.machine.seal()
    source.member.machine.transaction.commit()
    machine = Machine(source.state)
    gate = Gate(300.0)
    ann = Caller("ann", machine.accounts.revision)
    assert gate.admit(machine, Guarded(Range(b"a"), ann), 0.0) == Range(b"a")
    for request, error in [
        (Range(b"a"), errors.UserEmpty),
        (Guarded(Range(b"z"), ann), errors.PermissionDenied),
        (Guarded(Range(b"a"), Credentials("x.1")), errors.InvalidAuthToken),
    ]:
        with pytest.raises(error):
            gate.admit(machine, request, 0.0)


def test_tokens_of_before_changes_that_came_as_a_whole_state_are_gone() -> None:
    """The member never applied the entry that deleted ann: it must not take her token for that."""
    member, elsewhere = GuardedMember(), GuardedMember()
    token = member.log_in("ann").token
    assert token is not None
    gate = member.member.gate
    gate.state_replaced(member.member.machine, member.member.machine)
    assert gate.tokens.user_of(token, 0.0) == "ann"
    elsewhere.write(UserDelete("ann"))
    gate.state_replaced(member.member.machine, elsewhere.member.machine)
    with pytest.raises(errors.InvalidAuthToken):
        gate.tokens.user_of(token, 0.0)
