"""Tokens kept in Secrets: filled, completed again, and gone with their account."""

import asyncio
import base64

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agents.controllers.service_account_tokens import ACCOUNT_NAME, ACCOUNT_UID, SECRETS, TYPE, ServiceAccountTokens, signer
from agents.controllers.serviceaccount import SERVICE_ACCOUNTS
from apiserver.machinery.objects import annotations_of, name_of
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run


def account(api, name="bot"):
    return api.put(SERVICE_ACCOUNTS, {"metadata": {"name": name, "namespace": "ns"}})


def secret(api, name="s", of="bot", kind=TYPE, **annotations):
    metadata = {"name": name, "namespace": "ns", "annotations": {ACCOUNT_NAME: of, **annotations}}
    return api.put(SECRETS, {"metadata": metadata, "type": kind})


def tokens(context):
    return ServiceAccountTokens(context, lambda claims: jwt.encode(claims, "k" * 32, "HS256"), "PEM")


def data(found):
    return {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}


def test_a_secret_is_filled_and_what_is_taken_from_it_comes_back():
    async def work():
        api = FakeApi()
        made = account(api)
        secret(api)
        secret(api, "other", kind="Opaque")
        async with running(api, tokens):
            await asyncio.sleep(1)
            found = {name_of(each): each for each in api.all(SECRETS)}
            assert data(found["other"]) == {}
            held = data(found["s"])
            assert (held["ca.crt"], held["namespace"]) == ("PEM", "ns")
            assert annotations_of(found["s"])[ACCOUNT_UID] == made["metadata"]["uid"]
            claims = jwt.decode(held["token"], options={"verify_signature": False})
            assert claims["iss"] == "kubernetes/serviceaccount" and claims["sub"] == "system:serviceaccount:ns:bot" and "exp" not in claims
            assert claims["kubernetes.io/serviceaccount/service-account.uid"] == made["metadata"]["uid"]
            api.touch(SECRETS, "ns", "s", lambda obj: obj["data"].pop("namespace"))
            await asyncio.sleep(1)
            assert data(next(each for each in api.all(SECRETS) if name_of(each) == "s")) == held, "and the token stays"

    run(work())


def test_a_secret_goes_with_its_account_and_waits_a_little_for_it():
    async def work():
        api = FakeApi()
        account(api)
        async with running(api, tokens):
            secret(api)
            secret(api, "early", of="late")
            secret(api, "lost", of="nobody")
            secret(api, "stranger", **{ACCOUNT_UID: "another"})
            await asyncio.sleep(1)
            account(api, "late")
            await asyncio.sleep(60)
            assert sorted(name_of(each) for each in api.all(SECRETS) if data(each)) == ["early", "s"]
            assert len(api.all(SECRETS)) == 2
            await api.delete(SERVICE_ACCOUNTS, "bot", "ns")
            await asyncio.sleep(60)
            assert [name_of(each) for each in api.all(SECRETS)] == ["early"]

    run(work())


def test_the_key_of_the_flag(tmp_path):
    path = tmp_path / "sa.key"
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*form))
    assert jwt.decode(signer(str(path))({"a": 1}), key.public_key(), ["ES256"]) == {"a": 1}
    path.write_text("nothing")
    for wrong in (path, tmp_path / "missing"):
        with pytest.raises(ValueError, match="--service-account-private-key-file"):
            signer(str(wrong))
