"""Quotas are charged before the write, all or none, and never beyond what they leave."""

import asyncio
from typing import Any

import pytest

from apiserver.admission.resource_quota import ResourceQuota
from apiserver.machinery.objects import Object
from apiserver.machinery.status import ApiError
from apiserver.request import Change
from tests.unit.apiserver.admission.writes import admitted, pod, refused, write
from tests.unit.apiserver.cluster import Cluster


class Store:
    """A cluster whose quotas can be written."""

    def __init__(self, **hard: dict[str, str]) -> None:
        self.cluster = Cluster()
        for name, amounts in hard.items():
            self.put(name, amounts)

    def put(self, name: str, hard: dict[str, str], spec: dict[str, Any] | None = None) -> None:
        status = {"hard": hard, "used": dict.fromkeys(hard, "0")}
        self.cluster.put("resourcequotas", {"metadata": {"namespace": "ns", "name": name}, "spec": {"hard": hard, **(spec or {})}, "status": status})

    async def create(self, resource: str, obj: Object) -> bool:
        raise AssertionError("nothing is created")

    async def update(self, resource: str, namespace: str, name: str, change: Change) -> Object | None:
        found = self.cluster.get(resource, namespace, name)
        return None if found is None else self.cluster.put(resource, change(found))

    def used(self, name: str = "q") -> dict[str, str]:
        found = self.cluster.get("resourcequotas", "ns", name)
        assert found is not None
        return found["status"]["used"]

    @property
    def plugin(self) -> ResourceQuota:
        return ResourceQuota(self.cluster, self)


def asking(name: str = "p", **requests: str) -> dict[str, Any]:
    return pod(name, containers=[{"name": "c", "resources": {"requests": requests}}])


def test_what_is_asked_for_is_charged_until_nothing_is_left():
    store = Store(q={"pods": "2", "requests.cpu": "1"})
    admitted(store.plugin, write("pods", asking(cpu="400m")))
    admitted(store.plugin, write("pods", asking(cpu="400m")))
    assert store.used() == {"pods": "2", "requests.cpu": "800m"}
    error = refused(store.plugin, write("pods", asking(cpu="400m")))
    assert error.message == (
        'pods "p" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=400m, used: pods=2,requests.cpu=800m, '
        "limited: pods=2,requests.cpu=1"
    )
    assert store.used()["pods"] == "2"


def test_all_quotas_or_none():
    store = Store(a={"pods": "5"}, b={"pods": "0"})
    assert "exceeded quota: b" in refused(store.plugin, write("pods", asking())).message
    assert store.used("a") == {"pods": "0"}


def test_a_dry_run_is_checked_and_not_charged():
    store = Store(q={"pods": "1"})
    admitted(store.plugin, write("pods", asking(), dry_run=True))
    assert store.used() == {"pods": "0"}


def test_pods_under_a_compute_quota_name_their_needs():
    error = refused(Store(q={"limits.memory": "1Gi", "cpu": "1"}).plugin, write("pods", asking()))
    assert error.message == 'pods "p" is forbidden: failed quota: q: must specify cpu for: c; limits.memory for: c'


def test_objects_are_counted():
    store = Store(q={"count/deployments.apps": "1", "configmaps": "1", "services.nodeports": "1"})
    admitted(store.plugin, write("deployments.apps", {"metadata": {"name": "d"}}))
    assert refused(store.plugin, write("deployments.apps", {"metadata": {"name": "d"}})).code == 403
    admitted(store.plugin, write("configmaps", {"metadata": {"name": "c"}}))
    node_port = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}}
    assert "services.nodeports=2" in refused(store.plugin, write("services", node_port)).message
    assert "services.nodeports=2" in refused(store.plugin, write("services", node_port, old={"metadata": {"name": "s"}, "spec": {}})).message


def test_claims_grow():
    def claim(size: str) -> dict[str, Any]:
        return {"metadata": {"name": "c"}, "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": size}}}}

    store = Store(q={"requests.storage": "3Gi", "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1"})
    admitted(store.plugin, write("persistentvolumeclaims", claim("1Gi")))
    admitted(store.plugin, write("persistentvolumeclaims", claim("3Gi"), old=claim("1Gi")))
    assert store.used()["requests.storage"] == "3Gi"
    assert refused(store.plugin, write("persistentvolumeclaims", claim("4Gi"), old=claim("3Gi"))).code == 403
    admitted(store.plugin, write("persistentvolumeclaims", claim("1Gi"), old=claim("3Gi")))


@pytest.mark.parametrize(
    ("spec", "counted", "free"),
    [
        ({"scopes": ["BestEffort"]}, asking(), asking(cpu="1")),
        ({"scopes": ["NotBestEffort"]}, asking(cpu="1"), asking()),
        ({"scopes": ["Terminating"]}, pod(activeDeadlineSeconds=5), pod()),
        (
            {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}},
            pod(priorityClassName="high"),
            pod(priorityClassName="low"),
        ),
    ],
)
def test_scopes(spec, counted, free):
    store = Store()
    store.put("q", {"pods": "0"}, spec)
    admitted(store.plugin, write("pods", free))
    assert refused(store.plugin, write("pods", counted)).code == 403


def test_a_quota_that_nobody_has_counted_yet():
    store = Store()
    store.cluster.put("resourcequotas", {"metadata": {"namespace": "ns", "name": "q"}, "spec": {"hard": {"pods": "0"}}})
    admitted(store.plugin, write("pods", asking()))
    store.cluster.put("resourcequotas", {"metadata": {"namespace": "ns", "name": "q"}, "status": {"hard": {"pods": "1"}}})
    assert "status unknown for quota: q, resources: pods" in refused(store.plugin, write("pods", asking())).message


def test_of_writers_at_once_no_more_than_the_quota_leaves_get_through():
    store = Store(q={"pods": "3"})

    async def several() -> list[object]:
        return await asyncio.gather(*(store.plugin.validate(write("pods", asking(f"p{number}"))) for number in range(10)), return_exceptions=True)

    outcomes = asyncio.run(several())
    assert sum(1 for each in outcomes if each is None) == 3 and sum(1 for each in outcomes if isinstance(each, ApiError)) == 7
