"""etcdserverpb.Auth: users, roles, permissions and logging in (AU-1 to AU-18)."""

from typing import Any

from kvstore.accounts import (
    AccountChange,
    AuthDisable,
    AuthEnable,
    AuthState,
    Permission,
    RoleAdd,
    RoleAsked,
    RoleDelete,
    RoleGrantPermission,
    RoleRevokePermission,
    RolesAsked,
    StateAsked,
    UserAsked,
    UserDelete,
    UserGrantRole,
    UserRevokeRole,
    UsersAsked,
)
from kvstore.api.rpc import Context, Service, Unary
from kvstore.wire import codec, messages


class Auth(Service):
    def methods(self) -> dict[str, Unary]:
        """By gRPC path."""
        named: dict[str, Unary] = {
            "AuthEnable": self.enable,
            "AuthDisable": self.disable,
            "AuthStatus": self.status,
            "Authenticate": self.authenticate,
            "UserAdd": self.user_add,
            "UserGet": self.user_get,
            "UserList": self.user_list,
            "UserDelete": self.user_delete,
            "UserChangePassword": self.user_change_password,
            "UserGrantRole": self.user_grant_role,
            "UserRevokeRole": self.user_revoke_role,
            "RoleAdd": self.role_add,
            "RoleGet": self.role_get,
            "RoleList": self.role_list,
            "RoleDelete": self.role_delete,
            "RoleGrantPermission": self.role_grant_permission,
            "RoleRevokePermission": self.role_revoke_permission,
        }
        return {f"/etcdserverpb.Auth/{name}": method for name, method in named.items()}

    async def _change(self, context: Context, change: AccountChange) -> bytes:
        """All changes are answered with nothing but a header."""
        await self.backend.change_accounts(change, context.credentials)
        return self.header()

    def _answer(self, response: Any) -> bytes:
        return self.header() + response.SerializeToString()  # type: ignore[no-any-return]

    # --- on, off, in --------------------------------------------------------------------------------------------------------

    async def enable(self, context: Context, data: bytes) -> bytes:
        codec.parse(messages.AuthEnableRequest, data)
        return await self._change(context, AuthEnable())

    async def disable(self, context: Context, data: bytes) -> bytes:
        codec.parse(messages.AuthDisableRequest, data)
        return await self._change(context, AuthDisable())

    async def status(self, context: Context, data: bytes) -> bytes:
        codec.parse(messages.AuthStatusRequest, data)
        state: AuthState = await self.backend.ask_accounts(StateAsked(), context.credentials)
        return self._answer(messages.AuthStatusResponse(enabled=state.enabled, authRevision=state.revision))

    async def authenticate(self, _context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.AuthenticateRequest, data)
        token = await self.backend.authenticate(request.name, request.password)
        return self._answer(messages.AuthenticateResponse(token=token))

    # --- users --------------------------------------------------------------------------------------------------------------

    async def user_add(self, context: Context, data: bytes) -> bytes:
        """A hash that the client sends is not used: who could choose it could choose one that takes hours to check."""
        request = codec.parse(messages.AuthUserAddRequest, data)
        await self.backend.add_user(request.name, request.password, request.options.no_password, context.credentials)
        return self.header()

    async def user_get(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.AuthUserGetRequest, data)
        roles: tuple[str, ...] = await self.backend.ask_accounts(UserAsked(request.name), context.credentials)
        return self._answer(messages.AuthUserGetResponse(roles=roles))

    async def user_list(self, context: Context, data: bytes) -> bytes:
        codec.parse(messages.AuthUserListRequest, data)
        users: list[str] = await self.backend.ask_accounts(UsersAsked(), context.credentials)
        return self._answer(messages.AuthUserListResponse(users=users))

    async def user_delete(self, context: Context, data: bytes) -> bytes:
        return await self._change(context, UserDelete(codec.parse(messages.AuthUserDeleteRequest, data).name))

    async def user_change_password(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.AuthUserChangePasswordRequest, data)
        await self.backend.change_password(request.name, request.password, context.credentials)
        return self.header()

    async def user_grant_role(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.AuthUserGrantRoleRequest, data)
        return await self._change(context, UserGrantRole(request.user, request.role))

    async def user_revoke_role(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.AuthUserRevokeRoleRequest, data)
        return await self._change(context, UserRevokeRole(request.name, request.role))

    # --- roles --------------------------------------------------------------------------------------------------------------

    async def role_add(self, context: Context, data: bytes) -> bytes:
        return await self._change(context, RoleAdd(codec.parse(messages.AuthRoleAddRequest, data).name))

    async def role_get(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.AuthRoleGetRequest, data)
        permissions: tuple[Permission, ...] = await self.backend.ask_accounts(RoleAsked(request.role), context.credentials)
        told = [messages.Permission(permType=held.kind, key=held.key, range_end=held.range_end) for held in permissions]
        return self._answer(messages.AuthRoleGetResponse(perm=told))

    async def role_list(self, context: Context, data: bytes) -> bytes:
        codec.parse(messages.AuthRoleListRequest, data)
        roles: list[str] = await self.backend.ask_accounts(RolesAsked(), context.credentials)
        return self._answer(messages.AuthRoleListResponse(roles=roles))

    async def role_delete(self, context: Context, data: bytes) -> bytes:
        return await self._change(context, RoleDelete(codec.parse(messages.AuthRoleDeleteRequest, data).role))

    async def role_grant_permission(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.AuthRoleGrantPermissionRequest, data)
        permission = Permission(request.perm.permType, request.perm.key, request.perm.range_end) if request.HasField("perm") else None
        return await self._change(context, RoleGrantPermission(request.name, permission))

    async def role_revoke_permission(self, context: Context, data: bytes) -> bytes:
        request = codec.parse(messages.AuthRoleRevokePermissionRequest, data)
        return await self._change(context, RoleRevokePermission(request.role, request.key, request.range_end))
