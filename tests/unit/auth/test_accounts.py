"""Users and roles through the state machine: etcd AU-1, AU-2, AU-11 to AU-15, AU-17."""

import pytest

from kvstore import errors
from kvstore.accounts import (
    AuthDisable,
    AuthEnable,
    Authenticate,
    AuthState,
    PasswordAsked,
    Permission,
    RoleAdd,
    RoleAsked,
    RoleDelete,
    RoleGrantPermission,
    RoleRevokePermission,
    RolesAsked,
    StateAsked,
    UserAdd,
    UserAsked,
    UserChangePassword,
    UserDelete,
    UserGrantRole,
    UserRevokeRole,
    UsersAsked,
)
from kvstore.storage.engine import EngineError
from tests.unit.auth.book import READ, READWRITE, WRITE, Book, guarded_book


def answer(book: Book, question: object) -> object:
    return book.machine.account_answers[type(question)](question)


def test_enabling_needs_a_root_with_the_root_role() -> None:
    book = Book()
    assert isinstance(book.outcome(AuthEnable()), errors.RootUserNotExist)
    book.do(UserAdd("root", b"hash"))
    assert isinstance(book.outcome(AuthEnable()), errors.RootRoleNotExist)
    book.do(UserGrantRole("root", "root"))  # the role itself need not exist
    book.do(AuthEnable())
    book.do(AuthEnable())
    assert answer(book, StateAsked()) == AuthState(True, 3)
    assert answer(book, RolesAsked()) == []


def test_the_revision_counts_changes_and_nothing_else() -> None:
    book = Book()
    assert book.revision == 1
    book.add_root()
    assert book.revision == 3
    book.do(UserGrantRole("root", "root"))
    book.do(AuthEnable())
    assert book.revision == 3
    assert isinstance(book.outcome(UserAdd("root")), errors.UserAlreadyExists)
    assert book.revision == 3
    book.do(AuthDisable())
    assert book.revision == 4
    book.do(AuthDisable())
    assert book.revision == 4


def test_changes_of_users() -> None:
    book = Book()
    book.add("zoe")
    book.add("ann")
    assert answer(book, UsersAsked()) == ["ann", "zoe"]
    book.do(UserGrantRole("ann", "zoe"))
    assert answer(book, UserAsked("ann")) == ("ann", "zoe")
    book.do(UserRevokeRole("ann", "ann"))
    assert answer(book, UserAsked("ann")) == ("zoe",)
    book.do(UserDelete("zoe"))
    assert answer(book, UsersAsked()) == ["ann"]


@pytest.mark.parametrize(
    "command, error",
    [
        (UserAdd(""), errors.UserEmpty),
        (UserAdd("ann"), errors.UserAlreadyExists),
        (UserDelete("bob"), errors.UserNotFound),
        (UserDelete("root"), errors.InvalidAuthManagement),
        (UserChangePassword("bob", b"hash"), errors.UserNotFound),
        (UserGrantRole("bob", "ann"), errors.UserNotFound),
        (UserGrantRole("ann", "none"), errors.RoleNotFound),
        (UserRevokeRole("bob", "ann"), errors.UserNotFound),
        (UserRevokeRole("ann", "root"), errors.RoleNotGranted),
        (UserRevokeRole("root", "root"), errors.InvalidAuthManagement),
        (RoleAdd(""), errors.RoleEmpty),
        (RoleAdd("ann"), errors.RoleAlreadyExists),
        (RoleDelete("none"), errors.RoleNotFound),
        (RoleDelete("root"), errors.InvalidAuthManagement),
        (RoleGrantPermission("none", None), errors.PermissionNotGiven),
        (RoleGrantPermission("none", Permission(READ, b"")), errors.InvalidAuthManagement),
        (RoleGrantPermission("none", Permission(READ, b"a")), errors.RoleNotFound),
        (RoleRevokePermission("none", b"a"), errors.RoleNotFound),
        (RoleRevokePermission("ann", b"a", b"b"), errors.PermissionNotGranted),
    ],
)
def test_what_cannot_be_done_changes_nothing(command: object, error: type[errors.StoreError]) -> None:
    book = guarded_book(Permission(READ, b"a", b"c"))
    before = book.revision, book.machine.accounts.users.copy(), book.machine.accounts.roles.copy()
    assert type(book.outcome(command)) is error
    assert before == (book.revision, book.machine.accounts.users, book.machine.accounts.roles)


