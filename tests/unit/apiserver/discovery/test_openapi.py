"""The OpenAPI documents: what kubectl reads out of them, and that they hold together."""

from typing import Any

import msgspec
import pytest

from apiserver.discovery.groups import Answer
from apiserver.discovery.openapi import Documents, document, group_versions
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError
from apiserver.registry import protobuf
from apiserver.registry.short_names import completed

RESOURCES = list(completed())
CRON_TABS = Resource("stable.example.com", "v1", "CronTab", "crontabs", True, ("create", "get", "list", "patch"), (), "crontab")
SCHEMA = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"cron": {"type": "string"}}}}}
CUSTOM: dict[tuple[str, str, str], dict[str, Any]] = {("stable.example.com", "v1", "CronTab"): SCHEMA}


def made(name: str) -> Any:
    return document(group_versions(RESOURCES)[name], {})


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(each) for each in value.values()))
    return set[str]().union(*(references(each) for each in value)) if isinstance(value, list) else set()


def test_the_index_names_every_group_and_version_and_hashes_change_with_the_resources() -> None:
    documents = Documents()
    index = msgspec.json.decode(documents.index(RESOURCES).body)["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/autoscaling/v1", "apis/autoscaling/v2"} <= index.keys()
    more = msgspec.json.decode(documents.index([*RESOURCES, CRON_TABS], CUSTOM).body)["paths"]
    assert more.keys() - index.keys() == {"apis/stable.example.com/v1"}
    assert more["apis/apps/v1"] == index["apis/apps/v1"]
    other = msgspec.json.decode(documents.index([*RESOURCES, CRON_TABS], {next(iter(CUSTOM)): {"type": "object"}}).body)["paths"]
    assert other["apis/stable.example.com/v1"] != more["apis/stable.example.com/v1"]


@pytest.mark.parametrize("name", ["api/v1", "apis/apps/v1", "apis/apiextensions.k8s.io/v1", "apis/policy/v1"])
def test_every_reference_leads_somewhere_and_no_type_is_a_list(name: str) -> None:
    found = made(name)
    schemas = found["components"]["schemas"]
    assert {each.rsplit("/", 1)[-1] for each in references(found)} <= schemas.keys()
    assert '"type":["' not in msgspec.json.encode(schemas).decode()


def test_kubectl_finds_field_validation_and_the_media_types_of_patches() -> None:
    item = made("apis/apps/v1")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    patch = item["patch"]
    assert {each["name"] for each in patch["parameters"]} == {"dryRun", "fieldManager", "fieldValidation", "force"}
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
    assert item["put"]["x-kubernetes-action"] == "put" and item["get"]["x-kubernetes-action"] == "get"


def test_every_verb_of_every_resource_has_its_path() -> None:
    found = made("api/v1")["paths"]
    assert set(found["/api/v1/namespaces/{namespace}/pods"]) == {"post", "get", "delete", "parameters"}
    assert set(found["/api/v1/pods"]) == {"get", "parameters"}
    assert set(found["/api/v1/namespaces/{namespace}/pods/{name}/exec"]) == {"post", "get", "parameters"}
    assert set(found["/api/v1/namespaces/{name}"]) == {"get", "put", "patch", "delete", "parameters"}
    eviction = found["/api/v1/namespaces/{namespace}/pods/{name}/eviction"]["post"]
    assert eviction["requestBody"]["content"]["*/*"]["schema"] == {"$ref": "#/components/schemas/io.k8s.api.policy.v1.Eviction"}


def test_operation_ids_are_unique() -> None:
    for name in ("api/v1", "apis/apps/v1", "apis/autoscaling/v2"):
        ids = [each["operationId"] for item in made(name)["paths"].values() for key, each in item.items() if key != "parameters"]
        assert len(ids) == len(set(ids))


