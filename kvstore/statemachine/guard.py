"""What a caller needs for each command and each read: etcd's authApplierV3 (AU-9, AU-10, L-14; apply/apply_auth.go, txn.CheckTxnAuth).

Commands are checked when they are applied, on every member against the same accounts, by the name and the revision that their entry carries: so
a permission that was taken away in between is not used (AU-3). Reads are checked at the moment of reading.

A kind of command or read that is in neither table needs root: whoever adds one and forgets it here has locked it, not opened it.
"""

from collections.abc import Callable
from typing import Any

from kvstore.accounts import Authenticate, Caller, RoleAsked, RolesAsked, StateAsked, UserAsked, UsersAsked
from kvstore.auth import access
from kvstore.auth.store import Accounts
from kvstore.model import DeleteRange, LeaseGrant, LeaseRevoke, Put, Range, Txn


class Guard:
    def __init__(self, accounts: Accounts, attached: Callable[[int], list[bytes]]) -> None:
        """`attached` gives the keys of a lease."""
        self._accounts = accounts
        self._attached = attached
        self._needs: dict[type[Any], Callable[[Any, Caller], None]] = {
            Put: self._put,
            Range: self._range,
            DeleteRange: self._delete_range,
            Txn: self._txn,
            LeaseGrant: self._any_user,
            LeaseRevoke: self._lease_revoke,
            Authenticate: self._nothing,
            UserAsked: self._user_asked,
            RoleAsked: self._role_asked,
            UsersAsked: self._root,
            RolesAsked: self._root,
            StateAsked: self._root,
        }

    def check(self, request: Any, caller: Caller) -> None:
        """Raises what the caller is to be told."""
        self._needs.get(type(request), self._root)(request, caller)

    def _root(self, _: Any, caller: Caller) -> None:
        access.check_root(self._accounts, caller)

    def _any_user(self, _: Any, caller: Caller) -> None:
        access.check_user(self._accounts, caller)

    def _nothing(self, _request: Any, _caller: Caller) -> None:
        pass

    # --- keys ---------------------------------------------------------------------------------------------------------------

    def _put(self, request: Put, caller: Caller) -> None:
        """To attach a key to a lease means that the lease may take it away, and that whoever may write the key could end the lease: so all keys
        of the lease must be his to write."""
        access.check_write(self._accounts, caller, request.key)
        if request.lease:
            access.check_write_all(self._accounts, caller, self._attached(request.lease))
        if request.prev_kv:
            access.check_read(self._accounts, caller, request.key)

    def _range(self, request: Range, caller: Caller) -> None:
        access.check_read(self._accounts, caller, request.key, request.range_end)

    def _delete_range(self, request: DeleteRange, caller: Caller) -> None:
        access.check_write(self._accounts, caller, request.key, request.range_end)
        if request.prev_kv:
            access.check_read(self._accounts, caller, request.key, request.range_end)

    def _txn(self, request: Txn, caller: Caller) -> None:
        """Everything in both branches and at every depth, whichever way it would go.

        A put in it needs what it needs outside. Of etcd only 3.6's nested check is followed here; its put in a transaction shows the value before
        to whoever may only write, which is a hole.
        """
        if not (request.compare or request.success or request.failure):
            access.check_user(self._accounts, caller)  # asks for nothing but the revision, which is still not for somebody unknown
        for compare in request.compare:
            access.check_read(self._accounts, caller, compare.key, compare.range_end)
        for operation in request.success + request.failure:
            if operation is not None:
                self.check(operation, caller)

    # --- leases -------------------------------------------------------------------------------------------------------------

    def _lease_revoke(self, request: LeaseRevoke, caller: Caller) -> None:
        access.check_user(self._accounts, caller)
        access.check_write_all(self._accounts, caller, self._attached(request.id))

    def check_renewal(self, lease_id: int, caller: Caller) -> None:
        access.check_user(self._accounts, caller)
        access.check_write_all(self._accounts, caller, self._attached(lease_id))

    def check_keys_shown(self, lease_id: int, caller: Caller) -> None:
        access.check_user(self._accounts, caller)
        access.check_read_all(self._accounts, caller, self._attached(lease_id))

    # --- accounts -----------------------------------------------------------------------------------------------------------

    def _user_asked(self, request: UserAsked, caller: Caller) -> None:
        """Oneself, or root."""
        if request.name != caller.name or not caller.name:
            self._root(request, caller)

    def _role_asked(self, request: RoleAsked, caller: Caller) -> None:
        """A role of one's own, or root."""
        user = self._accounts.users.get(caller.name)
        if user is None or request.name not in user.roles:
            self._root(request, caller)