def test_root_may_go_while_authentication_is_off() -> None:
    book = Book()
    book.add_root()
    book.do(RoleAdd("root"))
    book.do(RoleDelete("root"))
    assert answer(book, UserAsked("root")) == ()
    book.do(UserDelete("root"))


def test_permissions_are_told_in_order_and_replaced_by_their_range() -> None:
    book = Book()
    book.do(RoleAdd("r"))
    for permission in (Permission(READ, b"b"), Permission(WRITE, b"a", b"c"), Permission(READ, b"a", b"b"), Permission(READWRITE, b"b")):
        book.do(RoleGrantPermission("r", permission))
    assert answer(book, RoleAsked("r")) == (Permission(READ, b"a", b"b"), Permission(WRITE, b"a", b"c"), Permission(READWRITE, b"b"))
    book.do(RoleRevokePermission("r", b"a", b"c"))
    assert answer(book, RoleAsked("r")) == (Permission(READ, b"a", b"b"), Permission(READWRITE, b"b"))


def test_a_role_that_is_deleted_is_nobodys_any_more() -> None:
    book = Book()
    book.add("ann", Permission(READ, b"a"))
    book.do(RoleDelete("ann"))
    assert answer(book, UserAsked("ann")) == ()


def test_what_a_password_is_checked_against() -> None:
    book = Book()
    with pytest.raises(errors.AuthNotEnabled):
        answer(book, PasswordAsked("root"))
    book.add_root()
    book.do(UserAdd("door", b"a hash that does not count", no_password=True))
    book.do(UserChangePassword("door", b"another"))
    book.do(AuthEnable())
    assert book.machine.accounts.users["door"].password_hash == b""
    with pytest.raises(errors.NoPasswordUser):
        answer(book, PasswordAsked("door"))
    assert answer(book, PasswordAsked("nobody")).password_hash == b""
    assert answer(book, PasswordAsked("root")).password_hash == b"hash"


def test_a_token_is_assigned_only_for_the_accounts_that_the_password_was_held_against() -> None:
    book = guarded_book()
    seen = book.revision
    token = book.do(Authenticate("ann", "abcdefghijklmnop", seen))
    assert token == f"abcdefghijklmnop.{book.machine.applied_index}"
    book.do(UserChangePassword("ann", b"other"))
    assert isinstance(book.outcome(Authenticate("ann", "abcdefghijklmnop", seen)), errors.AuthOldRevision)
    assert isinstance(book.outcome(Authenticate("bob", "abcdefghijklmnop", book.revision)), errors.AuthFailed)
    book.do(AuthDisable())
    assert isinstance(book.outcome(Authenticate("ann", "abcdefghijklmnop", book.revision)), errors.AuthNotEnabled)


def test_everything_is_there_after_a_restart() -> None:
    book = guarded_book(Permission(READ, b"a", b"c"))
    long_name = "x" * 3000
    book.do(UserAdd(long_name, b"hash"))
    book.do(UserAdd(long_name + "y", b"hash"))
    book.do(UserDelete(long_name))
    before = book.revision, book.machine.accounts.users, book.machine.accounts.roles
    book.restart()
    accounts = book.machine.accounts
    assert accounts.enabled
    assert before == (accounts.revision, accounts.users, accounts.roles)
    assert long_name + "y" in accounts.users


def test_a_row_that_cannot_be_read_is_a_damaged_disk() -> None:
    """As the member is told of every other damage: in a sentence at its start."""
    book = Book()
    book.machine.transaction.put(b"ann", b"\x92\xc0", db=book.machine.tables.auth_users)
    with pytest.raises(EngineError, match="damaged: a row of users or roles cannot be read"):
        book.restart()
