"""Who sends a request: the client certificate, then the bearer token by each kind in turn, then nobody (pkg/kubeapiserver/authenticator/config.go).

A token that no kind knows is an error, never anonymous: whoever shows credentials wants to be known by them.
"""

import base64
import binascii
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from apiserver.authn.certificates import user_of
from apiserver.authn.service_accounts import TOKEN_BYTES_MAX, Refused, Verifier
from apiserver.authn.tokens import BootstrapTokens, StaticTokens
from apiserver.machinery.status import ApiError
from apiserver.request import ANONYMOUS, User

log = logging.getLogger(__name__)

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
PROTOCOL = "base64url.bearer.authorization.k8s.io."
"""How a browser, which cannot set Authorization on a WebSocket, shows its token among the subprotocols."""


def unauthorized() -> ApiError:
    """One text whatever was wrong: whoever tries tokens learns nothing."""
    return ApiError("Unauthorized", "Unauthorized")


class Shown(Struct, frozen=True):
    """What a request shows of its sender. `certificate` and `der` as the TLS connection tells them; header values as they came."""

    authorization: str = ""
    protocols: str = ""
    certificate: Mapping[str, Any] | None = None
    der: bytes | None = None


class Authenticator:
    def __init__(
        self,
        *,
        static: StaticTokens | None = None,
        accounts: Verifier | None = None,
        bootstrap: BootstrapTokens | None = None,
        anonymous: bool = True,
        audiences: Sequence[str] = (),
    ) -> None:
        self._static = static
        self._accounts = accounts
        self._bootstrap = bootstrap
        self._anonymous = anonymous
        self.audiences = tuple(audiences) or (accounts.audiences if accounts else ())

    async def authenticate(self, shown: Shown) -> User:
        """Raises ApiError Unauthorized."""
        user = user_of(shown.certificate, shown.der)
        if user is not None:
            return authenticated(user)
        token = bearer(shown)
        if token is None:
            if not self._anonymous:
                raise unauthorized()
            return ANONYMOUS
        found = await self.of_token(token)
        if found is None:
            raise unauthorized()
        return found[0]

    async def of_token(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, tuple[str, ...]] | None:
        """The user of a bearer token and the audiences it is good for; None if it is not good. What is wrong with it is in the log."""
        if not token or len(token) > TOKEN_BYTES_MAX:
            return None
        wanted = tuple(audiences) or self.audiences
        ours = tuple(each for each in wanted if each in self.audiences)
        user = self._static.authenticate(token) if self._static else None
        if user is None and self._accounts is not None:
            try:
                found = await self._accounts.authenticate(token, wanted)
            except Refused as error:
                log.warning("Unable to authenticate the request", extra={"fields": {"err": str(error)}})
                return None
            if found is not None:
                return authenticated(found[0]), found[1]
        if user is None and self._bootstrap is not None:
            user = await self._bootstrap.authenticate(token)
        # These two say nothing of audiences: they are good for the API server's own alone.
        return (authenticated(user), ours) if user is not None and (ours or not wanted) else None


def bearer(shown: Shown) -> str | None:
    """The token, if one is shown. None for other ways of authorization, which are not ours to judge; empty counts as none."""
    scheme, _, token = shown.authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return token.strip() or None
    for each in shown.protocols.split(","):
        name = each.strip()
        if name.startswith(PROTOCOL):
            encoded = name.removeprefix(PROTOCOL)
            try:
                return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
            except (binascii.Error, ValueError):
                raise unauthorized() from None
    return None


def authenticated(user: User) -> User:
    """With the group of everybody who is known; nobody else gets into it by asking."""
    if AUTHENTICATED in user.groups or UNAUTHENTICATED in user.groups or user.name == ANONYMOUS.name:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED))
