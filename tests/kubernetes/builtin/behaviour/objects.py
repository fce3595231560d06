"""Small objects that scenarios begin with."""

from typing import Any

CORE = "/api/v1/namespaces/shop"
APPS = "/apis/apps/v1/namespaces/shop"


def config_map(name: str, /, data: Any = None, **meta: Any) -> Any:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}, "data": {"a": "1"} if data is None else data}


def pod(name: str, /, spec: Any = None, **meta: Any) -> Any:
    plain = {"containers": [{"name": "main", "image": "nginx"}], **(spec or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **meta}, "spec": plain}


def workload(kind: str, name: str, /, **spec: Any) -> Any:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "nginx"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def deployment(name: str, /, **spec: Any) -> Any:
    return workload("Deployment", name, **spec)


def service(name: str, /, **spec: Any) -> Any:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec}}
