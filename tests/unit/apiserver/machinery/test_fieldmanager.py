"""Who owns what, told as stories of writes: creates, updates and applies of several managers, as upstream's managedFields show them."""

from typing import Any

import pytest

from apiserver.machinery import fieldmanager, fieldset
from apiserver.machinery.patches import copied
from apiserver.machinery.schema import built_in
from apiserver.machinery.status import ApiError

DEPLOYMENT = built_in("apps", "v1", "Deployment")
CONFIG_MAP = built_in("", "v1", "ConfigMap")
SERVICE = built_in("", "v1", "Service")
NOW, LATER = "2026-11-21T14:00:00Z", "2026-11-21T15:00:00Z"
Obj = dict[str, Any]


def config_map(labels: Obj | None = None, **data: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **({"labels": labels} if labels else {})}, "data": data}


def apply(live: Obj | None, config: Obj, manager: str = "a", *, force: bool = False, now: str = NOW, node: Any = CONFIG_MAP, **more: Any) -> Obj:
    before = copied(live)
    found = fieldmanager.apply(live, copied(config), manager=manager, now=now, force=force, node=node, **more)
    assert live == before
    return found


def update(
    live: Obj | None, new: Obj, manager: str = "u", *, now: str = NOW, node: Any = CONFIG_MAP, version: str = "v1", subresource: str = ""
) -> Obj:
    new = copied(new)
    fieldmanager.update(copied(live), new, manager=manager, now=now, api_version=version, node=node, subresource=subresource)
    return new


def owners(obj: Obj) -> dict[str, Obj]:
    return {f"{each['manager']}/{each['operation']}": each["fieldsV1"] for each in obj["metadata"].get("managedFields", [])}


def test_a_create_owns_what_it_wrote_as_upstream_says() -> None:
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx", "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {}}]},
        },
    }
    obj = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "uid": "1", "labels": {"app": "web"}}, "spec": spec}
    created = update(None, obj, "kubectl-create", node=DEPLOYMENT, version="apps/v1")
    assert created["metadata"]["managedFields"] == [
        {
            "manager": "kubectl-create",
            "operation": "Update",
            "apiVersion": "apps/v1",
            "time": NOW,
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:replicas": {},
                    "f:selector": {},
                    "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
                    "f:template": {
                        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                        "f:spec": {
                            "f:containers": {
                                'k:{"name":"web"}': {
                                    ".": {},
                                    "f:image": {},
                                    "f:name": {},
                                    "f:ports": {
                                        ".": {},
                                        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}, "f:protocol": {}},
                                    },
                                    "f:resources": {},
                                }
                            }
                        },
                    },
                },
            },
        }
    ]


def test_an_apply_owns_what_it_names() -> None:
    found = apply(None, config_map({"l": "1"}, x="1"))
    assert owners(found) == {"a/Apply": {"f:metadata": {"f:labels": {"f:l": {}}}, "f:data": {"f:x": {}}}}
    assert apply(found, config_map({"l": "1"}, x="1"), now=LATER) is found


def test_what_one_manager_stops_naming_goes() -> None:
    live = apply(None, config_map({"l": "1"}, x="1", y="2"))
    assert apply(live, config_map(x="1"))["data"] == {"x": "1"}
    assert "labels" not in apply(live, config_map(x="1"))["metadata"]
    shared = apply(live, config_map(y="2"), "b")
    assert apply(shared, config_map(x="1"))["data"] == {"x": "1", "y": "2"}
    assert "y" not in apply(apply(shared, config_map(x="1")), config_map(z="1"), "b")["data"]


def test_conflicts() -> None:
    live = apply(None, config_map(x="1", y="2"))
    with pytest.raises(ApiError) as caught:
        apply(live, config_map(x="9"), "b")
    assert (caught.value.code, caught.value.message) == (409, 'Apply failed with 1 conflict: conflict with "a": .data.x')
    assert caught.value.status()["details"]["causes"] == [{"reason": "FieldManagerConflict", "message": 'conflict with "a"', "field": ".data.x"}]
    updated = update(live, {**live, "data": {"x": "1", "y": "3"}}, "editor")
    with pytest.raises(ApiError) as caught:
        apply(updated, config_map(x="9", y="9"), "b")
    assert caught.value.message == ('Apply failed with 2 conflicts: conflicts with "a":\n- .data.x\nconflicts with "editor" using v1:\n- .data.y')
    forced = apply(updated, config_map(x="9", y="9"), "b", force=True)
    assert owners(forced) == {"b/Apply": {"f:data": {"f:x": {}, "f:y": {}}}}
    # Wanting the same value is no conflict: both own it.
    assert owners(apply(live, config_map(x="1"), "b")).keys() == {"a/Apply", "b/Apply"}


def test_updates_take_what_they_change() -> None:
    live = apply(None, config_map(x="1", y="2"))
    new = update(live, {**live, "data": {"x": "1", "y": "9", "z": "1"}}, now=LATER)
    assert owners(new) == {"a/Apply": {"f:data": {"f:x": {}}}, "u/Update": {"f:data": {"f:y": {}, "f:z": {}}}}
    again = update(new, {**new, "data": {"x": "1", "z": "2"}}, now=LATER)
    assert owners(again) == {"a/Apply": {"f:data": {"f:x": {}}}, "u/Update": {"f:data": {"f:z": {}}}}
    assert update(again, again, "other") == again


