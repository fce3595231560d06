"""What a decoder does to a client's object: unknown and doubled fields, types, nulls, spellings."""

import json
from typing import Any

import pytest

from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from apiserver.registry.schemas import check, check_kind, custom

DEPLOYMENTS = check(resource("deployments.apps"))


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template, **spec},
    }


def test_unknown_fields_are_taken_out_and_named_by_their_path() -> None:
    obj = deployment(foo=1)
    obj["spec"]["template"]["spec"]["containers"][0]["bar"] = {"deep": 1}
    assert DEPLOYMENTS.prune(obj) == ["spec.template.spec.containers[0].bar", "spec.foo"]
    assert "foo" not in obj["spec"] and "bar" not in obj["spec"]["template"]["spec"]["containers"][0]


def test_strict_refuses_warn_tells_ignore_is_silent() -> None:
    with pytest.raises(ApiError) as caught:
        DEPLOYMENTS.decode(deployment(foo=1), validation="Strict")
    assert caught.value.code == 400
    expected = 'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.foo"'
    assert caught.value.message == expected
    assert DEPLOYMENTS.decode(deployment(foo=1), validation="Warn") == ['unknown field "spec.foo"']
    assert DEPLOYMENTS.decode(deployment(foo=1), validation="Ignore") == []


def test_a_field_that_stands_twice_in_the_text_is_found() -> None:
    text = json.dumps(deployment(replicas=1)).replace('"replicas": 1', '"replicas": 1, "replicas": 2')
    with pytest.raises(ApiError, match=r'strict decoding error: duplicate field "spec\.replicas"'):
        DEPLOYMENTS.decode(json.loads(text), text=text)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"replicas": "two"}, "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"paused": 1}, "json: cannot unmarshal number into Go struct field DeploymentSpec.spec.paused of type bool"),
        ({"template": []}, "json: cannot unmarshal array into Go struct field DeploymentSpec.spec.template of type v1.PodTemplateSpec"),
        ({"replicas": 2**40}, "json: cannot unmarshal number 1099511627776 into Go struct field DeploymentSpec.spec.replicas of type int32"),
    ],
)
def test_wrong_types_are_told_in_the_decoders_words(spec: dict[str, Any], told: str) -> None:
    with pytest.raises(ApiError) as caught:
        DEPLOYMENTS.types(deployment(**spec))
    assert caught.value.message == f'Deployment in version "v1" cannot be handled as a Deployment: {told}'


def test_quantities_times_and_base64_are_looked_into() -> None:
    pods, secrets, leases = (check(resource(name)) for name in ("pods", "secrets", "leases.coordination.k8s.io"))
    with pytest.raises(ApiError, match="quantities must match the regular expression"):
        pods.types({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "much"}}}]}})
    with pytest.raises(ApiError, match="illegal base64 data at input byte 1"):
        secrets.types({"data": {"key": "a*"}})
    with pytest.raises(ApiError, match='parsing time "soon" as'):
        leases.types({"spec": {"renewTime": "soon"}})


def test_the_decoders_form_has_no_nulls_and_one_spelling() -> None:
    pod = {
        "metadata": {"creationTimestamp": None, "labels": {"a": None}},
        "spec": {"containers": [{"name": "c", "command": None, "resources": {"limits": {"cpu": 1}}}]},
        "status": {"startTime": "2026-01-01T02:00:00+02:00"},
    }
    assert check(resource("pods")).prune(pod) == []
    assert pod["metadata"] == {"labels": {"a": ""}}
    assert pod["spec"] == {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}
    assert pod["status"] == {"startTime": "2026-01-01T00:00:00Z"}


def test_objects_that_are_too_deep_are_refused() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ApiError, match="nested deeper than"):
        DEPLOYMENTS.decode({"spec": deep})


def test_required_fields_are_asked_of_the_spec_and_filled_in_the_status() -> None:
    obj = deployment()
    del obj["spec"]["selector"], obj["spec"]["template"]["spec"]["containers"][0]["name"]
    assert [cause.text() for cause in DEPLOYMENTS.required(obj)] == [
        "spec.selector: Required value",
        "spec.template.spec.containers[0].name: Required value",
    ]
    pod: dict[str, Any] = {"spec": {"containers": []}, "status": {"containerStatuses": [{"name": "c", "ready": True}]}}
    check(resource("pods")).default(pod)
    assert pod["status"]["containerStatuses"] == [{"name": "c", "ready": True, "image": "", "imageID": "", "restartCount": 0}]


def test_kinds_that_are_no_resource_have_checkers_too() -> None:
    assert check_kind("", "v1", "DeleteOptions").prune({"gracePeriodSeconds": 1, "what": 1}) == ["what"]
    assert check_kind("policy", "v1", "Eviction").prune({"deleteOptions": {"preconditions": {"uid": "1", "x": 1}}}) == [
        "deleteOptions.preconditions.x"
    ]


CRON_TAB = custom(
    "CronTab",
    "v1",
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["cron"],
                "properties": {
                    "cron": {"type": "string"},
                    "replicas": {"type": "integer", "default": 1},
                    "port": {"x-kubernetes-int-or-string": True},
                    "note": {"type": "string", "nullable": True},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"known": {"type": "integer"}}},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "items": {"type": "array", "items": {"type": "object", "properties": {"size": {"type": "integer", "default": 3}}}},
                },
            }
        },
    },
)


