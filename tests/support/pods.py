"""Pods and containers for the kubelet's unit tests."""

from typing import Any

from agents.kubelet import recipe
from agents.kubelet.runtime import base
from apiserver.machinery.objects import Object


def pod(*containers: Object, inits: tuple[Object, ...] = (), **spec: Any) -> Object:
    metadata = {"name": "web", "namespace": "default", "uid": "u1", "labels": {"app": "web"}, "annotations": {}, "generation": 1}
    whole = {"containers": [{"image": "keelson/web:1", **each} for each in containers or ({"name": "main"},)], "nodeName": "node1", **spec}
    if inits:
        whole["initContainers"] = [{"image": "keelson/toolbox:1", **each} for each in inits]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": whole, "status": {}}


def seen(
    name: str, state: str = base.RUNNING, *, code: int = 0, attempt: int = 0, sandbox: str = "s1", started: int = 100, finished: int = 200
) -> Any:
    """Times are in seconds."""
    image = "keelson/web:1"
    over = state == base.EXITED
    return base.Container(
        f"{name}-{attempt}",
        sandbox,
        name,
        attempt,
        image,
        "sha256:0",
        state,
        started * 10**9,
        started * 10**9,
        finished * 10**9 if over else 0,
        code,
        ("Completed" if code == 0 else "Error") if over else "",
        labels={recipe.POD_UID: "u1"},
        annotations={recipe.HASH: recipe.spec_hash({"name": name, "image": image})},
    )
