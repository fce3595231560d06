"""Who a client is: a user who logs in for a token, or a token it was given. Tokens end; then the client logs in again by itself.

etcd's clients log in when they are made, send the token as metadata of every call, and get a new one when a server no longer knows it (it was
restarted, the token's time is over) or it speaks of an older state of users and roles (clientv3/client.go, retry_interceptor.go).
"""

from msgspec import Struct

from kvstore.client.errors import CallFailed
from kvstore.errors import AuthOldRevision, InvalidAuthToken, StoreError, UserEmpty

METADATA = "token"


class Identity(Struct, frozen=True):
    """A name with its password, or a token made elsewhere (JWT), or nobody."""

    user: str = ""
    password: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return f"Identity({self.user!r})"

    @property
    def logs_in(self) -> bool:
        """Without a password there is nothing to log in with; the server then says what it misses."""
        return bool(self.user and self.password)


NOBODY = Identity()


class LoginFailed(CallFailed):
    """The server did not take the name and password, or could not be asked; nothing of the call itself was sent."""


def wants_new_token(error: StoreError) -> bool:
    """The last is what a server says to a client without a token: authentication was enabled after the client looked."""
    return isinstance(error, InvalidAuthToken | AuthOldRevision | UserEmpty)


def unwelcome(cancel_reason: str) -> StoreError | None:
    """What it means for the login that a server ended a watch so: it says such things in the stream, in Go's words (clientv3's shouldRetryWatch)."""
    for kind in (InvalidAuthToken, AuthOldRevision, UserEmpty):
        if cancel_reason.startswith("rpc error: ") and cancel_reason.endswith(kind.text):
            return kind()
    return None
