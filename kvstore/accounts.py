"""The words of authentication and authorisation: who asks, users, roles, and the requests that change them. Frozen records without behaviour.

The same rules as in `kvstore.model` hold: requests are what log entries carry, so a new field goes last with a default and a tag is never
reused (40 to 59 are this file's). No secret shows in a `repr`: those end up in logs and tracebacks.
"""

import enum
from typing import NewType

from kvstore.model import Record, Request

AuthRevision = NewType("AuthRevision", int)
"""Counts changes of users, roles and permissions; 1 when there never was one (etcd AU-2). Not a revision of keys."""

ROOT = "root"
"""The user who must exist, and the role he must have, before authentication can be enabled; the role may do everything."""


# --- who asks -----------------------------------------------------------------------------------------------------------


class Caller(Record, frozen=True, gc=False):
    """Somebody known by name. `revision`: that of the accounts for which this was found true; permissions changed since are not his."""

    name: str
    revision: int


BY_THE_CLUSTER = -1
"""The revision of what no client asked for: passes every check. No token can claim it."""

CLUSTER = Caller("", BY_THE_CLUSTER)
NOBODY_KNOWN = Caller("", 0)
"""A client that did not say who he is."""


class Credentials(Record, frozen=True, gc=False):
    """What a client shows of himself: a token, or the common name of his certificate. A token that is given counts alone (AU-7)."""

    token: str | None = None
    common_name: str = ""

    def __repr__(self) -> str:
        return f"Credentials({'a token' if self.token is not None else self.common_name!r})"


Who = Caller | Credentials | None
"""Somebody already known, somebody still to be found by what he shows, or nobody."""


# --- accounts -----------------------------------------------------------------------------------------------------------


class PermissionKind(enum.IntEnum):
    READ = 0
    WRITE = 1
    READWRITE = 2


class Permission(Record, frozen=True, gc=False, array_like=True):
    """On [key, range_end); b"" is the one key, b"\\0" is "from key on". `kind` is a plain integer: an unknown one permits nothing."""

    kind: int
    key: bytes
    range_end: bytes = b""


class User(Record, frozen=True, gc=False, array_like=True):
    """`roles` sorted. `password_hash` is bcrypt's; empty if no password opens this account."""

    name: str
    password_hash: bytes = b""
    no_password: bool = False
    roles: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"User({self.name!r}, roles={self.roles!r})"


class Role(Record, frozen=True, gc=False, array_like=True):
    """`permissions` sorted by key, then end."""

    name: str
    permissions: tuple[Permission, ...] = ()


# --- requests -----------------------------------------------------------------------------------------------------------


class AuthEnable(Request, frozen=True, gc=False, array_like=True, tag=40):
    pass


class AuthDisable(Request, frozen=True, gc=False, array_like=True, tag=41):
    pass


class Authenticate(Request, frozen=True, gc=False, array_like=True, tag=42):
    """Give the user a token. His password was right as of `revision`; the token is `prefix`, chosen by chance, and the entry's index."""

    name: str
    prefix: str
    revision: int

    def __repr__(self) -> str:
        return f"Authenticate({self.name!r}, revision={self.revision})"


class UserAdd(Request, frozen=True, gc=False, array_like=True, tag=43):
    """The member that was asked made the hash: the password itself is in no log."""

    name: str
    password_hash: bytes = b""
    no_password: bool = False

    def __repr__(self) -> str:
        return f"UserAdd({self.name!r}, no_password={self.no_password})"


class UserDelete(Request, frozen=True, gc=False, array_like=True, tag=44):
    name: str


class UserChangePassword(Request, frozen=True, gc=False, array_like=True, tag=45):
    name: str
    password_hash: bytes = b""

    def __repr__(self) -> str:
        return f"UserChangePassword({self.name!r})"


class UserGrantRole(Request, frozen=True, gc=False, array_like=True, tag=46):
    name: str
    role: str


class UserRevokeRole(Request, frozen=True, gc=False, array_like=True, tag=47):
    name: str
    role: str


class RoleAdd(Request, frozen=True, gc=False, array_like=True, tag=48):
    name: str


class RoleDelete(Request, frozen=True, gc=False, array_like=True, tag=49):
    name: str


class RoleGrantPermission(Request, frozen=True, gc=False, array_like=True, tag=50):
    """None: the client forgot to say which."""

    name: str
    permission: Permission | None


class RoleRevokePermission(Request, frozen=True, gc=False, array_like=True, tag=51):
    name: str
    key: bytes
    range_end: bytes = b""


AccountChange = (
    AuthEnable
    | AuthDisable
    | UserAdd
    | UserDelete
    | UserChangePassword
    | UserGrantRole
    | UserRevokeRole
    | RoleAdd
    | RoleDelete
    | RoleGrantPermission
    | RoleRevokePermission
)


# --- questions and answers ----------------------------------------------------------------------------------------------


class AuthState(Record, frozen=True, gc=False):
    enabled: bool
    revision: AuthRevision


class UserAsked(Record, frozen=True, gc=False):
    """Roles of a user."""

    name: str


class RoleAsked(Record, frozen=True, gc=False):
    """Permissions of a role."""

    name: str


class UsersAsked(Record, frozen=True, gc=False):
    """The names of all users."""


class RolesAsked(Record, frozen=True, gc=False):
    """The names of all roles."""


class StateAsked(Record, frozen=True, gc=False):
    """Is it on, and at which revision: an AuthState."""


AccountQuestion = UserAsked | RoleAsked | UsersAsked | RolesAsked | StateAsked


class PasswordAsked(Record, frozen=True, gc=False):
    """What a password of this user must be checked against; asked by the server itself."""

    name: str


class PasswordCheck(Record, frozen=True, gc=False):
    """`password_hash` is empty if there is no such user; `revision` is that of the accounts as they were read."""

    password_hash: bytes
    revision: AuthRevision

    def __repr__(self) -> str:
        return f"PasswordCheck(revision={self.revision})"
