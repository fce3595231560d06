"""Custom resources through the whole server over the store in memory: from a definition to its objects, and to its end."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from apiserver.custom_resources import CustomResources
from apiserver.registry import custom_columns
from apiserver.registry.custom_strategy import UNCHECKED
from tests.support.api_server import ApiServer

Served = Callable[[Callable[[ApiServer], Coroutine[Any, Any, None]]], None]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SHIRTS = "/apis/example.com/v1/namespaces/default/shirts"
SPEC = {
    "type": "object",
    "required": ["color"],
    "x-kubernetes-validations": [
        {"rule": "self.size <= self.limit", "messageExpression": "'at most ' + string(self.limit)", "fieldPath": ".size"},
        {"rule": "!has(self.note) || self.note != 'old' || oldSelf.color == self.color", "message": "old notes keep their color"},
    ],
    "properties": {
        "color": {"type": "string", "enum": ["red", "blue"]},
        "size": {"type": "integer", "default": 1, "minimum": 1},
        "limit": {"type": "integer", "default": 5},
        "note": {"type": "string", "maxLength": 5},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
    },
}


def definition(plural: str = "shirts", kind: str = "Shirt", **version: Any) -> dict[str, Any]:
    one = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": SPEC, "status": {"type": "object", "properties": {"worn": {"type": "integer"}}}},
            }
        },
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.worn"}},
        "additionalPrinterColumns": [{"name": "Color", "type": "string", "jsonPath": ".spec.color"}],
        "selectableFields": [{"jsonPath": ".spec.color"}],
        **version,
    }
    other = {"name": "v1beta1", "served": True, "storage": False, "schema": one["schema"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind}, "versions": [one, other]},
    }


def shirt(name: str = "s", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Shirt", "metadata": {"name": name}, "spec": {"color": "red", **spec}}


async def seen(api: ApiServer) -> CustomResources:
    """The server's eyes, after it has looked at all definitions."""
    custom = CustomResources(api.app)
    await look(api, custom)
    return custom


async def look(api: ApiServer, custom: CustomResources) -> bool:
    served = api.app.registry.by_qualified("customresourcedefinitions.apiextensions.k8s.io")
    assert served is not None
    done = False
    for _ in range(3):
        await api.app.caches.of(served).reach(await api.app.caches.newest.revision())
        done = await custom.reconcile()
    return done


async def begun(api: ApiServer) -> CustomResources:
    code, created = await api.post(DEFINITIONS, definition())
    assert code == 201, created
    return await seen(api)


def test_a_definition_is_accepted_and_served(served: Served) -> None:
    async def test(api: ApiServer) -> None:
        await begun(api)
        _, found = await api.get(f"{DEFINITIONS}/shirts.example.com")
        assert {each["type"]: each["status"] for each in found["status"]["conditions"]} == {"NamesAccepted": "True", "Established": "True"}
        assert found["status"]["acceptedNames"] == {"plural": "shirts", "singular": "shirt", "kind": "Shirt", "listKind": "ShirtList"}
        assert found["status"]["storedVersions"] == ["v1"]
        _, listed = await api.get("/apis/example.com/v1")
        assert [each["name"] for each in listed["resources"]] == ["shirts", "shirts/scale", "shirts/status"]
        code, made = await api.post(SHIRTS, shirt(unknown=1, free={"x": {"y": 1}}))
        assert (code, made["spec"]) == (201, {"color": "red", "size": 1, "limit": 5, "free": {"x": {"y": 1}}})
        code, beta = await api.get(SHIRTS.replace("v1", "v1beta1") + "/s")
        assert (beta["apiVersion"], beta["spec"]["color"]) == ("example.com/v1beta1", "red")
        _, scaled = await api.patch(f"{SHIRTS}/s/scale", {"spec": {"replicas": 3}})
        assert scaled["spec"]["replicas"] == 3
        _, stated = await api.patch(f"{SHIRTS}/s/status", {"status": {"worn": 2}, "spec": {"size": 9}})
        assert (stated["status"], stated["spec"]["size"], stated["metadata"]["generation"]) == ({"worn": 2}, 3, 2)

    served(test)


