"""Seeded runs with authentication on, with tokens of both kinds. More of them: KEELSON_ORACLE_STEPS."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.oracle.choosing import Seeded
from tests.oracle.duel import Mismatch
from tests.oracle.guarded import GuardedDuel, begin, finish, step
from tests.support import kinds

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STEPS = int(os.environ.get("KEELSON_ORACLE_STEPS", "3000")) // 8
SEED = int(os.environ.get("KEELSON_ORACLE_SEED", "1"))


def signed(folder: Path) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    (folder / "pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return f"--auth-token=jwt,pub-key={folder}/pub,priv-key={folder}/key,sign-method=ES256,ttl=1h"


@pytest.mark.timeout(120 + STEPS // 5)
@pytest.mark.parametrize("tokens", ["simple", "signed"])
def test_a_seeded_run_has_the_answers_of_etcd(tokens: str, tmp_path: Path) -> None:
    flags = [signed(tmp_path)] if tokens == "signed" else []
    duel = GuardedDuel(kinds.find(kinds.ETCD), kinds.subject(), tmp_path, *flags)
    c = Seeded(SEED)
    try:
        begin(duel)
        for _ in range(STEPS):
            step(duel, c)
        finish(duel)
    except Mismatch as mismatch:
        raise Mismatch(f"seed {SEED}: {mismatch}") from None
    finally:
        duel.close()
