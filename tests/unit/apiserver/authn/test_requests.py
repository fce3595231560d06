import asyncio
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from apiserver.authn.requests import TokenRequests
from apiserver.authn.service_accounts import Issuer
from apiserver.machinery.status import ApiError
from apiserver.request import User
from tests.unit.apiserver.cluster import Cluster

NOW = 1_800_000_000.0
KEY = ec.generate_private_key(ec.SECP256R1())
POD = {"metadata": {"namespace": "ns", "name": "p", "uid": "pu"}, "spec": {"serviceAccountName": "bot", "nodeName": "n1"}}


def request(spec: dict[str, Any] | None = None, name: str = "bot", warnings: list[str] | None = None, **metadata: str) -> dict[str, Any]:
    account = {"metadata": {"namespace": "ns", "name": "bot", "uid": "u1"}}
    other = {**POD, "metadata": {**POD["metadata"], "name": "q"}, "spec": {"serviceAccountName": "other"}}
    cluster = Cluster(serviceaccounts=[account], pods=[POD, other], nodes=[{"metadata": {"name": "n1", "uid": "nu"}}])
    requests = TokenRequests(Issuer("https://i", KEY), cluster, lambda: NOW, 7200)
    return asyncio.run(requests.create({"metadata": metadata, "spec": spec or {}}, User("ann"), "ns", name, warnings))


def claims(answer: dict[str, Any]) -> dict[str, Any]:
    return jwt.decode(answer["status"]["token"], options={"verify_signature": False})


def test_an_hour_for_the_api_server_by_default():
    answer = request()
    said = claims(answer)
    assert (said["aud"], said["exp"] - said["iat"], said["sub"]) == (["https://i"], 3600, "system:serviceaccount:ns:bot")
    assert answer["status"]["expirationTimestamp"] == "2027-01-15T09:00:00Z"
    assert answer["spec"] == {"audiences": ["https://i"], "expirationSeconds": 3600, "boundObjectRef": None}


def test_bound_to_a_pod_and_its_node():
    said = claims(request({"audiences": ["vault"], "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "pu"}}))
    assert said["aud"] == ["vault"]
    assert (said["kubernetes.io"]["pod"], said["kubernetes.io"]["node"]) == ({"name": "p", "uid": "pu"}, {"name": "n1", "uid": "nu"})


def test_longer_than_allowed_is_shortened_and_told():
    warnings: list[str] = []
    said = claims(request({"expirationSeconds": 999999}, warnings=warnings))
    assert said["exp"] - said["iat"] == 7200
    assert warnings == ["requested expiration of 999999 seconds shortened to 7200 seconds"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"spec": {"expirationSeconds": 599}}, 422),
        ({"spec": {"expirationSeconds": 1 << 33}}, 422),
        ({"name": "nobody"}, 404),
        ({"namespace": "other"}, 422),
        ({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "q"}}}, 400),
        ({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "gone"}}}, 404),
        ({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "before"}}}, 409),
        ({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "p"}}}, 400),
    ],
)
def test_refusals(arguments, code):
    with pytest.raises(ApiError) as told:
        request(**arguments)
    assert told.value.code == code
