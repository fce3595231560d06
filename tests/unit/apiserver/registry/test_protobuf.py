"""Protobuf bodies: recorded from kubectl 1.37.1, made by hand, and broken in every way."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.machinery.schema import definitions
from apiserver.machinery.status import ApiError
from apiserver.registry.protobuf import ALTERNATIVES, MAGIC, _table, decode
from apiserver.registry.schemas import check_kind

RECORDED = {
    "secret": "azhzAAoMCgJ2MRIGU2VjcmV0Eh0KEQoBcxIAGgAiACoAMgA4AEIAEgYKAWESAWIaABoAIgA=",
    "deployment": (
        "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErABChsKAWQSABoAIgAqADIAOABCAFoICgNhcHASAWQSggEIABIKCggKA2FwcBIBZBpqChoKABIAGgAiACoA"
        "MgA4AEIAWggKA2FwcBIBZBJMEi4KBW5naW54EgVuZ2lueCoAMgoKABAAGFAiACoAQgBqAHIAgAEAiAEAkAEAogEAGgAyAEIASgBSAFgAYABoAIIBAIoBAJoB"
        "AMIBACICCgAoADgAGgwIABAAGAAgACgAOAAaACIA"
    ),
    "cron_job": (
        "azhzAAoTCghiYXRjaC92MRIHQ3JvbkpvYhKkAQoSCgJjahIAGgAiACoAMgA4AEIAEosBCgsqLzUgKiAqICogKhoAKnoKEgoCY2oSABoAIgAqADIAOABCABJk"
        "MmIKEAoAEgAaACIAKgAyADgAQgASThInCgJjahIHYnVzeWJveBoEZGF0ZSoAQgBqAHIAgAEAiAEAkAEAogEAGglPbkZhaWx1cmUyAEIASgBSAFgAYABoAIIB"
        "AIoBAJoBAMIBABoAGgAiAA=="
    ),
    "ingress": (
        "azhzAAofChRuZXR3b3JraW5nLms4cy5pby92MRIHSW5ncmVzcxJTChEKAWkSABoAIgAqADIAOABCABI6EgwKB2Zvby5jb20SAXgaKgoHZm9vLmNvbRIfCh0K"
        "GwoBLxIOIgwKA3N2YxIFCgAQkD8aBlByZWZpeBoCCgAaACIA"
    ),
    "token": "azhzAAooChhhdXRoZW50aWNhdGlvbi5rOHMuaW8vdjESDFRva2VuUmVxdWVzdBIaChAKABIAGgAiACoAMgA4AEIAEgAaBAoAEgAaACIA",
    "service": (
        "azhzAAoNCgJ2MRIHU2VydmljZRJpCh0KAnN2EgAaACIAKgAyADgAQgBaCQoDYXBwEgJzdhJECh4KBzgwLWh0dHASA1RDUBhQIgoIARAAGgRodHRwKAASCQoD"
        "YXBwEgJzdhoAIglDbHVzdGVySVA6AEIAUgBaAGAAaAAaAgoAGgAiAA=="
    ),
    "review": (
        "azhzAAoyChdhdXRob3JpemF0aW9uLms4cy5pby92MRIXU2VsZlN1YmplY3RBY2Nlc3NSZXZpZXcSPAoQCgASABoAIgAqADIAOABCABIeChwKB2RlZmF1bHQS"
        "A2dldBoAIgAqBHBvZHMyADoAGggIABIAGgAgABoAIgA="
    ),
}
"""What `kubectl create deployment d --image=nginx --replicas=0 --port=80` and its sisters sent."""


def recorded(name: str) -> bytes:
    return base64.b64decode(RECORDED[name])


def varint(value: int) -> bytes:
    made = b""
    value &= 2**64 - 1
    while value > 0x7F:
        made += bytes([value & 0x7F | 0x80])
        value >>= 7
    return made + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def body(api_version: str, kind: str, message: bytes) -> bytes:
    return MAGIC + field(1, field(1, api_version.encode()) + field(2, kind.encode())) + field(2, message)


def test_a_deployment_with_no_replicas_says_so() -> None:
    found = decode(recorded("deployment"))
    container = {"name": "nginx", "image": "nginx", "ports": [{"containerPort": 80}], "resources": {}}
    assert found == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "labels": {"app": "d"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [container]}},
            "strategy": {},
        },
        "status": {},
    }


def test_inlined_structs_are_flat_and_ports_are_numbers_or_names() -> None:
    backend = {"service": {"name": "svc", "port": {"number": 8080}}}
    assert decode(recorded("ingress"))["spec"]["rules"] == [
        {"host": "foo.com", "http": {"paths": [{"path": "/", "backend": backend, "pathType": "Prefix"}]}}
    ]
    assert decode(recorded("service"))["spec"]["ports"] == [{"name": "80-http", "protocol": "TCP", "port": 80, "targetPort": "http"}]
    assert decode(recorded("secret"))["data"] == {"a": "Yg=="}


@pytest.mark.parametrize("name", RECORDED)
def test_what_clients_send_fits_the_schemas(name: str) -> None:
    found = decode(recorded(name))
    group, _, version = found["apiVersion"].rpartition("/")
    assert check_kind(group, version, found["kind"]).decode(found, validation="Strict") == []


def test_times_quantities_maps_and_negative_numbers() -> None:
    meta = field(1, b"p") + field(8, field(1, 1_700_000_000))
    quantity = field(1, b"cpu") + field(2, field(1, b"500m"))
    container = field(1, b"c") + field(8, field(1, quantity))
    toleration = field(1, b"k") + field(5, -5)
    pod = decode(body("v1", "Pod", field(1, meta) + field(2, field(2, container) + field(22, toleration))))
    assert pod["metadata"] == {"name": "p", "creationTimestamp": "2023-11-14T22:13:20Z"}
    assert pod["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "500m"}}
    assert pod["spec"]["tolerations"] == [{"key": "k", "tolerationSeconds": -5}]
    lease = decode(body("coordination.k8s.io/v1", "Lease", field(2, field(4, field(1, 1) + field(2, 2_000)))))
    assert lease["spec"]["renewTime"] == "1970-01-01T00:00:01.000002Z"


def test_schemas_of_custom_resources_and_their_alternatives() -> None:
    inner = field(5, b"string")
    schema = field(5, b"object") + field(29, field(1, b"names") + field(2, field(5, b"array") + field(24, field(1, inner))))
    version = field(1, b"v1") + field(4, field(1, schema))
    found = decode(body("apiextensions.k8s.io/v1", "CustomResourceDefinition", field(2, field(7, version))))
    expected = {"type": "object", "properties": {"names": {"type": "array", "items": {"type": "string"}}}}
    assert found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == expected


def test_delete_options_of_any_group() -> None:
    message = field(1, 0) + field(4, b"Background")
    for api_version in ("v1", "meta.k8s.io/v1", "apps/v1"):
        found = decode(body(api_version, "DeleteOptions", message))
        assert found == {"apiVersion": api_version, "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Background"}


def test_unknown_fields_are_skipped_and_unknown_kinds_refused() -> None:
    assert decode(body("v1", "ConfigMap", field(77, b"new") + field(78, 5)))["kind"] == "ConfigMap"
    with pytest.raises(ApiError, match='no kind "Nothing" is registered for version "v1"'):
        decode(body("v1", "Nothing", b""))


def nested(levels: int) -> bytes:
    schema = field(5, b"object")
    for _ in range(levels):
        schema = field(28, schema)
    return body("apiextensions.k8s.io/v1", "CustomResourceDefinition", field(2, field(7, field(4, field(1, schema)))))


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"k8s",
        b"{}",
        MAGIC,
        recorded("deployment")[:-3],
        body("v1", "ConfigMap", b"\xff" * 20),
        body("v1", "ConfigMap", b"\x0a\xff\xff\xff\xff\x0f"),
        body("v1", "ConfigMap", b"\x0b"),
        body("v1", "ConfigMap", field(1, 5)),
        body("v1", "ConfigMap", field(1, field(1, b"\xff\xfe"))),
        body("v1", "Pod", field(1, field(8, field(1, 2**62)))),
        body("apps/v1", "ControllerRevision", field(2, field(1, b"{"))),
        nested(5_000),
    ],
)
def test_broken_bodies_are_a_400(broken: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        decode(broken)
    assert caught.value.code == 400


@given(st.sampled_from(sorted(RECORDED)), st.data())
def test_no_damage_to_a_body_is_more_than_a_400(name: str, data: st.DataObject) -> None:
    damaged = bytearray(recorded(name))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    found: Any = None
    try:
        found = decode(bytes(damaged))
    except ApiError as refusal:
        assert refusal.code == 400
    else:
        assert isinstance(found, dict)


def test_fields_that_nobody_knows_are_told_unless_they_say_nothing() -> None:
    new, zero = field(9000, b"x"), field(9001, 0) + field(9002, b"")
    envelope = field(1, field(1, b"v1") + field(2, b"ConfigMap"))
    unknown: list[str] = []
    found = decode(MAGIC + envelope + field(2, field(1, field(1, b"a") + new + zero) + zero), unknown)
    assert found["metadata"]["name"] == "a"
    assert unknown == ["unknown field 9000 of meta.v1.ObjectMeta"]


def names_of(message: str) -> set[str]:
    """What the JSON of a message may say."""
    found: set[str] = set()
    for name, kind, _ in _table()[1][message].values():
        found |= {name} if name else names_of(kind)
    return found


def test_every_field_of_the_schemas_has_its_number() -> None:
    """The table is of the same release as the schemas: what JSON can say protobuf can say."""
    places = {"meta.v1": "io.k8s.apimachinery.pkg.apis.meta.v1"}
    places["apiextensions.v1"] = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"
    lacking, compared = [], 0
    for message in _table()[1]:
        package, _, kind = message.rpartition(".")
        schema = definitions().get(f"{places.get(package, f'io.k8s.api.{package}')}.{kind}")
        if schema is None or message in ALTERNATIVES:
            continue
        compared += 1
        lacking += [f"{message}.{name}" for name in schema.get("properties", {}).keys() - names_of(message) - {"apiVersion", "kind"}]
    assert sorted(lacking) == []
    assert compared > 600
