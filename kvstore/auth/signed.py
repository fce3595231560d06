"""Signed tokens (JWT): they carry who they are for and as of which auth revision, so no member needs to remember them (etcd AU-6,
server/auth/jwt.go).

The algorithm is the one this member was configured with, whatever a token's header says: "none", another algorithm or an RSA public key taken for
an HMAC secret get nobody in. A member with only the public key checks tokens and issues none.

The library checks the signature; times are compared here, with the clock that came in as an argument.
"""

from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from kvstore.accounts import Caller
from kvstore.errors import InvalidAuthToken, VerifyOnlyKey

METHODS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"})
TTL_DEFAULT_S = 300.0
REMEMBERED_MAX = 1_000
"""Tokens whose signature was found good: checking it costs 60 us, finding it here one."""
TOKEN_CHARACTERS_MAX = 8_192

_FAMILIES: dict[str, tuple[Any, Any]] = {
    "RS": (RSAPrivateKey, RSAPublicKey),
    "PS": (RSAPrivateKey, RSAPublicKey),
    "ES": (EllipticCurvePrivateKey, EllipticCurvePublicKey),
    "Ed": (Ed25519PrivateKey, Ed25519PublicKey),
}
_CURVE_BITS = {"ES256": 256, "ES384": 384, "ES512": 521}

# Everything but the signature is checked here: the library would ask the system's clock, and refuse claims that mean nothing to etcd.
_SIGNATURE_ONLY = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")} | {"verify_signature": True}


class BadKey(Exception):
    """The keys do not fit the method or each other; says so in etcd's words where it has them."""


class SignedTokens:
    def __init__(self, method: str, public_key: bytes, private_key: bytes, ttl_s: float = TTL_DEFAULT_S) -> None:
        """Keys in PEM (of HMAC: the secret itself as `private_key`), b"" where not given. Raises BadKey."""
        assert method in METHODS, f"{method} is refused before it gets here"
        self._method = method
        self._ttl_s = ttl_s
        self._signing, self._verifying = _hmac_keys(private_key) if method.startswith("HS") else _key_pair(method, public_key, private_key)
        self._known: dict[str, dict[str, Any]] = {}
        if self._signing is not None:
            self.issue("a try", 0, 0.0)

    def __repr__(self) -> str:
        return f"SignedTokens({self._method})"

    @property
    def verify_only(self) -> bool:
        return self._signing is None

    def issue(self, user: str, revision: int, now_s: float) -> str:
        """A token for a user whose password was right at this auth revision; `now_s` since the epoch. 1 ms with RSA. Raises VerifyOnlyKey."""
        if self._signing is None:
            raise VerifyOnlyKey
        claims = {"username": user, "revision": revision, "exp": int(now_s + self._ttl_s)}
        try:
            return jwt.encode(claims, self._signing, algorithm=self._method)
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise BadKey(f"cannot sign with {self._method}: {error}") from error

    def verify(self, token: str, now_s: float) -> Caller:
        """Whom it was issued for. Raises InvalidAuthToken, for whatever reason: it is nobody's business which."""
        claims = self._known.get(token)
        if claims is None:
            claims = self._checked(token)
            if len(self._known) >= REMEMBERED_MAX:
                del self._known[next(iter(self._known))]
            self._known[token] = claims
        if not _is_now(claims, now_s):
            raise InvalidAuthToken
        return Caller(claims["username"], int(claims["revision"]))

    def _checked(self, token: str) -> dict[str, Any]:
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise InvalidAuthToken
        try:
            claims: dict[str, Any] = jwt.decode(token, self._verifying, algorithms=[self._method], options=_SIGNATURE_ONLY)  # type: ignore[arg-type]
        except Exception:
            # The library parses what strangers send: whatever goes wrong there, the token is not good.
            raise InvalidAuthToken from None
        user, revision = claims.get("username"), claims.get("revision")
        if not isinstance(user, str) or not user or not isinstance(revision, int | float) or not 0 <= revision < 1 << 63:
            raise InvalidAuthToken
        return claims


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_now(claims: dict[str, Any], now_s: float) -> bool:
    """A token without times is good for ever, as etcd takes it."""
    expires, begins = claims.get("exp"), claims.get("nbf")
    if expires is not None and not (_is_number(expires) and now_s < expires):
        return False
    return begins is None or (_is_number(begins) and now_s >= begins)


def _hmac_keys(secret: bytes) -> tuple[Any, Any]:
    if not secret:
        raise BadKey("auth: missing key data")
    return secret, secret


def _key_pair(method: str, public_pem: bytes, private_pem: bytes) -> tuple[Any, Any]:
    """(to sign with or None, to verify with)."""
    private_kind, public_kind = _FAMILIES[method[:2]]
    try:
        private = load_pem_private_key(private_pem, None) if private_pem else None
        public = _public(public_pem) if public_pem else None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey(f"not a readable PEM key: {error}") from None
    for key, kind in ((private, private_kind), (public, public_kind)):
        if key is not None and not isinstance(key, kind):
            raise BadKey(f"{method} needs a key of another kind, not {type(key).__name__}")
        if key is not None and method in _CURVE_BITS and key.curve.key_size != _CURVE_BITS[method]:
            raise BadKey(f"{method} needs a curve of {_CURVE_BITS[method]} bits")
    if private is None:
        if public is None:
            raise BadKey("auth: missing key data")
        return None, public
    if public is not None and public != private.public_key():
        raise BadKey("auth: public and private keys don't match")
    return private, private.public_key()


def _public(pem: bytes) -> Any:
    return load_pem_x509_certificate(pem).public_key() if b"BEGIN CERTIFICATE" in pem else load_pem_public_key(pem)
