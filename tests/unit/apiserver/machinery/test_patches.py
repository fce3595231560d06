"""The three patches, by example."""

from typing import Any

import pytest

from apiserver.machinery import patches
from apiserver.machinery.patches import json_patch, merge_patch, strategic_patch
from apiserver.machinery.schema import built_in
from apiserver.machinery.status import ApiError

DEPLOYMENT = built_in("apps", "v1", "Deployment")
POD = built_in("", "v1", "Pod")


def deployment(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "web"}, "spec": {"replicas": 1, "template": {"spec": {"containers": list(containers)}}}}


def containers_patch(*containers: Any, **more: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(containers), **more}}}}


def containers_of(obj: dict[str, Any]) -> list[Any]:
    found: list[Any] = obj["spec"]["template"]["spec"]["containers"]
    return found


def test_merge_patch_of_the_rfc() -> None:
    cases: list[tuple[Any, Any, Any]] = [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        (["a"], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "b"}, ["c"], ["c"]),
    ]
    for document, patch, wanted in cases:
        assert merge_patch(document, patch) == wanted


@pytest.mark.parametrize(
    ("document", "operations", "wanted"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 2]}, [{"op": "add", "path": "/a/1", "value": 9}], {"a": [1, 9, 2]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 9}], {"a": [1, 9]}),
        ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": {}}], {"a": {}}),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
        ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a/b": {"~": 1}}, [{"op": "test", "path": "/a~1b/~0", "value": 1}, {"op": "remove", "path": "/a~1b"}], {}),
        ({"a": 1}, [{"op": "add", "path": "", "value": 5}], 5),
        ({"a": 1}, [{"op": "test", "path": "/b", "value": None}], {"a": 1}),
    ],
)
def test_json_patch(document: Any, operations: Any, wanted: Any) -> None:
    before = patches.copied(document)
    assert json_patch(document, operations) == wanted
    assert document == before


@pytest.mark.parametrize(
    ("document", "operation"),
    [
        ({"a": 1}, {"op": "test", "path": "/a", "value": True}),
        ({"a": 1}, {"op": "remove", "path": "/b"}),
        ({"a": 1}, {"op": "replace", "path": "/b", "value": 1}),
        ({"a": [1]}, {"op": "add", "path": "/a/2", "value": 1}),
        ({"a": [1]}, {"op": "add", "path": "/a/-1", "value": 1}),
        ({"a": [1]}, {"op": "add", "path": "/a/01", "value": 1}),
        ({"a": 1}, {"op": "add", "path": "/b/c", "value": 1}),
        ({"a": {}}, {"op": "move", "from": "/a", "path": "/a/b"}),
        ({"a": 1}, {"op": "turn", "path": "/a"}),
        ({"a": 1}, {"op": ["add"], "path": "/a"}),
        ({"a": 1}, {"op": "add", "path": "a", "value": 1}),
        ({"a": 1}, {"op": "add", "path": "/b"}),
        ({"a": 1}, {"op": "remove", "path": ""}),
    ],
)
def test_json_patches_that_do_not_fit(document: Any, operation: Any) -> None:
    with pytest.raises(ApiError) as caught:
        json_patch(document, [operation])
    assert caught.value.code == 422
    assert caught.value.message.startswith("the server rejected our request due to an error in our request: ")


def test_limits() -> None:
    with pytest.raises(ApiError) as caught:
        json_patch({}, [{"op": "test", "path": "", "value": {}}] * 10_001)
    assert caught.value.message == "The allowed maximum operations in a JSON patch is 10000, got 10001"
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 40
    with pytest.raises(ApiError) as caught:
        json_patch({"a": ["x" * 1000]}, doubling)
    assert "the accumulated size increase of copy" in caught.value.message


