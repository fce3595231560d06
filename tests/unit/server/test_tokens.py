"""--auth-token and what goes with it, checked as etcd checks it (server/auth/options.go)."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kvstore.accounts import Caller
from kvstore.server.bootstrap import ConfigurationError
from kvstore.server.config import load
from kvstore.server.flags import FlagError
from kvstore.server.tokens import parse_auth_token


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    key = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return tmp_path


def test_simple() -> None:
    assert parse_auth_token("simple") == (None, [])


def test_signed(folder: Path) -> None:
    tokens, notes = parse_auth_token(f"jwt,pub-key={folder}/pub,priv-key={folder}/key,sign-method=EdDSA,ttl=10m,colour=red")
    assert notes == ["--auth-token: unknown JWT option 'colour'"]
    assert tokens is not None
    assert tokens.verify(tokens.issue("ann", 3, 1000.0), 1599.0) == Caller("ann", 3)
    reader, _ = parse_auth_token(f"jwt,pub-key={folder}/pub,sign-method=EdDSA")
    assert reader is not None and reader.verify_only


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "auth: invalid auth options"),
        ("jwt", "sign-method"),
        ("other,a=b", "auth: invalid auth options"),
        ("jwt,sign-method=none,pub-key=F/pub", "sign-method must be one of"),
        ("jwt,sign-method=EdDSA", "auth: missing key data"),
        ("jwt,sign-method=EdDSA,sign-method=EdDSA", "given once"),
        ("jwt,sign-method", "given once"),
        ("jwt,sign-method=EdDSA,pub-key=F/none", "No such file"),
        ("jwt,sign-method=RS256,pub-key=F/pub", "another kind"),
        ("jwt,sign-method=EdDSA,pub-key=F/pub,ttl=soon", "ttl"),
    ],
)
def test_what_is_refused(folder: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_auth_token(text.replace("F/", f"{folder}/"))


def test_a_private_key_shows_nowhere(folder: Path) -> None:
    config = load([f"--auth-token=jwt,priv-key={folder}/key,sign-method=EdDSA"], {})
    secret = (folder / "key").read_text().splitlines()[1]
    assert config.signed_tokens is not None
    assert secret not in repr(config)
    with pytest.raises(ConfigurationError) as refused:
        load([f"--auth-token=jwt,pub-key={folder}/key,sign-method=EdDSA"], {})
    assert secret not in str(refused.value)


def test_times_and_costs() -> None:
    assert (load([], {}).auth_token_ttl_s, load([], {}).bcrypt_cost) == (300.0, 10)
    config = load(["--auth-token-ttl=5", "--bcrypt-cost=4"], {})
    assert (config.auth_token_ttl_s, config.bcrypt_cost) == (5.0, 4)
    assert load(["--auth-token-ttl=0"], {}).auth_token_ttl_s == 300.0
    config = load(["--bcrypt-cost=32"], {})
    assert config.bcrypt_cost == 10
    assert any("bcrypt-cost=32" in note for note in config.notes)
    with pytest.raises(FlagError):
        load(["--auth-token-ttl=-1"], {})