def test_status_has_an_entry_of_its_own() -> None:
    live = update(None, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 1}}, node=DEPLOYMENT)
    new = update(live, {**live, "status": {"replicas": 1}}, "controller", node=DEPLOYMENT, version="apps/v1", subresource="status")
    assert [(each["manager"], each.get("subresource", "")) for each in new["metadata"]["managedFields"]] == [("controller", "status"), ("u", "")]
    with pytest.raises(ApiError, match='conflict with "controller" with subresource "status" using apps/v1'):
        apply(new, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "status": {"replicas": 2}}, node=DEPLOYMENT)


def test_lists_by_key_and_ports_without_protocol() -> None:
    def service(*ports: Obj) -> Obj:
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": list(ports)}}

    live = apply(None, service({"port": 80, "targetPort": 8080}), node=SERVICE)
    assert owners(live)["a/Apply"] == {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:targetPort": {}}}}}
    both = apply(live, service({"port": 81, "protocol": "TCP"}), "b", node=SERVICE)
    assert [each["port"] for each in both["spec"]["ports"]] == [80, 81]
    assert [each["port"] for each in apply(both, service({"port": 82}), node=SERVICE)["spec"]["ports"]] == [81, 82]
    with pytest.raises(ApiError, match='omits key field "port"'):
        apply(live, service({"targetPort": 1, "protocol": None}), node=SERVICE)


def test_sets_are_merged_and_atomic_lists_replaced() -> None:
    live = apply(None, {**config_map(), "metadata": {"name": "c", "finalizers": ["x/a"]}})
    both = apply(live, {**config_map(), "metadata": {"name": "c", "finalizers": ["x/b"]}}, "b")
    assert both["metadata"]["finalizers"] == ["x/a", "x/b"]
    assert owners(both)["b/Apply"]["f:metadata"] == {"f:finalizers": {'v:"x/b"': {}}}
    pod = built_in("", "v1", "Pod")
    command = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "command": ["a"]}]}}
    live = apply(None, command, node=pod)
    command["spec"]["containers"][0]["command"] = ["b"]
    with pytest.raises(ApiError, match=r'\.spec\.containers\[name="c"\]\.command'):
        apply(live, command, "b", node=pod)


def test_objects_from_before_the_first_apply() -> None:
    live = config_map(x="1")
    assert "managedFields" not in update(live, {**live, "data": {"x": "2"}})["metadata"]
    found = apply(live, config_map(y="1"))
    assert owners(found) == {"a/Apply": {"f:data": {"f:y": {}}}, "before-first-apply/Update": {"f:data": {".": {}, "f:x": {}}}}


def test_kubectl_takes_over_what_client_side_apply_set() -> None:
    text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"x":"1"}}'
    live = update(
        None, {**config_map(x="1"), "metadata": {"name": "c", "annotations": {fieldmanager.LAST_APPLIED: text}}}, "kubectl-client-side-apply"
    )
    with pytest.raises(ApiError, match="Apply failed with 1 conflict"):
        apply(live, config_map(x="2"), "somebody")
    found = apply(live, config_map(x="2"), "kubectl")
    assert found["data"] == {"x": "2"}
    assert '"x":"2"' in found["metadata"]["annotations"][fieldmanager.LAST_APPLIED]


def test_an_empty_list_clears() -> None:
    live = apply(None, config_map(x="1"))
    new = copied(live)
    new["metadata"]["managedFields"] = []
    assert "managedFields" not in update(live, new)["metadata"]
    new["metadata"]["managedFields"] = "rubbish"
    assert owners(update(live, new)) == owners(live)


def test_at_most_ten_updaters() -> None:
    live = apply(None, config_map(x="1"))
    for number in range(14):
        live = update(live, {**live, "data": {**live["data"], f"k{number}": "1"}}, f"m{number:02d}", now=f"2026-11-21T14:00:{number:02d}Z")
    managed = owners(live)
    assert len(managed) == 11
    assert managed["ancient-changes/Update"] == {"f:data": {f"f:k{number}": {} for number in range(5)}}


def test_settling() -> None:
    live = update(None, config_map(x="1"))
    new = copied(live)
    new["metadata"]["managedFields"][0]["time"] = LATER
    fieldmanager.settle(new, live)
    assert new == live


def test_names_of_managers() -> None:
    assert fieldmanager.default_manager("kubectl/v1.37.1 (linux/amd64)") == "kubectl"
    assert fieldmanager.default_manager("python\x00-x") == "python-x"
    assert fieldmanager.check_manager("a" * 129)[0].reason == "FieldValueTooLong"
    assert fieldmanager.check_manager("a\x01")[0].message.endswith("invalid character U+0001 (at position 1)")


def test_operations_of_sets() -> None:
    left: Obj = {"f:a": {".": {}, "f:b": {}}, "f:c": {}}
    assert fieldset.difference(left, {"f:a": {}}) == {"f:a": {"f:b": {}}, "f:c": {}}
    assert fieldset.union({"f:a": {}}, {"f:a": {"f:b": {}}}) == {"f:a": {".": {}, "f:b": {}}}
    assert fieldset.intersection(left, {"f:a": {"f:b": {}}}) == {"f:a": {"f:b": {}}}
    assert fieldset.shown(("f:spec", 'k:{"name":"a"}', 'v:"x"', "i:0")) == '.spec[name="a"][="x"][0]'
    assert not fieldset.check({"f:a": {"x": {}}})