TOO_SMALL = "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"
UNASKED = f"<nil>: {UNCHECKED.message}"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"color": "green"}, f'[spec.color: Unsupported value: "green": supported values: "red", "blue", {UNASKED}]'),
        ({"size": 0}, TOO_SMALL),
        (
            {"size": "x"},
            '[spec.size: Invalid value: "string": spec.size in body must be of type integer: "string", '
            f".spec.size: Invalid value: 0: .spec.size accessor error: x is of the type string, expected int64, {UNASKED}]",
        ),
        ({"size": 0, "note": "longer"}, f"[{TOO_SMALL}, spec.note: Too long: may not be more than 5 bytes, {UNASKED}]"),
        ({"tags": ["a", "a"]}, 'spec.tags[1]: Duplicate value: "a"'),
        ({"size": 6}, "spec.size: Invalid value: at most 5"),
    ],
)
def test_values(served: Served, spec: dict[str, Any], message: str) -> None:
    async def test(api: ApiServer) -> None:
        await begun(api)
        code, answer = await api.post(SHIRTS, shirt(**spec))
        assert (code, answer["message"]) == (422, f'Shirt.example.com "s" is invalid: {message}')

    served(test)


def test_rules_of_transitions_see_the_old_object(served: Served) -> None:
    async def test(api: ApiServer) -> None:
        await begun(api)
        await api.post(SHIRTS, shirt(note="old"))
        code, answer = await api.patch(f"{SHIRTS}/s", {"spec": {"color": "blue"}})
        assert (code, answer["message"]) == (422, 'Shirt.example.com "s" is invalid: spec: Invalid value: old notes keep their color')
        assert (await api.patch(f"{SHIRTS}/s", {"spec": {"color": "blue", "note": "new"}}))[0] == 200

    served(test)


def test_who_tightens_a_schema_does_not_lock_up_what_stands(served: Served) -> None:
    async def test(api: ApiServer) -> None:
        custom = await begun(api)
        await api.post(SHIRTS, shirt(size=4, note="old"))
        _, found = await api.get(f"{DEFINITIONS}/shirts.example.com")
        schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        schema["properties"]["size"]["maximum"] = 3
        schema["properties"]["note"]["x-kubernetes-validations"] = [{"rule": "self == 'new'"}]
        code, answer = await api.put(f"{DEFINITIONS}/shirts.example.com", found)
        assert code == 200, answer
        await look(api, custom)
        assert (await api.patch(f"{SHIRTS}/s", {"spec": {"tags": ["a"]}}))[0] == 200
        assert (await api.patch(f"{SHIRTS}/s", {"spec": {"size": 5}}))[0] == 422
        code, answer = await api.patch(f"{SHIRTS}/s", {"spec": {"note": "x"}})
        assert (code, answer["message"].rpartition(": ")[2]) == (422, "self == 'new'")
        assert (await api.post(SHIRTS, shirt("t", size=4)))[0] == 422

    served(test)


def test_a_definition_written_at_one_server_is_served_by_all(served: Served) -> None:
    async def test(api: ApiServer) -> None:
        async with ApiServer(f"{api.path}2", api.store) as other:
            await begun(api)
            custom = await seen(other)
            code, made = await other.post(SHIRTS, shirt())
            assert code == 201, made
            assert (await api.get(f"{SHIRTS}/s"))[0] == 200
            await api.delete(f"{DEFINITIONS}/shirts.example.com")
            await look(other, custom)
            assert (await other.get(SHIRTS))[0] == 404

    served(test)


def test_applied_and_selected(served: Served) -> None:
    async def test(api: ApiServer) -> None:
        await begun(api)
        path = f"{SHIRTS}/s?fieldManager=ann"
        code, made = await api.patch(path, shirt(tags=["a"]), "application/apply-patch+yaml")
        assert (code, made["metadata"]["managedFields"][0]["manager"]) == (201, "ann")
        _, both = await api.patch(f"{SHIRTS}/s?fieldManager=bob", {**shirt(), "spec": {"tags": ["b"]}}, "application/apply-patch+yaml")
        assert both["spec"]["tags"] == ["a", "b"]
        code, answer = await api.patch(f"{SHIRTS}/s?fieldManager=bob", {**shirt(), "spec": {"color": "blue"}}, "application/apply-patch+yaml")
        assert (code, answer["message"]) == (409, 'Apply failed with 1 conflict: conflict with "ann": .spec.color')
        _, found = await api.get(f"{SHIRTS}?fieldSelector=spec.color%3Dred")
        assert len(found["items"]) == 1
        assert (await api.get(f"{SHIRTS}?fieldSelector=spec.size%3D1"))[0] == 400
        code, _ = await api.patch(f"{SHIRTS}/s", {}, "application/strategic-merge-patch+json")
        assert code == 415

    served(test)


