"""Nodes learn where they are; a node without a machine goes, unless it is alive."""

from typing import Any

from agents.cloud.nodes import UNINITIALIZED, decided, initialized
from agents.cloud.provider import Instance
from agents.kit.actions import Delete, Event, Update

HERE = Instance("local://n", "local", "a", "r")


def node(*, ready: bool = True, taints: tuple[str, ...] = (), labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "n", "uid": "u", "labels": labels or {}},
        "spec": {**({"taints": [{"key": key, "effect": "NoSchedule"} for key in taints]} if taints else {}), **spec},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]},
    }


def test_a_new_node_gets_labels_and_id_and_loses_only_its_own_taint() -> None:
    made = initialized(node(taints=(UNINITIALIZED, "mine"), labels={"x": "y"}), HERE)
    assert made is not None
    assert made["metadata"]["labels"] == {
        "x": "y",
        "topology.kubernetes.io/zone": "a",
        "topology.kubernetes.io/region": "r",
        "node.kubernetes.io/instance-type": "local",
    }
    assert made["spec"] == {"providerID": "local://n", "taints": [{"key": "mine", "effect": "NoSchedule"}]}
    assert initialized(made, HERE) is None


def test_what_is_known_is_not_written_again_and_an_id_never_changes() -> None:
    made = initialized(node(providerID="other://n"), HERE)
    assert made is not None
    assert made["spec"]["providerID"] == "other://n"
    assert decided(made, HERE) == []
    assert isinstance(decided(node(), HERE)[0], Update)


def test_a_node_without_machine_goes_when_it_is_not_ready() -> None:
    assert decided(node(ready=True), None) == []
    event, delete = decided(node(ready=False), None)
    assert isinstance(event, Event)
    assert isinstance(delete, Delete)
    assert (delete.name, delete.uid) == ("n", "u")
