"""Server-side apply: conflicts, ownership, and what is refused."""

import json
from typing import Any

from tests.kubernetes.builtin.behaviour.objects import APPS, CORE, config_map, deployment, service
from tests.kubernetes.builtin.duel import APPLY, MERGE, Duel


def _owners(d: Duel, path: str) -> None:
    """Who owns which fields, without times."""

    def told(side: Any) -> Any:
        entries = side.ask("GET", path).body["metadata"].get("managedFields", [])
        return sorted(({k: v for k, v in entry.items() if k != "time"} for entry in entries), key=json.dumps)

    d.compare_values(f"owners of {path}", told(d.oracle), told(d.subject))


def plain(d: Duel) -> None:
    one = f"{CORE}/configmaps/applied"
    d.ask("PATCH", one, config_map("applied"), APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one", config_map("applied"), APPLY)
    _owners(d, one)
    d.ask("PATCH", f"{one}?fieldManager=two", config_map("applied", {"a": "2"}), APPLY)
    d.ask("PATCH", f"{one}?fieldManager=two", config_map("applied", {"b": "2"}), APPLY)
    d.ask("PATCH", f"{one}?fieldManager=two&force=true", config_map("applied", {"a": "3"}), APPLY)
    _owners(d, one)
    d.ask("PATCH", f"{one}?fieldManager=one", config_map("applied", {"c": "1"}), APPLY)
    d.ask("PATCH", f"{one}?fieldManager=edit", {"data": {"a": "9", "z": "1"}}, MERGE)
    d.ask("PATCH", f"{one}?fieldManager=two", config_map("applied", {"a": "4"}), APPLY)
    _owners(d, one)
    d.ask("PATCH", f"{one}?fieldManager=one&force=maybe", config_map("applied"), APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one", config_map("other"), APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one", config_map(""), APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one", {"data": {}}, APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one", {**config_map("applied"), "kind": "Secret"}, APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one", {**config_map("applied"), "nobody": 1}, APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one&fieldValidation=Strict", {**config_map("applied"), "nobody": 1}, APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one", config_map("applied", {"a": 5}), APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one", config_map("applied", managedFields=[{"manager": "x", "operation": "Apply"}]), APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one", config_map("applied", resourceVersion="1"), APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one", b"a: [", APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one", b"", APPLY)
    d.ask("PATCH", f"{one}?fieldManager=one&dryRun=All&force=true", config_map("applied", {"a": "dry"}), APPLY)
    d.ask("PATCH", f"{one}?fieldManager=edit&force=true", {"data": {"a": "9"}}, MERGE)
    d.ask("PATCH", one, {"metadata": {"managedFields": [{}]}}, MERGE)
    _owners(d, one)


def lists(d: Duel) -> None:
    one = f"{APPS}/deployments/applied"
    two = deployment("applied")
    d.ask("PATCH", f"{one}?fieldManager=one", two, APPLY)
    _owners(d, one)
    two["spec"]["template"]["spec"]["containers"] = [
        {"name": "side", "image": "busybox", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}]}
    ]
    d.ask("PATCH", f"{one}?fieldManager=two", two, APPLY)
    _owners(d, one)
    two["spec"]["template"]["spec"]["containers"] = [{"name": "main", "image": "nginx:9"}]
    d.ask("PATCH", f"{one}?fieldManager=two", two, APPLY)
    two["spec"]["template"]["spec"]["containers"] = [{"name": "twice", "image": "a"}, {"name": "twice", "image": "b"}]
    d.ask("PATCH", f"{one}?fieldManager=three", two, APPLY)
    d.ask("PATCH", f"{one}?fieldManager=scaler", {"spec": {"replicas": 3}}, MERGE)
    d.ask("PATCH", f"{one}/scale?fieldManager=scaler2", {"spec": {"replicas": 4}}, MERGE)
    d.ask("PATCH", f"{one}?fieldManager=one", deployment("applied", replicas=2), APPLY)
    d.ask("PATCH", f"{one}/status?fieldManager=stat", {"status": {"replicas": 4}}, MERGE)
    _owners(d, one)
    d.ask("PATCH", f"{one}?fieldManager=one", {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "applied"}}, APPLY)
    d.ask("GET", one)
    d.ask("PATCH", f"{CORE}/services/applied?fieldManager=one", service("applied"), APPLY)
    d.ask("PATCH", f"{CORE}/services/applied?fieldManager=two", service("applied", ports=[{"port": 81, "name": "x"}]), APPLY)
    d.ask(
        "PATCH", f"{CORE}/services/applied?fieldManager=two", service("applied", ports=[{"port": 80, "targetPort": 8080, "protocol": "TCP"}]), APPLY
    )
    _owners(d, f"{CORE}/services/applied")