def test_who_came_first_keeps_the_name(served: Served) -> None:
    async def test(api: ApiServer) -> None:
        custom = await begun(api)
        assert (await api.post(DEFINITIONS, definition("blouses", "Shirt")))[0] == 201
        await look(api, custom)
        _, found = await api.get(f"{DEFINITIONS}/blouses.example.com")
        told = {each["type"]: (each["status"], each["reason"], each["message"]) for each in found["status"]["conditions"]}
        assert told["NamesAccepted"] == ("False", "ListKindConflict", '"ShirtList" is already in use')
        assert told["Established"][0] == "False"
        await api.delete(f"{DEFINITIONS}/shirts.example.com")
        await look(api, custom)
        await look(api, custom)
        _, found = await api.get(f"{DEFINITIONS}/blouses.example.com")
        assert all(each["status"] == "True" for each in found["status"]["conditions"])

    served(test)


def test_a_definition_ends_after_its_objects(served: Served) -> None:
    async def test(api: ApiServer) -> None:
        custom = await begun(api)
        held = shirt("held")
        held["metadata"]["finalizers"] = ["example.com/hold"]
        await api.post(SHIRTS, shirt("free"))
        await api.post(SHIRTS, held)
        _, found = await api.get(f"{DEFINITIONS}/shirts.example.com")
        assert "finalizers" not in found["metadata"]
        await api.delete(f"{DEFINITIONS}/shirts.example.com")
        assert not await look(api, custom)
        _, found = await api.get(f"{DEFINITIONS}/shirts.example.com")
        assert found["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
        assert [each["status"] for each in found["status"]["conditions"] if each["type"] == "Terminating"] == ["True"]
        assert (await api.post(SHIRTS, shirt("late")))[0] == 405
        _, left = await api.get(SHIRTS)
        assert [each["metadata"]["name"] for each in left["items"]] == ["held"]
        await api.patch(f"{SHIRTS}/held", {"metadata": {"finalizers": None}})
        assert await look(api, custom)
        assert (await api.get(f"{DEFINITIONS}/shirts.example.com"))[0] == 404
        assert (await api.get(SHIRTS))[0] == 404

    served(test)


def test_columns_that_cannot_be_read_leave_the_usual_ones() -> None:
    """Upstream takes such a definition, too."""
    made = custom_columns.printer([{"name": "Size", "type": "string", "jsonPath": ".spec["}])
    assert [each.name for each in made.columns] == ["Name", "Age"]


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"schema": None}, "spec.versions[0].schema.openAPIV3Schema", "Required value"),
        ({"schema": {"openAPIV3Schema": {}}}, "spec.validation.openAPIV3Schema.type", "Required value: must not be empty at the root"),
        (
            {"schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"properties": {"a": {"type": "string"}}}}}}},
            "spec.validation.openAPIV3Schema.properties[spec].type",
            "Required value: must not be empty for specified object fields",
        ),
        (
            {"schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-validations": [{"rule": "self.a +"}]}}},
            "spec.validation.openAPIV3Schema.x-kubernetes-validations[0].rule",
            "compilation failed",
        ),
        ({"storage": False}, "spec.versions", "must have exactly one version marked as storage version"),
        (
            {"additionalPrinterColumns": [{"name": "a", "type": "string", "jsonPath": "spec"}]},
            "spec.versions[0].additionalPrinterColumns[0].JSONPath",
            "must be a simple json path starting with .",
        ),
    ],
)
def test_definitions_that_are_refused(served: Served, change: dict[str, Any], field: str, message: str) -> None:
    async def test(api: ApiServer) -> None:
        code, answer = await api.post(DEFINITIONS, definition(**change))
        assert code == 422
        causes = answer["details"]["causes"]
        assert any(each["field"] == field and message in each["message"] for each in causes), causes

    served(test)
