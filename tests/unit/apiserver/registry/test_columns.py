"""What kubectl prints, kind by kind: the cells of upstream's printers."""

from datetime import UTC, datetime
from typing import Any

import pytest

from apiserver.machinery import jsonpath
from apiserver.machinery.resources import built_in
from apiserver.registry import custom_columns
from apiserver.registry.columns import COLUMNS, printer

NOW = datetime(2026, 11, 21, 14, 0, 0, tzinfo=UTC)
CREATED = "2026-11-21T13:50:00Z"


def obj(**more: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x", "creationTimestamp": CREATED, **more.pop("metadata", {})}, **more}


def cells(qualified: str, found: dict[str, Any]) -> list[Any]:
    made = printer(qualified).cells(found, NOW)
    assert len(made) == len(printer(qualified).columns)
    return made


def pod(status: dict[str, Any], spec: dict[str, Any] | None = None, **metadata: Any) -> list[Any]:
    return cells("pods", obj(spec=spec or {"containers": [{"name": "a"}]}, status=status, metadata=metadata))[1:4]


RUNNING = {"name": "a", "ready": True, "restartCount": 0, "state": {"running": {}}}
ENDED = {"finishedAt": "2026-11-21T13:58:00Z", "exitCode": 1}


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ({"phase": "Pending"}, ["0/1", "Pending", "0"]),
        ({"phase": "Running", "containerStatuses": [RUNNING]}, ["1/1", "Running", "0"]),
        (
            {"phase": "Running", "containerStatuses": [{**RUNNING, "restartCount": 3, "lastState": {"terminated": ENDED}}]},
            ["1/1", "Running", "3 (2m ago)"],
        ),
        (
            {"phase": "Running", "containerStatuses": [{"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            ["0/1", "CrashLoopBackOff", "2"],
        ),
        ({"phase": "Failed", "containerStatuses": [{"restartCount": 0, "state": {"terminated": {"exitCode": 3}}}]}, ["0/1", "ExitCode:3", "0"]),
        ({"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}, ["0/1", "Completed", "0"]),
        ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}, ["0/1", "SchedulingGated", "0"]),
        ({"phase": "Failed", "reason": "Evicted"}, ["0/1", "Evicted", "0"]),
    ],
)
def test_pods(status: dict[str, Any], wanted: list[Any]) -> None:
    assert pod(status) == wanted


def test_pods_that_begin_and_end() -> None:
    spec = {"initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}]}
    waiting = {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}
    assert pod(waiting, spec) == ["0/2", "Init:0/2", "0"]
    failed = {
        "phase": "Pending",
        "initContainerStatuses": [{"name": "i", "restartCount": 1, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}],
    }
    assert pod(failed, spec) == ["0/2", "Init:Error", "1"]
    done = {"name": "i", "restartCount": 1, "state": {"terminated": {"exitCode": 0}}}
    sidecar = {"name": "s", "started": True, "ready": True, "restartCount": 0, "state": {"running": {}}}
    assert pod({"phase": "Running", "initContainerStatuses": [done, sidecar], "containerStatuses": [RUNNING]}, spec) == ["2/2", "Running", "0"]
    assert pod({"phase": "Running", "containerStatuses": [RUNNING]}, deletionTimestamp=CREATED) == ["1/1", "Terminating", "0"]


def test_wide_cells_of_pods() -> None:
    status = {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "conditions": [{"type": "g", "status": "True"}]}
    found = cells("pods", obj(spec={"nodeName": "n", "readinessGates": [{"conditionType": "g"}, {"conditionType": "h"}]}, status=status))
    assert found[4:] == ["10m", "10.0.0.1", "n", "<none>", "1/2"]
    assert printer("pods").conditions is not None


TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}}


@pytest.mark.parametrize(
    ("qualified", "found", "wanted"),
    [
        (
            "deployments.apps",
            obj(
                spec={"replicas": 3, "template": TEMPLATE, "selector": {"matchLabels": {"app": "w"}}},
                status={"readyReplicas": 2, "updatedReplicas": 3},
            ),
            ["x", "2/3", 3, 0, "10m", "a,b", "i,j", "app=w"],
        ),
        ("replicasets.apps", obj(spec={"replicas": 3, "selector": {}}, status={"replicas": 2}), ["x", 3, 2, 0, "10m", "", "", "<none>"]),
        ("statefulsets.apps", obj(spec={"replicas": 1}, status={}), ["x", "0/1", "10m", "", ""]),
        (
            "services",
            obj(
                spec={
                    "type": "NodePort",
                    "clusterIPs": ["10.96.0.1"],
                    "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
                    "selector": {"a": "b"},
                }
            ),
            ["x", "NodePort", "10.96.0.1", "<none>", "80:30080/TCP", "10m", "a=b"],
        ),
        ("services", obj(spec={"type": "LoadBalancer"}), ["x", "LoadBalancer", "<none>", "<pending>", "<none>", "10m", "<none>"]),
        (
            "jobs.batch",
            obj(spec={"completions": 2}, status={"succeeded": 1, "startTime": "2026-11-21T13:59:00Z"}),
            ["x", "Running", "1/2", "60s", "10m", "", "", "<none>"],
        ),
        ("namespaces", obj(status={"phase": "Active"}), ["x", "Active", "10m"]),
        ("configmaps", obj(data={"a": ""}, binaryData={"b": ""}), ["x", 2, "10m"]),
        ("secrets", obj(type="Opaque", data={"a": ""}), ["x", "Opaque", 1, "10m"]),
        (
            "nodes",
            obj(
                metadata={"labels": {"node-role.kubernetes.io/control-plane": ""}},
                spec={"unschedulable": True},
                status={"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.37.0"}},
            ),
            ["x", "Ready,SchedulingDisabled", "control-plane", "10m", "v1.37.0", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"],
        ),
        (
            "events",
            obj(
                type="Normal",
                reason="Started",
                message="m ",
                involvedObject={"kind": "Pod", "name": "p"},
                lastTimestamp=CREATED,
                source={"component": "k"},
            ),
            ["10m", "Normal", "Started", "pod/p", "", "k", "m", "<unknown>", 1, "x"],
        ),
        ("endpoints", obj(subsets=[{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(5)], "ports": [{"port": 80}]}]), None),
        ("leases.coordination.k8s.io", obj(spec={"holderIdentity": "me"}), ["x", "me", "10m"]),
        ("rolebindings.rbac.authorization.k8s.io", obj(roleRef={"kind": "Role", "name": "r"}), ["x", "Role/r", "10m", "", "", ""]),
        ("limitranges", obj(), ["x", CREATED]),
    ],
)
def test_cells(qualified: str, found: dict[str, Any], wanted: list[Any] | None) -> None:
    made = cells(qualified, found)
    assert made == (wanted or ["x", "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more...", "10m"])


