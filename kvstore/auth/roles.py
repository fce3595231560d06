"""Roles and their permissions (etcd AU-12 to AU-15; server/auth/store.go). Every function raises having changed nothing."""

from msgspec.structs import replace

from kvstore.accounts import ROOT, Permission, PermissionKind, Role, RoleAdd, RoleDelete, RoleGrantPermission, RoleRevokePermission
from kvstore.auth.permissions import NO_END, is_valid
from kvstore.auth.store import Accounts
from kvstore.auth.users import without_role
from kvstore.errors import InvalidAuthManagement, PermissionNotGiven, PermissionNotGranted, RoleAlreadyExists, RoleEmpty, RoleNotFound

EVERYTHING = Permission(PermissionKind.READWRITE, b"", NO_END)
"""What role root may do, as it is told."""


def find(accounts: Accounts, name: str) -> Role:
    role = accounts.roles.get(name)
    if role is None:
        raise RoleNotFound
    return role


def add(accounts: Accounts, request: RoleAdd) -> None:
    if not request.name:
        raise RoleEmpty
    if request.name in accounts.roles:
        raise RoleAlreadyExists
    accounts.put_role(Role(request.name))
    accounts.changed()


def delete(accounts: Accounts, request: RoleDelete) -> None:
    """Whoever had it has it no more."""
    if accounts.enabled and request.name == ROOT:
        raise InvalidAuthManagement
    find(accounts, request.name)
    accounts.delete_role(request.name)
    for user in list(accounts.users.values()):
        if request.name in user.roles:
            accounts.put_user(without_role(user, request.name))
    accounts.changed()


def grant_permission(accounts: Accounts, request: RoleGrantPermission) -> None:
    """On a range that the role has a permission on already, the new kind takes the place of the old one."""
    granted = request.permission
    if granted is None:
        raise PermissionNotGiven
    if not is_valid(granted):
        raise InvalidAuthManagement
    role = find(accounts, request.name)
    kept = [held for held in role.permissions if (held.key, held.range_end) != (granted.key, granted.range_end)]
    accounts.put_role(replace(role, permissions=_sorted([*kept, granted])))
    accounts.changed()


def revoke_permission(accounts: Accounts, request: RoleRevokePermission) -> None:
    """Of exactly this key and end: a part of a range cannot be taken out of it."""
    role = find(accounts, request.name)
    kept = [held for held in role.permissions if (held.key, held.range_end) != (request.key, request.range_end)]
    if len(kept) == len(role.permissions):
        raise PermissionNotGranted
    accounts.put_role(replace(role, permissions=_sorted(kept)))
    accounts.changed()


def _sorted(permissions: list[Permission]) -> tuple[Permission, ...]:
    return tuple(sorted(permissions, key=lambda permission: (permission.key, permission.range_end)))


def permissions(accounts: Accounts, name: str) -> tuple[Permission, ...]:
    role = find(accounts, name)
    return (EVERYTHING,) if name == ROOT else role.permissions


def names(accounts: Accounts) -> list[str]:
    return sorted(accounts.roles, key=str.encode)
