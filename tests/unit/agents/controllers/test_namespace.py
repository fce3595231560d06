"""Namespaces empty themselves; each gets its account and certificates."""

import asyncio

from agents.controllers.namespace import NAMESPACES, Left, Namespaces, conditions
from agents.controllers.serviceaccount import CONFIG_MAPS, SERVICE_ACCOUNTS, RootCertificates, ServiceAccounts
from agents.kit import discovery
from apiserver.machinery.objects import name_of
from apiserver.machinery.resources import Resource
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS

WIDGETS = Resource("example.com", "v1", "Widget", "widgets", True, ("list", "delete"))
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


def described(plural, kind, scope="Namespaced", verbs=VERBS):
    return {"resource": plural, "responseKind": {"kind": kind}, "scope": scope, "verbs": list(verbs)}


def pages():
    core = [described("pods", "Pod"), described("configmaps", "ConfigMap"), described("nodes", "Node", "Cluster")]
    core.append(described("bindings", "Binding", verbs=["create"]))
    widgets = [described("widgets", "Widget", verbs=["list", "delete"])]
    return {
        "/api": {"items": [{"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": core}]}]},
        "/apis": {"items": [{"metadata": {"name": "example.com"}, "versions": [{"version": "v1", "resources": widgets}]}]},
    }


def cluster(*names, finalizers=("kubernetes",)):
    api = FakeApi()
    api.pages = pages()
    for name in names:
        api.put(NAMESPACES, {"metadata": {"name": name}, "spec": {"finalizers": list(finalizers)}, "status": {"phase": "Active"}})
    return api


def test_discovery_names_what_can_be_listed_and_deleted():
    async def work():
        found = await discovery.resources(cluster())
        wanted = [each for each in found if each.namespaced and discovery.supports(each, "list", "delete")]
        assert [each.qualified for each in wanted] == ["configmaps", "pods", "widgets.example.com"]

    run(work())


def test_a_deleted_namespace_empties_and_goes():
    async def work():
        api = cluster("a", "b")
        for namespace in ("a", "b"):
            api.put(PODS, {"metadata": {"name": "p", "namespace": namespace}, "spec": {}})
            api.put(WIDGETS, {"metadata": {"name": "w", "namespace": namespace}})
        async with running(api, Namespaces):
            await settle(100)
            await api.delete(NAMESPACES, "a")
            await settle(300)
            assert [name_of(each) for each in api.all(NAMESPACES)] == ["b"]
            assert [each["metadata"]["namespace"] for each in (*api.all(PODS), *api.all(WIDGETS))] == ["b", "b"]

    run(work())


def test_what_remains_is_told_and_waited_for():
    async def work():
        api = cluster("a")
        api.put(PODS, {"metadata": {"name": "held", "namespace": "a", "finalizers": ["example.com/wait"]}, "spec": {}})
        async with running(api, Namespaces):
            await api.delete(NAMESPACES, "a")
            await asyncio.sleep(10)
            status = api.all(NAMESPACES)[0]["status"]
            assert status["phase"] == "Terminating"
            told = {each["type"]: (each["status"], each["message"]) for each in status["conditions"]}
            assert told["NamespaceContentRemaining"] == ("True", "Some resources are remaining: pods. has 1 resource instances")
            assert told["NamespaceFinalizersRemaining"][1].endswith("has finalizers remaining: example.com/wait in 1 resource instances")
            assert told["NamespaceDeletionContentFailure"] == ("False", "All content successfully deleted, may be waiting on finalization")
            api.touch(PODS, "a", "held", lambda obj: obj["metadata"].update(finalizers=[]))
            await asyncio.sleep(10)
            assert api.all(NAMESPACES) == []

    run(work())


def test_while_discovery_fails_nothing_is_finalized():
    async def work():
        api = cluster("a")
        del api.pages["/apis"]
        async with running(api, Namespaces):
            await api.delete(NAMESPACES, "a")
            await asyncio.sleep(10)
            told = {each["type"]: each["status"] for each in api.all(NAMESPACES)[0]["status"]["conditions"]}
            assert told["NamespaceDeletionDiscoveryFailure"] == "True"
            api.pages = pages()
            await asyncio.sleep(10)
            assert api.all(NAMESPACES) == []

    run(work())


def test_a_condition_moves_its_time_only_with_its_status():
    first = conditions((), Left({"pods.": 2}, {}), "t0")
    second = conditions(first, Left({"pods.": 1}, {}), "t1")
    third = conditions(second, Left({}, {}), "t2")
    assert conditions(third, Left({}, {}), "t3") == third
    assert {each["status"] for each in third} == {"False"}


def test_every_namespace_has_its_account_and_certificates_again_when_they_are_taken():
    async def work():
        api = cluster("a")
        async with running(api, ServiceAccounts, lambda context: RootCertificates(context, "PEM")):
            await settle(100)
            assert [name_of(each) for each in api.all(SERVICE_ACCOUNTS)] == ["default"]
            assert api.all(CONFIG_MAPS)[0]["data"] == {"ca.crt": "PEM"}
            await api.delete(SERVICE_ACCOUNTS, "default", "a")
            api.touch(CONFIG_MAPS, "a", "kube-root-ca.crt", lambda obj: obj.update(data={"ca.crt": "forged"}))
            await settle(100)
            assert [name_of(each) for each in api.all(SERVICE_ACCOUNTS)] == ["default"]
            assert api.all(CONFIG_MAPS)[0]["data"] == {"ca.crt": "PEM"}
            await api.delete(NAMESPACES, "a")
            await api.delete(SERVICE_ACCOUNTS, "default", "a")
            await settle(100)
            assert api.all(SERVICE_ACCOUNTS) == [], "a namespace on its way out gets nothing any more"

    run(work())