def test_every_table_stands_an_empty_object() -> None:
    known = {each.qualified for each in built_in()}
    for qualified in COLUMNS:
        assert qualified in known or qualified.startswith("ipaddresses")
        cells(qualified, {"metadata": {"name": "x"}, "spec": {}, "status": {}})


def test_columns_of_custom_resources() -> None:
    found = custom_columns.printer(
        [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status', "priority": 1},
            {"name": "Tags", "type": "string", "jsonPath": ".spec.tags"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ]
    )
    one = obj(spec={"size": 3, "tags": ["a"]}, status={"conditions": [{"type": "Old", "status": "x"}, {"type": "Ready", "status": "True"}]})
    assert found.cells(one, NOW) == ["x", 3, "True", '["a"]', "10m"]
    assert found.cells(obj(), NOW) == ["x", None, None, None, "10m"]
    assert [each.name for each in custom_columns.printer([]).columns] == ["Name", "Age"]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (".a[0].b", [1]),
        (".a[*].b", [1, 2]),
        (".c['d.e']", [3]),
        (r".c.d\.e", [3]),
        (".a[?(@.b>1)].b", [2]),
        (".nothing.at.all", []),
        ("{.a[-1].b}", [2]),
    ],
)
def test_json_paths(path: str, wanted: list[Any]) -> None:
    assert jsonpath.find(path, {"a": [{"b": 1}, {"b": 2}], "c": {"d.e": 3}}) == wanted


@pytest.mark.parametrize("path", [".a[", ".a[?(@.b=~1)]", ".a..b", "a b", ".a[x]"])
def test_what_is_no_json_path(path: str) -> None:
    with pytest.raises(ValueError):
        jsonpath.parse(path)
