"""Signed tokens: every method issues and checks; whatever is forged, late or about somebody else's key gets nobody in (etcd AU-6)."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kvstore.accounts import Caller
from kvstore.auth.signed import METHODS, BadKey, SignedTokens
from kvstore.errors import InvalidAuthToken, VerifyOnlyKey

NOW = 1_000_000.0
SECRET = b"a secret of more than thirty-two bytes, or it would be a short one; sixty-four are better"


def pair(key: Any) -> tuple[bytes, bytes]:
    """(public, private) in PEM."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), private


RSA, OTHER_RSA = pair(rsa.generate_private_key(65537, 2048)), pair(rsa.generate_private_key(65537, 2048))
ED = pair(ed25519.Ed25519PrivateKey.generate())
CURVES = {"ES256": pair(ec.generate_private_key(ec.SECP256R1())), "ES384": pair(ec.generate_private_key(ec.SECP384R1()))}
CURVES["ES512"] = pair(ec.generate_private_key(ec.SECP521R1()))


def keys(method: str) -> tuple[bytes, bytes]:
    return CURVES.get(method) or {"R": RSA, "P": RSA, "E": ED, "H": (b"", SECRET)}[method[0]]


def part(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_issues_what_it_accepts(method: str) -> None:
    tokens = SignedTokens(method, *keys(method), ttl_s=300)
    token = tokens.issue("ann", 7, NOW)
    assert tokens.verify(token, NOW) == Caller("ann", 7)
    assert tokens.verify(token, NOW + 299) == Caller("ann", 7)
    with pytest.raises(InvalidAuthToken):
        tokens.verify(token, NOW + 300)
    assert SignedTokens(method, *keys(method)).verify(token, NOW) == Caller("ann", 7), "another member with the same keys"


@pytest.mark.parametrize("method", sorted(method for method in METHODS if method[0] != "H"))
def test_a_member_with_the_public_key_alone_checks_and_issues_nothing(method: str) -> None:
    public, private = keys(method)
    token = SignedTokens(method, b"", private).issue("ann", 7, NOW)
    reader = SignedTokens(method, public, b"")
    assert reader.verify_only
    assert reader.verify(token, NOW) == Caller("ann", 7)
    with pytest.raises(VerifyOnlyKey):
        reader.issue("ann", 7, NOW)


def forged() -> dict[str, str]:
    """Tokens for root that RS256 with our key must not take."""
    claims = {"username": "root", "revision": 1 << 40, "exp": NOW + 1000}
    good = jwt.encode(claims, RSA[1], algorithm="RS256")
    header, body, signature = good.split(".")
    unsigned = f"{part({'alg': 'none', 'typ': 'JWT'})}.{body}."
    by_public_key = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{body}"
    mac = hmac.new(RSA[0], by_public_key.encode(), hashlib.sha256).digest()
    made = {
        "nothing": "",
        "one part": "x",
        "alg none": unsigned,
        "alg none with the old signature": unsigned + signature,
        "alg None": f"{part({'alg': 'None'})}.{body}.",
        "HS256 by the RSA public key": f"{by_public_key}.{part(mac)}",
        "another key": jwt.encode(claims, OTHER_RSA[1], algorithm="RS256"),
        "another method, our key": jwt.encode(claims, RSA[1], algorithm="RS512"),
        "PSS, our key": jwt.encode(claims, RSA[1], algorithm="PS256"),
        "a key in the header": jwt.encode(claims, OTHER_RSA[1], algorithm="RS256", headers={"jwk": {"kty": "RSA"}, "jku": "http://127.0.0.1/"}),
        "no signature": f"{header}.{body}.",
        "another body": f"{header}.{part({**claims, 'username': 'ann'})}.{signature}",
        "header with a tail": f"{header}A.{body}.{signature}",
        "a list": f"{header}.{part([])}.{signature}",
        "not text": f"{header}.{body}.\udcff",
        "long": good + "A" * 100_000,
        "deep": f"{part(b'[' * 2000)}.{body}.{signature}",
    }
    for name, changed in {
        "no user": {"username": None},
        "user is a number": {"username": 1},
        "user is empty": {"username": ""},
        "no revision": {"revision": None},
        "revision is text": {"revision": "1"},
        "revision of the cluster": {"revision": -1},
        "revision without end": {"revision": 1e300},
        "revision is a list": {"revision": [1]},
        "over": {"exp": NOW - 1},
        "ends with no time": {"exp": "later"},
        "ends at true": {"exp": True},
        "not yet": {"nbf": NOW + 1},
    }.items():
        kept = {claim: value for claim, value in {**claims, **changed}.items() if value is not None}
        made[name] = jwt.encode(kept, RSA[1], algorithm="RS256")
    return made


@pytest.mark.parametrize("name, token", forged().items(), ids=forged().keys())
def test_forged_tokens(name: str, token: str) -> None:
    tokens = SignedTokens("RS256", *RSA)
    tokens.verify(tokens.issue("root", 1, NOW), NOW)
    for _ in range(2):
        with pytest.raises(InvalidAuthToken):
            tokens.verify(token, NOW)


def test_a_token_of_hmac_needs_the_secret() -> None:
    tokens = SignedTokens("HS256", b"", SECRET)
    with pytest.raises(InvalidAuthToken):
        tokens.verify(SignedTokens("HS256", b"", SECRET + b"x").issue("root", 1, NOW), NOW)
    with pytest.raises(InvalidAuthToken):
        tokens.verify(SignedTokens("HS512", b"", SECRET).issue("root", 1, NOW), NOW)


def test_claims_that_mean_nothing_to_etcd_do_not_matter() -> None:
    claims = {"username": "ann", "revision": 7.0, "aud": "somebody", "iss": "me", "sub": "x", "iat": NOW + 999, "jti": "1"}
    assert SignedTokens("RS256", *RSA).verify(jwt.encode(claims, RSA[1], algorithm="RS256"), NOW + 10**9) == Caller("ann", 7)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvstore.auth.signed.REMEMBERED_MAX", 3)
    tokens = SignedTokens("HS256", b"", SECRET)
    issued = [tokens.issue("ann", revision, NOW) for revision in range(9)]
    for revision, token in enumerate(issued):
        assert tokens.verify(token, NOW) == Caller("ann", revision)
    assert len(tokens._known) == 3
    assert tokens.verify(issued[0], NOW) == Caller("ann", 0)


@pytest.mark.parametrize(
    "method, public, private, text",
    [
        ("RS256", b"", b"", "auth: missing key data"),
        ("HS256", RSA[0], b"", "auth: missing key data"),
        ("RS256", OTHER_RSA[0], RSA[1], "auth: public and private keys don't match"),
        ("ES256", ED[0], b"", "another kind"),
        ("RS256", b"", ED[1], "another kind"),
        ("ES256", CURVES["ES384"][0], b"", "256 bits"),
        ("EdDSA", b"garbage", b"", "not a readable PEM key"),
        ("EdDSA", b"", b"garbage", "not a readable PEM key"),
    ],
)
def test_keys_that_do_not_fit(method: str, public: bytes, private: bytes, text: str) -> None:
    with pytest.raises(BadKey, match=text):
        SignedTokens(method, public, private)


@pytest.mark.filterwarnings("ignore:.*key is .* bytes long")  # the library says so once; etcd says nothing
def test_short_secrets_are_taken_as_etcd_takes_them() -> None:
    tokens = SignedTokens("HS256", b"", b"short")
    assert tokens.verify(tokens.issue("ann", 1, NOW), NOW) == Caller("ann", 1)
