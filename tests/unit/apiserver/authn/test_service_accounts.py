"""Tokens that are good, and every way to make one that is not."""

import asyncio
import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from apiserver.authn import keys
from apiserver.authn.chain import Authenticator, Shown, authenticated
from apiserver.authn.discovery import configuration, key_set
from apiserver.authn.service_accounts import CREDENTIAL_ID, Bound, Issuer, Verifier
from apiserver.config_files import Unusable
from apiserver.machinery.status import ApiError
from apiserver.request import ANONYMOUS, User
from tests.unit.apiserver.cluster import Cluster

ISSUER = "https://kubernetes.default.svc.cluster.local"
NOW = 1_800_000_000.0
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ACCOUNT = {"metadata": {"namespace": "ns", "name": "bot", "uid": "u1"}}
POD = {"metadata": {"namespace": "ns", "name": "p", "uid": "pu"}}


def world(*, now: float = NOW, key: Any = KEY) -> tuple[Cluster, Authenticator]:
    cluster = Cluster(serviceaccounts=[ACCOUNT], pods=[POD])
    verifier = Verifier([ISSUER, "https://old"], [key.public_key()], [], cluster, lambda: now)
    return cluster, Authenticator(accounts=verifier)


def issue(lifetime_s: int = 3600, bound: tuple[Bound, ...] = (), key: Any = KEY, issuer: str = ISSUER, audiences: tuple[str, ...] = ()) -> str:
    return Issuer(issuer, key, new_id=lambda: "j1").issue(ACCOUNT, audiences, lifetime_s, NOW, bound)


def ask(authenticator: Authenticator, token: str, scheme: str = "Bearer") -> User:
    return asyncio.run(authenticator.authenticate(Shown(authorization=f"{scheme} {token}")))


def refused(authenticator: Authenticator, token: str) -> None:
    with pytest.raises(ApiError) as told:
        ask(authenticator, token)
    assert (told.value.code, told.value.message) == (401, "Unauthorized")


def forged(claims: dict[str, Any], key: Any = KEY, algorithm: str = "ES256", **headers: Any) -> str:
    return jwt.encode(claims, key, algorithm, headers or None)


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


@pytest.mark.parametrize(
    "key", [KEY, rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())], ids=["ES256", "RS256", "ES384"]
)
def test_a_good_token_is_its_account(key):
    found = ask(world(key=key)[1], issue(key=key))
    assert found.name == "system:serviceaccount:ns:bot"
    assert found.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
    assert found.uid == "u1"
    assert found.extra[CREDENTIAL_ID] == ("JTI=j1",)


def test_a_pod_s_token_tells_pod_and_node_and_dies_with_the_pod():
    cluster, authenticator = world()
    token = issue(bound=(Bound("pod", "p", "pu"), Bound("node", "n1", "nu")))
    found = ask(authenticator, token, "bearer")
    assert found.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert found.extra["authentication.kubernetes.io/node-name"] == ("n1",)
    cluster.put("pods", {"metadata": {**POD["metadata"], "uid": "another"}})
    refused(authenticator, token)
    cluster.remove("pods", "ns", "p")
    refused(authenticator, token)


def test_a_token_bound_to_a_node_or_secret_dies_with_it():
    cluster, authenticator = world()
    for resource, bound in (("nodes", Bound("node", "n", "nu")), ("secrets", Bound("secret", "s", "su"))):
        token = issue(bound=(bound,))
        refused(authenticator, token)
        namespace = {} if resource == "nodes" else {"namespace": "ns"}
        cluster.put(resource, {"metadata": {"name": bound.name, "uid": bound.uid, **namespace}})
        assert ask(authenticator, token).name.endswith(":bot")


def test_a_deleted_or_recreated_account_s_token_is_good_no_more():
    cluster, authenticator = world()
    token = issue()
    ask(authenticator, token)
    cluster.put("serviceaccounts", {"metadata": {**ACCOUNT["metadata"], "uid": "u2"}})
    refused(authenticator, token)
    cluster.put("serviceaccounts", {"metadata": {**ACCOUNT["metadata"], "deletionTimestamp": "2027-01-15T07:58:00Z"}})  # two minutes before NOW
    refused(authenticator, token)
    cluster.remove("serviceaccounts", "ns", "bot")
    refused(authenticator, token)


def test_an_account_that_the_cache_has_not_heard_of_is_asked_of_the_store():
    cluster, authenticator = world()
    cluster.remove("serviceaccounts", "ns", "bot")
    cluster.late[("serviceaccounts", "ns", "bot")] = ACCOUNT
    assert ask(authenticator, issue()).uid == "u1"


def test_time():
    refused(world(now=NOW + 3606)[1], issue())
    refused(world(now=NOW - 60)[1], issue())
    assert ask(world(now=NOW + 3599)[1], issue()).uid == "u1"


def test_other_audience_other_issuer_other_key():
    refused(world()[1], issue(audiences=("vault",)))
    refused(world()[1], issue(issuer="https://elsewhere"))
    refused(world()[1], issue(key=OTHER))
    assert ask(world()[1], forged({**claims_of(issue()), "iss": "https://old", "aud": [ISSUER]})).uid == "u1"


