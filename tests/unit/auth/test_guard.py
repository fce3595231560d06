"""Who may do what, decided when an entry is applied: etcd AU-3, AU-8 to AU-10, L-14."""

from typing import Any

import msgspec
import pytest

from kvstore import errors
from kvstore.accounts import (
    CLUSTER,
    NOBODY_KNOWN,
    AuthDisable,
    Caller,
    Permission,
    RoleAsked,
    RoleGrantPermission,
    RoleRevokePermission,
    RolesAsked,
    StateAsked,
    UserAdd,
    UserAsked,
    UserChangePassword,
    UsersAsked,
)
from kvstore.model import AlarmChange, Compact, Compare, DeleteRange, LeaseGrant, LeaseRevoke, PublishMember, Put, Range, Txn
from kvstore.statemachine.commands import Envelope, decode_command, encode_command
from tests.unit.auth.book import READ, READWRITE, WRITE, Book, guarded_book

READ_R, WRITE_W, BOTH_B = Permission(READ, b"r"), Permission(WRITE, b"w"), Permission(READWRITE, b"b", b"c")
DENIED, ALLOWED = errors.PermissionDenied, type(None)


def verdict(book: Book, request: Any, caller: Caller) -> type[BaseException] | None:
    """Asked of the guard, so that what is allowed need not also work."""
    try:
        book.machine.guard.check(request, caller)
    except errors.StoreError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    "request_, expected",
    [
        (Put(b"w"), None),
        (Put(b"r"), DENIED),
        (Put(b"w", prev_kv=True), DENIED),
        (Put(b"b1", prev_kv=True), None),
        (Range(b"r"), None),
        (Range(b"r", b"s"), DENIED),
        (Range(b"b", b"c"), None),
        (Range(b"b", b"c\x00"), DENIED),
        (Range(b"b", b"\x00"), DENIED),
        (Range(b"w"), DENIED),
        (Range(b"w", count_only=True), DENIED),
        (DeleteRange(b"w"), None),
        (DeleteRange(b"w", prev_kv=True), DENIED),
        (DeleteRange(b"b", b"c", prev_kv=True), None),
        (DeleteRange(b"b", b"\x00"), DENIED),
        (Txn(), None),
        (Txn(compare=(Compare(0, 0, b"r"),), success=(Put(b"w"),)), None),
        (Txn(compare=(Compare(0, 0, b"w"),)), DENIED),
        (Txn(compare=(Compare(0, 0, b"r", range_end=b"s"),)), DENIED),
        (Txn(failure=(Put(b"r"),)), DENIED),
        (Txn(success=(Put(b"w", prev_kv=True),)), DENIED),
        (Txn(success=(Range(b"w"),)), DENIED),
        (Txn(success=(DeleteRange(b"r"),)), DENIED),
        (Txn(success=(Txn(failure=(Txn(compare=(Compare(0, 0, b"w"),)),)),)), DENIED),
        (Txn(success=(Txn(failure=(Txn(success=(Put(b"r"),)),)),)), DENIED),
        (Txn(success=(Txn(failure=(Txn(success=(Put(b"w"), Range(b"b", b"c"))),)),)), None),
        (LeaseGrant(7, 60), None),
        (Compact(1), DENIED),
        (AlarmChange(1, 1, 1), DENIED),
        (PublishMember(1, "m", ()), DENIED),
        (UserAdd("eve"), DENIED),
        (UserChangePassword("ann", b"hash"), DENIED),
        (AuthDisable(), DENIED),
        (UserAsked("ann"), None),
        (UserAsked("root"), DENIED),
        (UserAsked("nobody"), DENIED),
        (RoleAsked("ann"), None),
        (RoleAsked("root"), DENIED),
        (UsersAsked(), DENIED),
        (RolesAsked(), DENIED),
        (StateAsked(), DENIED),
    ],
)
def test_what_a_user_may(request_: Any, expected: type[BaseException] | None) -> None:
    book = guarded_book(READ_R, WRITE_W, BOTH_B)
    assert verdict(book, request_, book.now("ann")) is expected
    assert verdict(book, request_, book.now("root")) is None
    assert verdict(book, request_, CLUSTER) is None
    assert verdict(book, request_, NOBODY_KNOWN) is errors.UserEmpty


def test_every_kind_of_command_is_closed_to_nobody_known() -> None:
    """Also those that come later: what the guard has not heard of is root's."""
    book = guarded_book()
    kinds = {Put: Put(b"k"), Txn: Txn(), DeleteRange: DeleteRange(b"k"), LeaseRevoke: LeaseRevoke(1)}
    for request in [*kinds.values(), object()]:
        assert verdict(book, request, NOBODY_KNOWN) is errors.UserEmpty
    assert verdict(book, object(), book.now("ann")) is DENIED


def test_a_lease_is_his_who_may_write_all_its_keys() -> None:
    book = guarded_book(WRITE_W)
    book.do(LeaseGrant(7, 60), book.now("root"))
    book.do(Put(b"w", lease=7), book.now("ann"))
    assert verdict(book, LeaseRevoke(7), book.now("ann")) is None
    book.do(Put(b"r", lease=7), book.now("root"))
    assert verdict(book, LeaseRevoke(7), book.now("ann")) is DENIED
    assert verdict(book, Put(b"w", lease=7), book.now("ann")) is DENIED
    assert verdict(book, Txn(success=(Put(b"w", lease=7),)), book.now("ann")) is DENIED
    assert verdict(book, LeaseRevoke(9), book.now("ann")) is None  # there is no such lease: the state says so
    book.do(LeaseRevoke(7), CLUSTER)


def test_a_permission_taken_away_between_check_and_apply_is_not_used() -> None:
    book = guarded_book(permission := Permission(READWRITE, b"k"))
    asked = book.now("ann")
    book.do(Put(b"k", b"1"), asked)
    book.do(RoleRevokePermission("ann", permission.key), book.now("root"))
    assert isinstance(book.outcome(Put(b"k", b"2"), asked), errors.AuthOldRevision)
    assert isinstance(book.outcome(Put(b"k", b"2"), book.now("ann")), errors.PermissionDenied)
    book.do(RoleGrantPermission("ann", permission), book.now("root"))
    assert isinstance(book.outcome(Put(b"k", b"2"), asked), errors.AuthOldRevision)
    book.do(Put(b"k", b"3"), book.now("ann"))
    assert isinstance(book.outcome(Put(b"k", b"4"), Caller("root", asked.revision)), errors.AuthOldRevision)


def test_names_that_are_no_users() -> None:
    book = guarded_book()
    assert verdict(book, Put(b"k"), book.now("stranger")) is DENIED
    assert verdict(book, LeaseGrant(1, 1), book.now("stranger")) is DENIED
    assert verdict(book, Compact(1), book.now("stranger")) is errors.UserNotFound


def test_while_authentication_is_off_anything_goes() -> None:
    book = guarded_book()
    book.do(AuthDisable(), book.now("root"))
    book.do(Put(b"k"), NOBODY_KNOWN)
    book.do(UserAdd("eve", b"hash"), NOBODY_KNOWN)


def test_entries_of_before_there_were_users_are_nobodys() -> None:

    old = msgspec.msgpack.encode([1, 5, Put(b"k", b"v")])
    assert decode_command(old) == Envelope(1, 5, Put(b"k", b"v"), "", 0)
    assert decode_command(encode_command(5, Put(b"k"))).auth_revision == CLUSTER.revision
    assert decode_command(encode_command(5, Put(b"k"), "ann", 7)) == Envelope(1, 5, Put(b"k"), "ann", 7)
