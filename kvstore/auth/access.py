"""May this caller do that? The checks of etcd's auth store (AU-3, AU-8, AU-10), in its order. Each raises, or returns and permits.

All of them pass while authentication is off, and for what no client asked for (a lease that ended, a member's own entries: AU-16).
"""

from collections.abc import Iterable

from kvstore.accounts import BY_THE_CLUSTER, Caller, User
from kvstore.auth.permissions import KeyRanges
from kvstore.auth.store import Accounts, is_root
from kvstore.errors import AuthOldRevision, PermissionDenied, UserEmpty, UserNotFound


def check_root(accounts: Accounts, caller: Caller) -> None:
    """For what only root may do."""
    if _is_free(accounts, caller):
        return
    if not caller.name:
        raise UserEmpty
    user = accounts.users.get(caller.name)
    if user is None:
        raise UserNotFound  # a certificate that names nobody, or the token of somebody deleted meanwhile
    if not is_root(user):
        raise PermissionDenied


def check_user(accounts: Accounts, caller: Caller) -> None:
    """For what every user may do. Stricter than etcd in one point: a name that is no user's, from a certificate or an old token, is refused."""
    if _is_free(accounts, caller):
        return
    if not caller.name:
        raise UserEmpty
    if caller.name not in accounts.users:
        raise PermissionDenied


def check_read(accounts: Accounts, caller: Caller, key: bytes, range_end: bytes = b"") -> None:
    user = _limited_user(accounts, caller)
    if user is not None:
        _check_covered(accounts.readable(user), key, range_end)


def check_write(accounts: Accounts, caller: Caller, key: bytes, range_end: bytes = b"") -> None:
    user = _limited_user(accounts, caller)
    if user is not None:
        _check_covered(accounts.writable(user), key, range_end)


def check_write_all(accounts: Accounts, caller: Caller, keys: Iterable[bytes]) -> None:
    """Of every one of these keys (those of a lease, L-14)."""
    if not has_root(accounts, caller):
        for key in keys:
            check_write(accounts, caller, key)


def check_read_all(accounts: Accounts, caller: Caller, keys: Iterable[bytes]) -> None:
    if not has_root(accounts, caller):
        for key in keys:
            check_read(accounts, caller, key)


def has_root(accounts: Accounts, caller: Caller) -> bool:
    """As `check_root`, told instead of raised."""
    if _is_free(accounts, caller):
        return True
    user = accounts.users.get(caller.name)
    return user is not None and is_root(user)


def _is_free(accounts: Accounts, caller: Caller) -> bool:
    return not accounts.enabled or caller.revision == BY_THE_CLUSTER


def _limited_user(accounts: Accounts, caller: Caller) -> User | None:
    """The user whose permissions are to be looked at; None: anything goes. The revision is looked at first, root's too."""
    if _is_free(accounts, caller):
        return None
    if caller.revision == 0:
        raise UserEmpty
    if caller.revision < accounts.revision:
        raise AuthOldRevision
    user = accounts.users.get(caller.name)
    if user is None:
        raise PermissionDenied
    return None if is_root(user) else user


def _check_covered(permitted: KeyRanges, key: bytes, range_end: bytes) -> None:
    if not permitted.covers(key, range_end):
        raise PermissionDenied
