"""What must be there before anybody comes: the system's namespaces (pkg/controlplane/controller/systemnamespaces),
and the range of service addresses."""

from __future__ import annotations

from apiserver.app import App
from apiserver.machinery.objects import Object
from apiserver.storage.keys import key

NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "default")


async def create_namespaces(app: App) -> None:
    """Raises StoreError."""
    for name in NAMESPACES:
        obj: Object = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "uid": app.new_uid(),
                "creationTimestamp": app.now(),
                "labels": {"kubernetes.io/metadata.name": name},
            },
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }
        await store_if_absent(app, "namespaces", obj)


async def create_service_range(app: App, cidr: str) -> None:
    """The ServiceCIDR that the first server names. Raises StoreError."""
    condition = {"type": "Ready", "status": "True", "reason": "", "message": "Kubernetes Service CIDR is ready", "lastTransitionTime": app.now()}
    obj: Object = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes", "uid": app.new_uid(), "creationTimestamp": app.now()},
        "spec": {"cidrs": [cidr]},
        "status": {"conditions": [condition]},
    }
    await store_if_absent(app, "servicecidrs.networking.k8s.io", obj)


async def store_if_absent(app: App, qualified: str, obj: Object) -> None:
    """Objects of the system itself do not pass admission: it relies on them. Raises StoreError."""
    served = app.registry.by_qualified(qualified)
    assert served is not None
    meta = obj["metadata"]
    where = key(served.prefix, meta.get("namespace", ""), meta["name"])
    if app.caches.of(served).get(where) is None:
        await app.objects.create(served.prefix, where, obj)
