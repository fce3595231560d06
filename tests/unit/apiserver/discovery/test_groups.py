"""Discovery: what is negotiated, and what the documents say."""

from typing import Any

import msgspec
import pytest

from apiserver.discovery.groups import Answer, serve, version
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError
from apiserver.registry.short_names import completed

RESOURCES = list(completed())
V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
V2BETA1 = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
PROTOBUF = "application/vnd.kubernetes.protobuf"


def get(path: str, accept: str = "", if_none_match: str = "", resources: list[Resource] = RESOURCES) -> Answer:
    found = serve(resources, path, accept, if_none_match)
    assert found is not None
    return found


def body(path: str, accept: str = "") -> Any:
    return msgspec.json.decode(get(path, accept).body)


@pytest.mark.parametrize(
    ("accept", "content_type", "kind"),
    [
        (f"{V2},{V2BETA1},application/json", V2, "APIGroupDiscoveryList"),
        (f"{V2BETA1},application/json", V2BETA1, "APIGroupDiscoveryList"),
        (f"{PROTOBUF};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,{V2},application/json", V2, "APIGroupDiscoveryList"),
        (f"application/json;q=0.5,{V2}", V2, "APIGroupDiscoveryList"),
        ("application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList,application/json", "application/json", "APIGroupList"),
        (f"{PROTOBUF},*/*", "application/json", "APIGroupList"),
        ("*/*", "application/json", "APIGroupList"),
        ("", "application/json", "APIGroupList"),
    ],
)
def test_the_form_is_exactly_what_the_client_asked_for(accept: str, content_type: str, kind: str) -> None:
    answer = get("/apis", accept)
    assert answer.content_type == content_type
    found = msgspec.json.decode(answer.body)
    assert found["kind"] == kind
    assert found["apiVersion"] == ("v1" if kind == "APIGroupList" else f"apidiscovery.k8s.io/{content_type.split('v=')[1].split(';')[0]}")


def test_the_hash_of_the_stored_version_is_kubernetes_own() -> None:
    listed = {each["name"]: each for each in body("/api/v1")["resources"]}
    assert listed["pods"]["storageVersionHash"] == "xPOwRZ+Yhw8="  # as every cluster since 1.14 tells it
    assert "storageVersionHash" not in listed["pods/log"]


def test_a_client_that_reads_no_json_is_told_so() -> None:
    with pytest.raises(ApiError) as caught:
        get("/apis", PROTOBUF)
    assert caught.value.code == 406


def test_an_etag_saves_the_second_answer() -> None:
    first = get("/apis", V2)
    again = get("/apis", V2, first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    fewer = get("/apis", V2, first.headers["ETag"], [each for each in RESOURCES if each.group != "apps"])
    assert fewer.status == 200


def test_aggregated_pods() -> None:
    [core] = body("/api", V2)["items"]
    assert "name" not in core["metadata"]
    pods = next(each for each in core["versions"][0]["resources"] if each["resource"] == "pods")
    assert (pods["scope"], pods["singularResource"], pods["shortNames"], pods["categories"]) == ("Namespaced", "pod", ["po"], ["all"])
    assert [each["subresource"] for each in pods["subresources"]] == [
        *("attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "resize", "status")
    ]
    eviction = next(each for each in pods["subresources"] if each["subresource"] == "eviction")
    assert eviction["responseKind"] == {"group": "policy", "version": "v1", "kind": "Eviction"}


def test_groups_are_in_order_and_prefer_their_most_stable_version() -> None:
    groups = body("/apis")["groups"]
    names = [group["name"] for group in groups]
    assert names.index("apps") < names.index("events.k8s.io") < names.index("storage.k8s.io")
    preferred = {group["name"]: group["preferredVersion"]["version"] for group in groups}
    assert preferred["autoscaling"] == "v2" and preferred["resource.k8s.io"] == "v1"
    assert body("/apis/autoscaling")["versions"] == [
        {"groupVersion": "autoscaling/v2", "version": "v2"},
        {"groupVersion": "autoscaling/v1", "version": "v1"},
    ]


def test_the_legacy_list_names_subresources_and_their_own_kinds() -> None:
    listed = {each["name"]: each for each in body("/apis/apps/v1")["resources"]}
    assert listed["deployments/scale"] == {
        "name": "deployments/scale",
        "singularName": "",
        "namespaced": True,
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
        "verbs": ["get", "patch", "update"],
    }
    assert listed["deployments"]["verbs"] == ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    assert "group" not in listed["deployments/status"]
    assert body("/api")["versions"] == ["v1"] and body("/api/v1")["groupVersion"] == "v1"


def test_a_custom_resource_is_seen_at_once_and_strangers_are_not_found() -> None:
    custom = Resource("stable.example.com", "v1", "CronTab", "crontabs", True, ("get", "list"), (), "crontab", ("ct",))
    assert serve(RESOURCES, "/apis/stable.example.com/v1") is None
    assert serve([*RESOURCES, custom], "/apis/stable.example.com/v1") is not None
    assert serve(RESOURCES, "/apis/stable.example.com") is None


def test_the_version_is_kubernetes() -> None:
    found = msgspec.json.decode(version().body)
    assert (found["major"], found["minor"]) == ("1", "37") and found["gitVersion"].startswith("v1.37.")