def test_containers_are_merged_by_name() -> None:
    live = deployment({"name": "a", "image": "1", "tty": True}, {"name": "side"})
    answer = strategic_patch(live, containers_patch({"name": "a", "image": "2"}), DEPLOYMENT)
    assert containers_of(answer) == [{"name": "a", "image": "2", "tty": True}, {"name": "side"}]
    answer = strategic_patch(live, containers_patch({"name": "a", "$patch": "delete"}), DEPLOYMENT)
    assert containers_of(answer) == [{"name": "side"}]
    answer = strategic_patch(live, containers_patch({"name": "c"}, {"$patch": "replace"}), DEPLOYMENT)
    assert containers_of(answer) == [{"name": "c"}]
    assert containers_of(live)[0]["image"] == "1"


def test_set_image_as_kubectl_sends_it() -> None:
    patch = containers_patch({"name": "b", "image": "2"}, **{"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}]})
    live = deployment({"name": "side"}, {"name": "b", "image": "1"}, {"name": "a"})
    assert containers_of(strategic_patch(live, patch, DEPLOYMENT)) == [{"name": "side"}, {"name": "a"}, {"name": "b", "image": "2"}]


def test_lists_of_plain_values() -> None:
    live = {"metadata": {"finalizers": ["a", "b", "c"]}}
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["c", "d", "a"], "finalizers": ["d"]}}
    assert strategic_patch(live, patch, POD) == {"metadata": {"finalizers": ["c", "d", "a"]}}
    # Without an order what is new comes first, as upstream's merge does.
    assert strategic_patch(live, {"metadata": {"finalizers": ["d"]}}, POD)["metadata"]["finalizers"] == ["d", "a", "b", "c"]
    assert strategic_patch(live, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, POD)["metadata"]["finalizers"] == ["b", "c"]
    # Commands have no strategy: they are replaced.
    live = {"spec": {"containers": [{"name": "a", "command": ["x", "y"]}]}}
    assert strategic_patch(live, {"spec": {"containers": [{"name": "a", "command": ["z"]}]}}, POD)["spec"]["containers"][0]["command"] == ["z"]


def test_retain_keys() -> None:
    live = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    patch = {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}
    assert strategic_patch(live, patch, POD) == {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}
    wrong = {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {"path": "/x"}}]}}
    with pytest.raises(ApiError, match="invalid patch format of retainKeys"):
        strategic_patch(live, wrong, POD)


def test_maps() -> None:
    live = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    assert strategic_patch(live, {"metadata": {"labels": {"a": None, "c": "3"}}}, POD) == {"metadata": {"labels": {"b": "2", "c": "3"}}}
    assert strategic_patch(live, {"metadata": {"labels": {"$patch": "replace", "c": "3"}}}, POD) == {"metadata": {"labels": {"c": "3"}}}
    assert strategic_patch(live, {"metadata": {"labels": {"$patch": "delete"}}}, POD) == {"metadata": {"labels": {}}}
    assert strategic_patch({}, {"metadata": {"labels": {"c": None, "d": "4"}}}, POD) == {"metadata": {"labels": {"d": "4"}}}


@pytest.mark.parametrize(
    ("patch", "code", "why"),
    [
        (containers_patch({"image": "x"}), 422, "does not contain declared merge key: name"),
        (containers_patch("x"), 422, "list element types are not identical"),
        (containers_patch({"name": "a", "$patch": "merge"}), 422, "merging lists cannot yet be specified in the patch"),
        ({"spec": {"$patch": "turn"}}, 422, "unknown patch type: turn in map"),
        ({"metadata": {"$deleteFromPrimitiveListfinalizers": ["a"]}}, 400, "invalid patch format of primitive list"),
        ({"metadata": {"$setElementOrder/finalizers": 5}}, 400, "invalid patch format of setElementOrder list"),
    ],
)
def test_strategic_patches_that_do_not_fit(patch: Any, code: int, why: str) -> None:
    with pytest.raises(ApiError) as caught:
        strategic_patch(deployment({"name": "a"}), patch, DEPLOYMENT)
    assert caught.value.code == code
    assert why in caught.value.message