def test_definitions_are_kubernetes_own_again() -> None:
    schemas = made("apis/apps/v1")["components"]["schemas"]
    deployment = schemas["io.k8s.api.apps.v1.Deployment"]
    assert deployment["type"] == "object" and "enum" not in deployment["properties"]["kind"]
    assert deployment["x-kubernetes-group-version-kind"] == [{"group": "apps", "kind": "Deployment", "version": "v1"}]
    assert deployment["properties"]["spec"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"


def document_of(documents: Documents, name: str, **more: Any) -> Answer:
    found = documents.document([*RESOURCES, CRON_TABS], name, CUSTOM, **more)
    assert found is not None
    return found


def test_a_hash_makes_a_document_immutable_and_an_old_one_leads_to_the_new() -> None:
    documents = Documents()
    url = msgspec.json.decode(documents.index([*RESOURCES, CRON_TABS], CUSTOM).body)["paths"]["apis/stable.example.com/v1"]["serverRelativeURL"]
    wanted = url.partition("hash=")[2]
    answer = document_of(documents, "apis/stable.example.com/v1", wanted_hash=wanted)
    assert answer.headers["Cache-Control"] == "public, immutable"
    assert document_of(documents, "apis/stable.example.com/v1", if_none_match=f'"{wanted}"').status == 304
    old = document_of(documents, "apis/stable.example.com/v1", wanted_hash="0")
    assert (old.status, old.headers["Location"]) == (301, url)
    assert documents.document(RESOURCES, "apis/nobody/v1") is None


def test_a_custom_resource_has_its_schema_and_no_strategic_patch() -> None:
    found = msgspec.json.decode(document_of(Documents(), "apis/stable.example.com/v1").body)
    own = found["components"]["schemas"]["com.example.stable.v1.CronTab"]
    assert own["properties"]["spec"]["properties"]["cron"] == {"type": "string"} and "metadata" in own["properties"]
    patch = found["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
    assert {each.rsplit("/", 1)[-1] for each in references(found)} <= found["components"]["schemas"].keys()


def test_swagger_as_json() -> None:
    documents = Documents()
    found = msgspec.json.decode(documents.swagger(RESOURCES).body)
    assert found["swagger"] == "2.0" and len(found["paths"]) > 300
    assert {each.rsplit("/", 1)[-1] for each in references(found)} <= found["definitions"].keys()
    with pytest.raises(ApiError) as caught:
        documents.swagger(RESOURCES, accept="application/cbor")
    assert caught.value.code == 406


def parts(message: bytes, *numbers: int) -> list[Any]:
    """What stands in a field of a field of ... a protobuf message."""
    found: list[Any] = [message]
    for number in numbers:
        found = [value for each in found for tag, _, value in protobuf.fields(each) if tag == number]
    return found


def test_swagger_in_protobuf_says_the_same() -> None:
    documents = Documents()
    plain = msgspec.json.decode(documents.swagger(RESOURCES).body)
    asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    answer = documents.swagger(RESOURCES, accept=asked)
    assert answer.content_type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    document, path_item, operation, schema = answer.body, (8, 2), 3, 2  # Document.paths.path; PathItem.put; NamedX.value
    assert parts(document, 1) == [b"2.0"]
    assert [each.decode() for each in parts(document, *path_item, 1)] == list(plain["paths"])
    assert [each.decode() for each in parts(document, 9, 1, 1)] == list(plain["definitions"])
    path = "/api/v1/namespaces/{namespace}/configmaps/{name}"
    (item,) = [each for each in parts(document, *path_item) if parts(each, 1) == [path.encode()]]
    (put,) = parts(item, 2, operation)
    assert parts(put, 5) == [plain["paths"][path]["put"]["operationId"].encode()]
    assert parts(put, 6) == [b"application/json"]
    queries = [each["name"].encode() for each in plain["paths"][path]["put"]["parameters"] if each["in"] == "query"]
    assert b"fieldValidation" in queries and parts(put, 8, 1, 2, 3, 4) == queries  # ...NonBodyParameter.query.name
    assert [each for each in parts(put, 13, 1) if b"version" in each] == [b"x-kubernetes-group-version-kind"]
    (named,) = [each for each in parts(document, 9, 1) if parts(each, 1) == [b"io.k8s.api.core.v1.ConfigMap"]]
    assert parts(named, schema, 22, 1) == [b"object"]
    assert b"data" in parts(named, schema, 25, 1, 1)
    assert b"string" in parts(named, schema, 25, 1, schema, 21, 1, 22, 1)  # Schema.properties.X.additionalProperties.type
