"""The informer's guarantee, against an API in memory: whatever happens to the watch, the cache ends as the server is, and handlers heard it."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from agents.kit.informer import Informer, Informers
from apiserver.client.errors import Unreachable
from apiserver.machinery.objects import name_of
from apiserver.machinery.resources import resource
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle

PODS = resource("pods")


def pod(name, **labels):
    return {"metadata": {"name": name, "namespace": "default", "labels": labels}, "spec": {}}


def label(value):
    def change(obj):
        obj["metadata"]["labels"] = {"v": value}

    return change


@asynccontextmanager
async def following(api, **options):
    informer = Informer(api, PODS, **options)
    heard = []
    informer.handle(
        add=lambda obj: heard.append(("add", name_of(obj))),
        update=lambda old, new: heard.append(("update", name_of(new))),
        delete=lambda obj: heard.append(("delete", name_of(obj))),
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(informer.run())
        await informer.synced.wait()
        yield informer, heard
        task.cancel()


def state(informer):
    return {(name_of(obj), obj["metadata"]["labels"].get("v")) for obj in informer.cache}


@pytest.mark.parametrize("watch_list", [True, False], ids=["watch_list", "list_and_watch"])
def test_what_is_there_then_what_changes(watch_list):
    async def work():
        api = FakeApi()
        api.watch_list = watch_list
        api.put(PODS, pod("a", v="1"))
        async with following(api) as (informer, heard):
            assert heard == [("add", "a")]
            await api.create(PODS, pod("b", v="1"))
            api.touch(PODS, "default", "a", label("2"))
            await api.delete(PODS, "b", "default")
            await settle()
            assert heard[1:] == [("add", "b"), ("update", "a"), ("delete", "b")]
            assert state(informer) == {("a", "2")}
            assert informer.get("default/a")["kind"] == "Pod"
        assert ("list" in {verb for verb, _, _ in api.calls}) == (not watch_list)

    run(work())


def test_a_watch_that_ends_goes_on_where_it_was():
    async def work():
        api = FakeApi()
        api.put(PODS, pod("a", v="1"))
        async with following(api) as (informer, heard):
            api.end_watches()
            await api.create(PODS, pod("b"))
            await settle()
            assert heard == [("add", "a"), ("add", "b")]
            assert informer.lists == 1

    run(work())


def test_after_410_everything_is_read_anew_and_what_vanished_is_a_tombstone():
    async def work():
        api = FakeApi()
        api.put(PODS, pod("gone"))
        api.put(PODS, pod("kept", v="1"))
        async with following(api) as (informer, heard):
            api.end_watches()
            api.remove(PODS, "default", "gone")
            api.touch(PODS, "default", "kept", label("2"))
            await api.create(PODS, pod("new"))
            api.compact()
            await asyncio.sleep(60)
            assert heard[2:] == [("delete", "gone"), ("update", "kept"), ("add", "new")]
            assert informer.tombstones == 1
            assert informer.lists == 2
            assert state(informer) == {("kept", "2"), ("new", None)}

    run(work())


def test_another_object_of_the_same_name_is_a_deletion_and_an_addition():
    async def work():
        api = FakeApi()
        api.put(PODS, pod("a"))
        async with following(api) as (_informer, heard):
            api.end_watches()
            api.remove(PODS, "default", "a")
            await api.create(PODS, pod("a"))
            api.compact()
            await asyncio.sleep(60)
            assert heard == [("add", "a"), ("delete", "a"), ("add", "a")]

    run(work())


def test_a_server_that_cannot_be_reached_is_asked_again():
    async def work():
        api = FakeApi()
        api.put(PODS, pod("a"))
        api.fail("watch", "pods", Unreachable("no server"), Unreachable("no server"))
        async with following(api) as (_informer, heard):
            assert heard == [("add", "a")]
            api.break_watches(Unreachable("gone away"))
            await settle()
            await api.create(PODS, pod("b"))
            await asyncio.sleep(100)
            assert heard == [("add", "a"), ("add", "b")]

    run(work())


def test_lists_come_in_pages():
    async def work():
        api = FakeApi()
        api.watch_list = False
        for number in range(1201):
            api.put(PODS, pod(f"p{number}"))
        async with following(api) as (informer, _):
            assert len(informer.cache) == 1201
        assert sum(1 for verb, _, _ in api.calls if verb == "list") == 3

    run(work())


def test_a_late_handler_is_told_what_is_there_and_a_failing_one_stops_nobody():
    async def work():
        api = FakeApi()
        api.put(PODS, pod("a"))
        async with following(api) as (informer, heard):
            informer.handle(add=lambda obj: 1 / 0)
            late = []
            informer.handle(add=lambda obj: late.append(name_of(obj)))
            await api.create(PODS, pod("b"))
            await settle()
            assert late == ["a", "b"]
            assert heard == [("add", "a"), ("add", "b")]

    run(work())


def test_resync_tells_of_everything_again():
    async def work():
        api = FakeApi()
        api.put(PODS, pod("a"))
        async with following(api, resync_s=30.0) as (_, heard):
            await asyncio.sleep(65)
            assert heard == [("add", "a"), ("update", "a"), ("update", "a")]

    run(work())


def test_informers_of_one_resource_are_shared():
    api = FakeApi()
    informers = Informers(api)
    assert informers.of(PODS) is informers.of(PODS)
    assert informers.of(PODS) is not informers.of(PODS, "kube-system")
    assert len(list(informers)) == 2
