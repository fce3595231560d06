"""Users: add, delete, passwords, roles (etcd AU-1, AU-11 to AU-13, AU-15; server/auth/store.go). Every function raises having changed nothing."""

from msgspec.structs import replace

from kvstore.accounts import ROOT, User, UserAdd, UserChangePassword, UserDelete, UserGrantRole, UserRevokeRole
from kvstore.auth.store import Accounts, is_root
from kvstore.errors import (
    InvalidAuthManagement,
    RoleNotFound,
    RoleNotGranted,
    RootRoleNotExist,
    RootUserNotExist,
    UserAlreadyExists,
    UserEmpty,
    UserNotFound,
)


def enable(accounts: Accounts) -> None:
    """Only with a root who may do everything: else nobody could ever turn it off. Twice is fine."""
    if accounts.enabled:
        return
    root = accounts.users.get(ROOT)
    if root is None:
        raise RootUserNotExist
    if not is_root(root):
        raise RootRoleNotExist
    accounts.switch(True)


def disable(accounts: Accounts) -> None:
    if accounts.enabled:
        accounts.switch(False)
        accounts.changed()


def find(accounts: Accounts, name: str) -> User:
    user = accounts.users.get(name)
    if user is None:
        raise UserNotFound
    return user


def add(accounts: Accounts, request: UserAdd) -> None:
    if not request.name:
        raise UserEmpty
    if request.name in accounts.users:
        raise UserAlreadyExists
    password_hash = b"" if request.no_password else request.password_hash
    accounts.put_user(User(request.name, password_hash, request.no_password))
    accounts.changed()


def delete(accounts: Accounts, request: UserDelete) -> None:
    if accounts.enabled and request.name == ROOT:
        raise InvalidAuthManagement
    find(accounts, request.name)
    accounts.delete_user(request.name)
    accounts.changed()


def change_password(accounts: Accounts, request: UserChangePassword) -> None:
    """An account without a password stays one."""
    user = find(accounts, request.name)
    accounts.put_user(replace(user, password_hash=b"" if user.no_password else request.password_hash))
    accounts.changed()


def grant_role(accounts: Accounts, request: UserGrantRole) -> None:
    """Role root need not exist to be granted; a role that is there already changes nothing, the revision neither."""
    user = find(accounts, request.name)
    if request.role != ROOT and request.role not in accounts.roles:
        raise RoleNotFound
    if request.role not in user.roles:
        accounts.put_user(replace(user, roles=tuple(sorted([*user.roles, request.role], key=str.encode))))
        accounts.changed()


def revoke_role(accounts: Accounts, request: UserRevokeRole) -> None:
    if accounts.enabled and request.name == request.role == ROOT:
        raise InvalidAuthManagement
    user = find(accounts, request.name)
    if request.role not in user.roles:
        raise RoleNotGranted
    accounts.put_user(without_role(user, request.role))
    accounts.changed()


def without_role(user: User, role: str) -> User:
    return replace(user, roles=tuple(held for held in user.roles if held != role))


def names(accounts: Accounts) -> list[str]:
    return sorted(accounts.users, key=str.encode)
