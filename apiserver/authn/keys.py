"""Keys that sign and check service account tokens (--service-account-signing-key-file, --service-account-key-file).

Several public keys may be known at once: a key is changed by adding the new one everywhere, signing with it, and removing the old one when the
last token of it has ended. A key is called by the hash of its public half, as upstream calls it, so that every API server finds the same name.
"""

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from apiserver.config_files import Unusable, content

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
RSA_BITS_MIN = 2048


def algorithm_of(key: PublicKey) -> str:
    """The one JWT algorithm a key may be used with: whoever holds a token has no say in it. Raises Unusable."""
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS_MIN:
        return "RS256"
    raise Unusable(f"expected an elliptic curve key (P-256, P-384, P-521) or an RSA key of at least {RSA_BITS_MIN} bits")


def id_of(key: PublicKey) -> str:
    """The token's `kid` (pkg/serviceaccount/jwt.go, keyIDFromPublicKey)."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def read_private(path: Path) -> PrivateKey:
    """Raises Unusable or OSError."""
    try:
        key = serialization.load_pem_private_key(content(path), password=None)
    except (ValueError, TypeError) as error:
        raise Unusable(f"{path} holds no private key that can be read without a password: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Unusable(f"{path}: expected an elliptic curve or RSA key, found {type(key).__name__}")
    _check(key.public_key(), path)
    return key


def read_public(paths: Iterable[Path]) -> list[PublicKey]:
    """Every key of every file: public keys, certificates, or private keys (of which the public half is taken). Raises Unusable or OSError."""
    found: list[PublicKey] = []
    for path in paths:
        blocks = _blocks(content(path))
        if not blocks:
            raise Unusable(f"{path} holds no key in PEM form")
        for block in blocks:
            key = _public(block, path)
            _check(key, path)
            found.append(key)
    return found


def jwk(key: PublicKey) -> dict[str, Any]:
    """As /openid/v1/jwks publishes it (RFC 7517)."""
    common = {"use": "sig", "kid": id_of(key), "alg": algorithm_of(key)}
    numbers = key.public_numbers()
    if isinstance(numbers, rsa.RSAPublicNumbers):
        return {**common, "kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    size = (numbers.curve.key_size + 7) // 8
    curve = {256: "P-256", 384: "P-384", 521: "P-521"}[numbers.curve.key_size]
    return {**common, "kty": "EC", "crv": curve, "x": _number(numbers.x, size), "y": _number(numbers.y, size)}


def _check(key: PublicKey, path: Path) -> None:
    try:
        algorithm_of(key)
    except Unusable as error:
        raise Unusable(f"{path}: {error}") from None


def _blocks(content: bytes) -> list[bytes]:
    blocks: list[bytes] = []
    rest = content
    while (start := rest.find(b"-----BEGIN ")) >= 0:
        end = rest.find(b"-----END ", start)
        close = rest.find(b"-----", end + 9) if end >= 0 else -1
        if close < 0:
            break
        blocks.append(rest[start : close + 5] + b"\n")
        rest = rest[close + 5 :]
    return blocks


def _public(block: bytes, path: Path) -> PublicKey:
    try:
        if b"CERTIFICATE" in block:
            key: Any = x509.load_pem_x509_certificate(block).public_key()
        elif b"PRIVATE" in block:
            key = serialization.load_pem_private_key(block, password=None).public_key()
        else:
            key = serialization.load_pem_public_key(block)
    except (ValueError, TypeError) as error:
        raise Unusable(f"{path} holds a key that cannot be read: {error}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise Unusable(f"{path}: expected an elliptic curve or RSA key, found {type(key).__name__}")
    return key


def _number(value: int, size: int = 0) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(size or (value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
