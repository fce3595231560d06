"""A cluster in memory for rules that only read it: the Reader of apiserver.request over a dictionary."""

from collections.abc import Iterable, Sequence
from typing import Any

from apiserver.machinery.objects import Object, name_of, namespace_of

RBAC_API = "rbac.authorization.k8s.io"


class Cluster:
    """`late` holds what the store has and the cache has not heard of yet."""

    def __init__(self, **objects: list[Object]) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.late: dict[tuple[str, str, str], Object] = {}
        self.changes = 0
        for resource, listed in objects.items():
            for each in listed:
                self.put(resource, each)

    def put(self, resource: str, obj: Object) -> Object:
        self.objects[(resource, namespace_of(obj), name_of(obj))] = obj
        self.changes += 1
        return obj

    def remove(self, resource: str, namespace: str, name: str) -> None:
        del self.objects[(resource, namespace, name)]
        self.changes += 1

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((resource, namespace, name))

    def list(self, resource: str, namespace: str = "") -> Iterable[Object]:
        return [each for (kind, space, _), each in self.objects.items() if kind == resource and namespace in ("", space)]

    def version(self, resource: str) -> int:
        return self.changes

    async def fresh(self, resource: str, namespace: str, name: str) -> Object | None:
        key = (resource, namespace, name)
        return self.late.get(key) or self.objects.get(key)

    def allow(self, subject: dict[str, Any], rules: Sequence[dict[str, Any]], namespace: str = "", name: str = "r") -> None:
        """A role of that name with these rules, bound to the subject: for the namespace, or for the whole cluster."""
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        kind = "Role" if namespace else "ClusterRole"
        self.put(f"{kind.lower()}s.{RBAC_API}", {"kind": kind, "metadata": metadata, "rules": [*rules]})
        binding = {"metadata": metadata, "subjects": [subject], "roleRef": {"apiGroup": RBAC_API, "kind": kind, "name": name}}
        self.put(f"{kind.lower()}bindings.{RBAC_API}", binding)


def user(name: str) -> dict[str, Any]:
    return {"kind": "User", "apiGroup": RBAC_API, "name": name}


def group(name: str) -> dict[str, Any]:
    return {"kind": "Group", "apiGroup": RBAC_API, "name": name}
