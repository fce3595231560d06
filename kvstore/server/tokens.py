"""--auth-token: "simple", or "jwt,pub-key=FILE,priv-key=FILE,sign-method=RS256,ttl=5m" (etcd's server/auth/options.go)."""

from pathlib import Path
from typing import TYPE_CHECKING

from kvstore.server.bootstrap import ConfigurationError
from kvstore.server.flags import parse_duration

if TYPE_CHECKING:
    from kvstore.auth.signed import SignedTokens

_INVALID = "auth: invalid auth options"


def parse_auth_token(text: str) -> tuple["SignedTokens | None", list[str]]:
    """What issues and checks tokens (None: simple ones, which the cluster keeps), and what the log should say. Raises ConfigurationError."""
    kind, *options = text.split(",")
    if kind == "simple":
        return None, []
    if kind != "jwt":
        raise ConfigurationError(f"--auth-token: {_INVALID}: expected simple or jwt,..., not {kind!r}")
    # Imported only here: the libraries of signed tokens take 60 ms, an eighth of a start.
    from kvstore.auth.signed import METHODS, TTL_DEFAULT_S, BadKey, SignedTokens

    given: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or "=" in value or name in given:
            raise ConfigurationError(f"--auth-token: {_INVALID}: {name!r} must be given once, as name=value")
        given[name] = value
    method = given.pop("sign-method", "")
    if method not in METHODS:
        raise ConfigurationError(f"--auth-token: {_INVALID}: sign-method must be one of {', '.join(sorted(METHODS))}, not {method!r}")
    public_key, private_key = _content(given.pop("pub-key", "")), _content(given.pop("priv-key", ""))
    try:
        ttl_text = given.pop("ttl", "")
        tokens = SignedTokens(method, public_key, private_key, parse_duration(ttl_text) if ttl_text else TTL_DEFAULT_S)
    except ValueError as error:
        raise ConfigurationError(f"--auth-token: {_INVALID}: ttl: {error}") from error
    except BadKey as error:
        raise ConfigurationError(f"--auth-token: {error}") from error
    return tokens, [f"--auth-token: unknown JWT option {name!r}" for name in given]


def _content(name: str) -> bytes:
    try:
        return Path(name).read_bytes() if name else b""
    except OSError as error:
        raise ConfigurationError(f"--auth-token: {_INVALID}: {name}: {error.strerror}") from error