def cron_tab(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "c"}, "spec": spec}


def test_custom_resources_are_pruned_by_their_own_schema() -> None:
    obj = cron_tab(cron="*", gone=1, free={"any": {"thing": 1}, "known": 1}, items=[{"size": 1, "gone": 2}], labels={"a": "b"})
    obj["metadata"]["gone"] = 1
    assert sorted(CRON_TAB.prune(obj)) == ["metadata.gone", "spec.gone", "spec.items[0].gone"]
    assert obj["spec"]["free"] == {"any": {"thing": 1}, "known": 1}
    assert list(obj) == ["apiVersion", "kind", "metadata", "spec"]


def test_a_custom_resources_own_values_do_not_stop_its_decoding() -> None:
    with pytest.raises(ApiError) as caught:
        CRON_TAB.decode(cron_tab(cron=1, gone=1), validation="Strict")
    assert caught.value.code == 400 and 'unknown field "spec.gone"' in caught.value.message
    assert CRON_TAB.decode(cron_tab(cron=1, gone=1), validation="Warn") == ['unknown field "spec.gone"']
    assert CRON_TAB.decode(cron_tab(cron="1", gone=1), validation="Ignore") == []


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"name": 5}, "json: cannot unmarshal number into Go struct field ObjectMeta.name of type string"),
        ({"finalizers": "x"}, "json: cannot unmarshal string into Go struct field ObjectMeta.finalizers of type []string"),
        ({"labels": {"a": 1}}, "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"),
    ],
)
def test_metadata_of_a_custom_resource_is_decoded_as_any_other(metadata: dict[str, Any], told: str) -> None:
    with pytest.raises(ApiError) as caught:
        CRON_TAB.decode({**cron_tab(cron="*"), "metadata": metadata})
    assert caught.value.message == f'CronTab in version "v1" cannot be handled as a CronTab: {told}'


def test_nulls_that_may_not_be_are_as_if_not_written() -> None:
    obj = cron_tab(cron=None, replicas=None, note=None, free={"any": None, "known": None}, labels={"a": None, "b": "c"}, items=[{"size": None}, None])
    CRON_TAB.decode(obj, validation="Strict")
    CRON_TAB.default(obj)
    assert obj["spec"] == {"replicas": 1, "note": None, "free": {"any": None}, "labels": {"b": "c"}, "items": [{"size": 3}, None]}


EMBEDS = custom(
    "Holder", "v1", {"type": "object", "properties": {"spec": {"type": "object", "properties": {"held": {"x-kubernetes-embedded-resource": True}}}}}
)


def test_metadata_of_embedded_objects_is_decoded_too() -> None:
    def holder(**metadata: Any) -> dict[str, Any]:
        return {"metadata": {"name": "h"}, "spec": {"held": {"apiVersion": "v1", "kind": "Thing", "metadata": metadata}}}

    assert EMBEDS.decode(holder(name="x", gone=1), validation="Warn") == ['unknown field "spec.held.metadata.gone"']
    with pytest.raises(ApiError) as caught:
        EMBEDS.decode(holder(generation="1"))
    assert caught.value.message == (
        'Holder in version "v1" cannot be handled as a Holder: spec.held.metadata: Invalid value: {"generation":"1"}: '
        "json: cannot unmarshal string into Go struct field ObjectMeta.generation of type int64"
    )


def test_custom_resources_defaults() -> None:
    obj = cron_tab(items=[{}])
    CRON_TAB.default(obj)
    assert obj["spec"] == {"items": [{"size": 3}], "replicas": 1}


def test_zero_values_that_go_never_writes_are_as_if_not_written() -> None:
    """So a client that spells them out changes nothing: no generation, no rollout."""
    pod: dict[str, Any] = {
        "metadata": {"labels": {}, "generation": 0},
        "spec": {
            "hostNetwork": False,
            "automountServiceAccountToken": False,
            "nodeSelector": {},
            "tolerations": [],
            "containers": [{"name": "", "env": [], "stdin": False, "resources": {"limits": {}}, "ports": [{"containerPort": 0, "hostPort": 0}]}],
            "volumes": [{"name": "v", "emptyDir": {"medium": ""}}],
        },
    }
    assert check(resource("pods")).prune(pod) == []
    assert pod == {
        "metadata": {},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{"name": "", "resources": {}, "ports": [{"containerPort": 0}]}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    }
    scaled = deployment(replicas=0, paused=False)
    DEPLOYMENTS.prune(scaled)
    assert scaled["spec"]["replicas"] == 0 and "paused" not in scaled["spec"]


@pytest.mark.parametrize(
    ("kind", "obj", "told"),
    [
        ("pods", {}, ["spec.containers"]),
        ("deployments.apps", {}, ["spec"]),
        ("replicationcontrollers", {"spec": {"selector": {"a": "b"}, "template": {}}}, ["spec.template.spec.containers"]),
        ("cronjobs.batch", {"spec": {"schedule": "* * * * *", "jobTemplate": {}}}, ["spec.jobTemplate.spec.template"]),
        ("configmaps", {}, []),
        ("namespaces", {}, []),
    ],
)
def test_a_struct_that_is_not_there_is_an_empty_one(kind: str, obj: dict[str, Any], told: list[str]) -> None:
    assert [cause.field for cause in check(resource(kind)).required(obj)] == told
