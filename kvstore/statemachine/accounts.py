"""Commands and questions about users and roles: which function of `auth` each one is."""

from collections.abc import Callable
from typing import Any

from kvstore.accounts import (
    AuthDisable,
    AuthEnable,
    Authenticate,
    AuthState,
    PasswordAsked,
    PasswordCheck,
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
from kvstore.auth import roles, users
from kvstore.auth.store import Accounts
from kvstore.auth.tokens import make_token
from kvstore.errors import AuthFailed, AuthNotEnabled, AuthOldRevision, NoPasswordUser
from kvstore.ids import Index


class AccountCommands:
    """`apply`: functions by class of command, None as result but for a token. `answer`: the same for questions."""

    def __init__(self, accounts: Accounts, applied_index: Callable[[], Index]) -> None:
        self._accounts = accounts
        self._applied_index = applied_index
        self.apply: dict[type[Any], Callable[[Any], Any]] = {
            AuthEnable: lambda _: users.enable(accounts),
            AuthDisable: lambda _: users.disable(accounts),
            Authenticate: self._authenticate,
            UserAdd: lambda request: users.add(accounts, request),
            UserDelete: lambda request: users.delete(accounts, request),
            UserChangePassword: lambda request: users.change_password(accounts, request),
            UserGrantRole: lambda request: users.grant_role(accounts, request),
            UserRevokeRole: lambda request: users.revoke_role(accounts, request),
            RoleAdd: lambda request: roles.add(accounts, request),
            RoleDelete: lambda request: roles.delete(accounts, request),
            RoleGrantPermission: lambda request: roles.grant_permission(accounts, request),
            RoleRevokePermission: lambda request: roles.revoke_permission(accounts, request),
        }
        self.answer: dict[type[Any], Callable[[Any], Any]] = {
            UserAsked: lambda asked: users.find(accounts, asked.name).roles,
            UsersAsked: lambda _: users.names(accounts),
            RoleAsked: self._permissions,
            RolesAsked: lambda _: roles.names(accounts),
            StateAsked: lambda _: AuthState(accounts.enabled, accounts.revision),
            PasswordAsked: self._password,
        }

    def _permissions(self, asked: RoleAsked) -> tuple[Permission, ...]:
        return roles.permissions(self._accounts, asked.name)

    def _password(self, asked: PasswordAsked) -> PasswordCheck:
        """AU-4."""
        accounts = self._accounts
        if not accounts.enabled:
            raise AuthNotEnabled
        user = accounts.users.get(asked.name)
        if user is not None and user.no_password:
            raise NoPasswordUser
        return PasswordCheck(b"" if user is None else user.password_hash, accounts.revision)

    def _authenticate(self, request: Authenticate) -> str:
        """The token. The password was checked before; were the accounts changed since, it is checked again (AU-3)."""
        accounts = self._accounts
        if not accounts.enabled:
            raise AuthNotEnabled
        user = accounts.users.get(request.name)
        if user is None or user.no_password:
            raise AuthFailed
        if request.revision != accounts.revision:
            raise AuthOldRevision
        return make_token(request.prefix, self._applied_index())