def test_no_algorithm_but_the_key_s_own():
    claims = claims_of(issue())
    public = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    refused(world()[1], forged(claims, "", "none"))
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()).rstrip(b"=").decode()
    body = issue().split(".")[1]
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(f"{header}.{body}".encode(), public)
    refused(world()[1], f"{header}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


def test_a_changed_body_or_signature():
    header, body, signature = issue().split(".")
    evil = base64.urlsafe_b64encode(json.dumps({**claims_of(issue()), "sub": "system:serviceaccount:kube-system:x"}).encode()).rstrip(b"=").decode()
    for token in (f"{header}.{evil}.{signature}", f"{header}.{body}.", f"{header}.{body}.{signature[:-4]}AAAA"):
        refused(world()[1], token)


@pytest.mark.parametrize(
    "change",
    [
        {"sub": "system:serviceaccount:kube-system:admin"},
        {"kubernetes.io": {"namespace": "kube-system", "serviceaccount": {"name": "bot", "uid": "u1"}}},
        {"kubernetes.io": None},
        {"kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "bot"}}},
        {"kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "bot", "uid": "u1"}, "pod": "p"}},
        {"exp": "tomorrow"},
        {"exp": None},
        {"nbf": True},
        {"aud": [1]},
        {"aud": None},
    ],
)
def test_signed_by_us_and_still_odd(change):
    refused(world()[1], forged({**claims_of(issue()), **change}))


@pytest.mark.parametrize("token", ["", "..", "a.b.c", "a" * 20000, "e30.e30.", "e30.W10.AA", "\udcff.x.y", ".".join(["x"] * 9), "[" * 5000 + ".a.b"])
def test_rubbish(token):
    if token:
        refused(world()[1], token)
    else:
        assert ask(world()[1], token) == ANONYMOUS


def test_a_key_is_changed_without_a_gap():
    cluster = Cluster(serviceaccounts=[ACCOUNT])
    both = Authenticator(accounts=Verifier([ISSUER], [KEY.public_key(), OTHER.public_key()], [], cluster, lambda: NOW))
    assert ask(both, issue()).uid == ask(both, issue(key=OTHER)).uid == "u1"


def test_what_others_check_our_tokens_with():
    told = configuration(ISSUER, "", [KEY.public_key()])
    assert told["jwks_uri"] == f"{ISSUER}/openid/v1/jwks"
    (only,) = key_set([KEY.public_key()])["keys"]
    assert (
        jwt.decode(issue(), jwt.PyJWK(only), audience=ISSUER, options={"verify_exp": False, "verify_nbf": False, "verify_iat": False})["jti"] == "j1"
    )
    assert only["kid"] == jwt.get_unverified_header(issue())["kid"]


def test_everybody_known_is_in_one_group_and_nobody_else():
    assert authenticated(User("x")).groups == ("system:authenticated",)
    assert authenticated(ANONYMOUS) == ANONYMOUS


def test_weak_keys_are_refused(tmp_path):
    path = tmp_path / "weak.key"
    pem = rsa.generate_private_key(65537, 1024).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem)
    with pytest.raises(Unusable, match=r"weak\.key"):
        keys.read_private(path)
    with pytest.raises(Unusable, match=r"weak\.key"):
        keys.read_public([path])


SECRET: dict[str, Any] = {"metadata": {"namespace": "ns", "name": "s"}, "type": "kubernetes.io/service-account-token"}


def legacy(cluster: Cluster, **changes: Any) -> str:
    """A token without an end, and the Secret that holds it."""
    about = {"namespace": "ns", "secret.name": "s", "service-account.name": "bot", "service-account.uid": "u1"}
    claims = {"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:ns:bot"}
    claims |= {f"kubernetes.io/serviceaccount/{name}": value for name, value in about.items()}
    token = forged({**claims, **changes})
    data = {"token": base64.b64encode(token.encode()).decode()}
    cluster.put("secrets", {**SECRET, "data": data})
    return token


def test_a_token_of_a_secret_is_good_as_long_as_the_secret_holds_it():
    cluster, authenticator = world()
    token = legacy(cluster)
    assert ask(authenticator, token).name == "system:serviceaccount:ns:bot"
    cluster.put("secrets", {"metadata": {"namespace": "ns", "name": "s"}, "type": "Opaque", "data": {}})
    refused(authenticator, token)
    token = legacy(cluster)
    assert ask(authenticator, token).uid == "u1"
    labels = {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}
    cluster.put("secrets", {**SECRET, "metadata": {**SECRET["metadata"], "labels": labels}, "data": cluster.get("secrets", "ns", "s")["data"]})
    refused(authenticator, token)
    token = legacy(cluster)
    assert ask(authenticator, token).uid == "u1"
    cluster.remove("secrets", "ns", "s")
    refused(authenticator, token)


def test_tokens_of_secrets_that_are_not_good():
    cluster, authenticator = world()
    refused(authenticator, legacy(cluster, sub="system:serviceaccount:kube-system:bot"))
    refused(authenticator, legacy(cluster, **{"kubernetes.io/serviceaccount/service-account.uid": "u0"}))
    refused(authenticator, legacy(cluster, **{"kubernetes.io/serviceaccount/secret.name": ["s"]}))
    token = legacy(cluster)
    cluster.put("serviceaccounts", {"metadata": {**ACCOUNT["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    refused(authenticator, token)
    cluster, authenticator = world(key=OTHER)
    refused(authenticator, legacy(cluster))
    cluster, authenticator = world()
    assert asyncio.run(authenticator.of_token(legacy(cluster), ["elsewhere"])) is None
