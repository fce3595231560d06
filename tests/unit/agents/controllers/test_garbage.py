"""Owners go in three ways, and what they leave behind follows, stays, or is waited for."""

import asyncio

import pytest

from agents.controllers.garbage import GarbageCollector
from agents.controllers.ownergraph import Graph
from agents.controllers.replicaset import REPLICA_SETS
from agents.kit.owners import owner_reference
from apiserver.machinery.objects import name_of
from apiserver.machinery.resources import Resource, resource
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run
from tests.support.workloads import PODS

DEPLOYMENTS = resource("deployments.apps")
NODES = resource("nodes")
WIDGETS = Resource("example.com", "v1", "Widget", "widgets", True, ())
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def described(of):
    scope = "Namespaced" if of.namespaced else "Cluster"
    return {"resource": of.plural, "responseKind": {"kind": of.kind}, "scope": scope, "verbs": VERBS}


def group(name, *resources):
    return {"metadata": {"name": name}, "versions": [{"version": "v1", "resources": [described(each) for each in resources]}]}


def cluster():
    api = FakeApi()
    api.pages = {
        "/api": {"items": [group("", PODS, NODES)]},
        "/apis": {"items": [group("apps", DEPLOYMENTS, REPLICA_SETS), group("example.com", WIDGETS)]},
    }
    return api


def owned(name, *owners, block=True):
    references = [{**owner_reference(owner, of), "blockOwnerDeletion": block} for owner, of in owners]
    return {"metadata": {"name": name, "namespace": "default", "ownerReferences": references}}


def chain(api):
    """A deployment, its set, its two pods; and a pod that nobody owns."""
    top = api.put(DEPLOYMENTS, owned("web"))
    middle = api.put(REPLICA_SETS, owned("web-1", (top, DEPLOYMENTS)))
    for name in ("a", "b"):
        api.put(PODS, owned(name, (middle, REPLICA_SETS)))
    api.put(PODS, owned("free"))
    return top, middle


def names(api, *kinds):
    return sorted(name_of(each) for kind in kinds or (DEPLOYMENTS, REPLICA_SETS, PODS) for each in api.all(kind))


def test_background_the_owner_goes_and_all_below_follow():
    async def work():
        api = cluster()
        chain(api)
        async with running(api, GarbageCollector):
            await asyncio.sleep(1)
            assert names(api) == ["a", "b", "free", "web", "web-1"]
            await api.delete(DEPLOYMENTS, "web", "default")
            await asyncio.sleep(5)
            assert names(api) == ["free"]

    run(work())


def test_foreground_the_owner_waits_for_those_that_block_it():
    async def work():
        api = cluster()
        api.graceful_pods = True
        chain(api)
        for name in ("a", "b"):
            api.touch(PODS, "default", name, lambda obj: obj.update(spec={"nodeName": "n1"}))
        async with running(api, GarbageCollector):
            await asyncio.sleep(1)
            await api.delete(DEPLOYMENTS, "web", "default", propagation="Foreground")
            await asyncio.sleep(5)
            assert names(api) == ["a", "b", "free", "web", "web-1"], "pods take their time, and everybody above waits"
            assert all(each["metadata"].get("deletionTimestamp") for each in api.all(PODS) if name_of(each) != "free")
            for name in ("a", "b"):
                api.remove(PODS, "default", name)
            await asyncio.sleep(5)
            assert names(api) == ["free"]

    run(work())


def test_orphan_the_owner_goes_and_its_dependents_stay_free():
    async def work():
        api = cluster()
        chain(api)
        async with running(api, GarbageCollector):
            await asyncio.sleep(1)
            await api.delete(DEPLOYMENTS, "web", "default", propagation="Orphan")
            await asyncio.sleep(5)
            assert names(api) == ["a", "b", "free", "web-1"]
            assert not api.all(REPLICA_SETS)[0]["metadata"]["ownerReferences"]

    run(work())


def test_one_of_two_owners_is_enough():
    async def work():
        api = cluster()
        one, two = api.put(REPLICA_SETS, owned("one")), api.put(REPLICA_SETS, owned("two"))
        api.put(PODS, owned("shared", (one, REPLICA_SETS), (two, REPLICA_SETS)))
        async with running(api, GarbageCollector):
            await asyncio.sleep(1)
            await api.delete(REPLICA_SETS, "one", "default")
            await asyncio.sleep(5)
            assert [each["name"] for each in api.all(PODS)[0]["metadata"]["ownerReferences"]] == ["two"]
            await api.delete(REPLICA_SETS, "two", "default")
            await asyncio.sleep(5)
            assert names(api) == []

    run(work())


def test_owners_that_were_gone_before_anybody_watched_are_verified_by_name():
    async def work():
        api = cluster()
        _, _middle = chain(api)
        api.remove(REPLICA_SETS, "default", "web-1")
        api.put(REPLICA_SETS, owned("web-1"))  # another one of that name
        async with running(api, GarbageCollector):
            await asyncio.sleep(5)
            assert names(api, PODS) == ["free"]

    run(work())


def test_while_an_owner_cannot_be_looked_at_nothing_is_deleted():
    async def work():
        api = cluster()
        stranger = {"apiVersion": "unknown.io/v1", "kind": "Thing", "name": "x", "uid": "uid-x"}
        api.put(PODS, {"metadata": {"name": "kept", "namespace": "default", "ownerReferences": [stranger]}})
        async with running(api, GarbageCollector):
            await asyncio.sleep(60)
            assert names(api, PODS) == ["kept"]

    run(work())


def test_a_namespaced_owner_of_a_cluster_object_is_refused_and_told():
    async def work():
        api = cluster()
        owner = api.put(REPLICA_SETS, owned("one"))
        api.remove(REPLICA_SETS, "default", "one")
        api.put(NODES, {"metadata": {"name": "n1", "ownerReferences": [owner_reference(owner, REPLICA_SETS)]}})
        async with running(api, GarbageCollector) as (_, recorder):
            await asyncio.sleep(5)
            assert names(api, NODES) == ["n1"]
            assert "OwnerRefInvalidNamespace" in recorder.reasons()

    run(work())


def test_custom_resources_own_and_are_owned_and_may_come_late():
    async def work():
        api = cluster()
        late = api.pages["/apis"]["items"].pop()
        async with running(api, GarbageCollector):
            await asyncio.sleep(1)
            owner = api.put(WIDGETS, owned("w"))
            api.put(PODS, owned("p", (owner, WIDGETS)))
            await asyncio.sleep(5)
            assert names(api, PODS) == ["p"]
            api.pages["/apis"]["items"].append(late)
            await asyncio.sleep(60)
            await api.delete(WIDGETS, "w", "default")
            await asyncio.sleep(5)
            assert names(api, PODS) == []

    run(work())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)])
def test_the_graph_is_the_same_in_whatever_order_it_hears(order):
    api = cluster()
    top = api.put(DEPLOYMENTS, owned("web"))
    middle = api.put(REPLICA_SETS, owned("web-1", (top, DEPLOYMENTS)))
    pod = api.put(PODS, owned("a", (middle, REPLICA_SETS)))
    heard = [(top, DEPLOYMENTS), (middle, REPLICA_SETS), (pod, PODS)]
    graph = Graph()
    for at in order:
        graph.seen(*heard[at])
    shape = {node.identity.name: sorted(each.identity.name for each in graph.dependents(uid)) for uid, node in graph.nodes.items()}
    assert shape == {"web": ["web-1"], "web-1": ["a"], "a": []}
    assert not any(node.virtual for node in graph.nodes.values())
