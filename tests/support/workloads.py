"""Objects of workloads in tests, short; and a kubelet that makes pods of the API in memory ready."""

from typing import Any

from apiserver.machinery.objects import Object
from apiserver.machinery.resources import resource
from tests.support.fake_api import FakeApi

PODS = resource("pods")
NAMESPACE = "default"


def template(image: str = "web:1", app: str = "web", **spec: Any) -> Object:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}], **spec}}


def replica_set(name: str = "web", replicas: int = 3, **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(), **spec},
    }


def deployment(name: str = "web", replicas: int = 3, image: str = "web:1", **spec: Any) -> Object:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    return {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            "strategy": strategy,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            **spec,
        },
    }


def pod(name: str, phase: str = "Running", ready: bool = True, node: str = "n1", since: str = "2026-01-01T00:00:00Z", **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "creationTimestamp": since, **metadata},
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}]},
    }


def run_pods(api: FakeApi, now: str = "2026-01-01T00:00:00Z", images: set[str] | None = None) -> int:
    """Every pod without a status becomes running and ready; with `images`, only pods of these become ready. How many changed."""
    changed = 0
    for each in api.all(PODS):
        image = each["spec"]["containers"][0]["image"] if each["spec"].get("containers") else ""
        ready = images is None or image in images
        wanted = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": now}]}
        if not each["metadata"].get("deletionTimestamp") and (each.get("status") or {}).get("phase") in (None, "Pending"):
            api.touch(PODS, each["metadata"]["namespace"], each["metadata"]["name"], lambda obj, status=wanted: obj.update(status=status))
            changed += 1
    return changed
