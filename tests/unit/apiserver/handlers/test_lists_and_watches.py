"""Lists and watches through the whole server: freshness, pages, selectors, events, and what happens when history is gone."""

import asyncio
import threading

from apiserver.handlers import respond, watch

CM = "/api/v1/namespaces/default/configmaps"


async def make(api, *names, **labels):
    return [(await api.post(CM, {"metadata": {"name": name, "labels": labels}}))[1] for name in names]


def names(listed):
    return [each["metadata"]["name"] for each in listed["items"]]


def test_a_list_shows_what_was_written_before(served):
    async def test(api):
        for number in range(20):
            made = (await make(api, f"a{number:02}"))[0]
            _, listed = await api.get(CM)
            assert len(listed["items"]) == number + 1
            assert int(listed["metadata"]["resourceVersion"]) >= int(made["metadata"]["resourceVersion"])
        assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")

    served(test)


def test_pages_show_one_revision(served):
    async def test(api):
        await make(api, "a", "b", "c", "d", "e")
        _, first = await api.get(f"{CM}?limit=2")
        assert (names(first), first["metadata"]["remainingItemCount"]) == (["a", "b"], 3)
        await make(api, "bb")
        await api.delete(f"{CM}/d")
        _, second = await api.get(f"{CM}?limit=2&continue={first['metadata']['continue']}")
        assert (names(second), second["metadata"]["remainingItemCount"]) == (["c", "d"], 1)
        assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        _, third = await api.get(f"{CM}?limit=2&continue={second['metadata']['continue']}")
        assert names(third) == ["e"]
        assert "continue" not in third["metadata"]

    served(test)


def test_a_page_whose_revision_is_gone_brings_a_way_on(served):
    async def test(api):
        await make(api, "a", "b", "c", "d")
        _, first = await api.get(f"{CM}?limit=2")
        await make(api, "bb")
        await api.store.compact(api.store.revision)
        code, status = await api.get(f"{CM}?limit=2&continue={first['metadata']['continue']}")
        assert (code, status["reason"]) == (410, "Expired")
        code, rest = await api.get(f"{CM}?limit=2&continue={status['metadata']['continue']}")
        assert (code, names(rest)) == (200, ["bb", "c"])
        code, rest = await api.get(f"{CM}?limit=2&continue={rest['metadata']['continue']}")
        assert (code, names(rest)) == (200, ["d"])

    served(test)


def test_pages_with_a_selector_are_full(served):
    async def test(api):
        for number in range(6):
            await make(api, f"a{number}", odd=str(number % 2))
        _, first = await api.get(f"{CM}?limit=2&labelSelector=odd%3D1")
        assert (names(first), "remainingItemCount" in first["metadata"]) == (["a1", "a3"], False)
        _, second = await api.get(f"{CM}?limit=2&labelSelector=odd%3D1&continue={first['metadata']['continue']}")
        assert names(second) == ["a5"]

    served(test)


def test_how_new_a_list_is(served):
    async def test(api):
        made = await make(api, "a", "b")
        version = made[0]["metadata"]["resourceVersion"]
        assert names((await api.get(f"{CM}?resourceVersion={version}&resourceVersionMatch=Exact"))[1]) == ["a"]
        assert names((await api.get(f"{CM}?resourceVersion={made[1]['metadata']['resourceVersion']}"))[1]) == ["a", "b"]
        assert names((await api.get(f"{CM}?resourceVersion=0"))[1]) in (["a", "b"], ["a"])
        await api.store.compact(api.store.revision)
        code, status = await api.get(f"{CM}?resourceVersion={version}&resourceVersionMatch=Exact")
        assert (code, status["reason"]) == (410, "Expired")

    served(test)


def test_a_resource_version_of_the_future_is_to_be_asked_again(served, monkeypatch):
    monkeypatch.setattr("apiserver.storage.cache.FRESH_TIMEOUT_S", 0.05)
    monkeypatch.setattr("apiserver.storage.cache.Cache.reach.__defaults__", (0.05,))

    async def test(api):
        code, status = await api.get(f"{CM}?resourceVersion=999999")
        assert (code, status["reason"], status["details"]["retryAfterSeconds"]) == (504, "Timeout", 1)
        assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
        assert api.headers["Retry-After"] == "1"

    served(test)


def test_selectors(served):
    async def test(api):
        await make(api, "a", l="x")
        await make(api, "b", l="y")
        assert names((await api.get(f"{CM}?labelSelector=l in (x,z)"))[1]) == ["a"]
        assert names((await api.get(f"{CM}?fieldSelector=metadata.name=b,"))[1]) == ["b"]
        assert names((await api.get(f"{CM}?fieldSelector=metadata.name!=b"))[1]) == ["a"]
        assert names((await api.get("/api/v1/configmaps?fieldSelector=metadata.namespace=default"))[1]) == ["a", "b"]
        assert (await api.get(f"{CM}?fieldSelector=spec.nothing=b"))[0] == 400
        assert (await api.get(f"{CM}?labelSelector=%3D%3D"))[0] == 400

    served(test)


def test_a_watch_goes_on_from_a_list(served):
    async def test(api):
        await make(api, "a")
        _, listed = await api.get(CM)
        await make(api, "b")
        async with api.watch(f"{CM}?watch=true&resourceVersion={listed['metadata']['resourceVersion']}") as events:
            assert await told(events) == ("ADDED", "b")
            await api.patch(f"{CM}/a", {"data": {"x": "1"}})
            assert await told(events) == ("MODIFIED", "a")
            await api.delete(f"{CM}/b")
            event = await anext(events)
            assert (event["type"], event["object"]["metadata"]["name"]) == ("DELETED", "b")
            assert int(event["object"]["metadata"]["resourceVersion"]) == api.store.revision

    served(test)


async def told(events):
    event = await anext(events)
    return event["type"], event["object"]["metadata"]["name"]


def test_a_watch_list_ends_its_beginning_with_a_bookmark(served):
    async def test(api):
        await make(api, "a", "b")
        query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        async with api.watch(f"{CM}?{query}") as events:
            assert [await told(events), await told(events)] == [("ADDED", "a"), ("ADDED", "b")]
            end = await anext(events)
            assert (end["type"], end["object"]["kind"]) == ("BOOKMARK", "ConfigMap")
            assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
            assert int(end["object"]["metadata"]["resourceVersion"]) == api.store.revision
            await make(api, "c")
            assert await told(events) == ("ADDED", "c")

    served(test)


def test_a_watch_list_that_missed_something_has_no_end_of_its_beginning(served, monkeypatch):
    """A client would go on from there, and never learn what it missed."""
    monkeypatch.setattr("apiserver.storage.ring.RING_EVENTS_MAX", 1)

    async def test(api):
        await make(api, "a")
        told_all = watch._Stream.items

        async def slowly(stream, items):
            await told_all(stream, items)
            await make(api, "b", "c")
            await next(cache for cache in api.app.caches.all() if cache.prefix == "/registry/configmaps/").reach(api.store.revision)

        monkeypatch.setattr(watch._Stream, "items", slowly)
        query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        async with api.watch(f"{CM}?{query}") as events:
            assert [event["type"] async for event in events] == ["ADDED"]

    served(test)


def test_a_watch_from_ahead_of_this_server_repeats_nothing(served):
    async def test(api):
        await make(api, "a")
        ahead = api.store.revision + 1  # as if another server had shown "b" already
        async with api.watch(f"{CM}?watch=true&resourceVersion={ahead}") as events:
            await make(api, "b", "c")
            assert await told(events) == ("ADDED", "c")

    served(test)


def test_what_stops_matching_is_gone_for_that_watcher(served):
    async def test(api):
        await make(api, "a", l="x")
        async with api.watch(f"{CM}?watch=true&labelSelector=l%3Dx") as events:
            assert await told(events) == ("ADDED", "a")
            await api.patch(f"{CM}/a", {"metadata": {"labels": {"l": "y"}}})
            event = await anext(events)
            assert (event["type"], event["object"]["metadata"]["labels"]) == ("DELETED", {"l": "x"})
            assert int(event["object"]["metadata"]["resourceVersion"]) == api.store.revision
            await make(api, "b", l="y")
            await api.patch(f"{CM}/a", {"metadata": {"labels": {"l": "x"}}})
            assert await told(events) == ("ADDED", "a")

    served(test)


def test_a_watch_of_one_name_tells_of_no_other(served):
    async def test(api):
        await make(api, "a", "b")
        async with api.watch(f"{CM}?watch=true&fieldSelector=metadata.name%3Db") as events:
            assert await told(events) == ("ADDED", "b")
            await api.patch(f"{CM}/a", {"data": {"x": "1"}})
            await api.patch(f"{CM}/b", {"data": {"x": "1"}})
            assert await told(events) == ("MODIFIED", "b")

    served(test)


def test_a_watch_ends_when_it_said(served):
    async def test(api):
        async with api.watch(f"{CM}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true") as events:
            seen = [event async for event in events]
        assert [event["type"] for event in seen] == ["BOOKMARK"]

    served(test)


def test_history_that_is_gone_is_told_as_expired(served):
    async def test(api):
        await make(api, "a")
        old = api.store.revision
        await make(api, "b")
        await api.store.compact(api.store.revision)  # every cache lists again
        await asyncio.sleep(0)
        _, listed = await api.get(CM)
        assert names(listed) == ["a", "b"]
        async with api.watch(f"{CM}?watch=true&resourceVersion={old - 1}") as events:
            event = await anext(events)
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")

    served(test)


def test_a_lost_store_watch_ends_the_clients_watches_and_loses_nothing(served):
    async def test(api):
        await make(api, "a")
        async with api.watch(f"{CM}?watch=true") as events:
            assert await told(events) == ("ADDED", "a")
            await api.store.compact(api.store.revision)
            assert [event async for event in events] == []
        await make(api, "b")
        assert names((await api.get(CM))[1]) == ["a", "b"]

    served(test)


def test_both_groups_of_events_are_one(served):
    async def test(api):
        path = "/api/v1/namespaces/default/events"
        involved = {"kind": "Pod", "namespace": "default", "name": "p"}
        code, _ = await api.post(path, {"metadata": {"name": "e"}, "involvedObject": involved, "reason": "Started", "message": "m", "type": "Normal"})
        assert code == 201
        _, other = await api.get("/apis/events.k8s.io/v1/namespaces/default/events/e")
        assert (other["apiVersion"], other["kind"]) == ("events.k8s.io/v1", "Event")

    served(test)


def test_only_the_metadata_if_that_is_asked(served):
    async def test(api):
        await api.post(CM, {"metadata": {"name": "a"}, "data": {"x": "1"}})
        wanted = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        _, listed = await api.get(CM, Accept=wanted)
        assert (listed["kind"], set(listed["items"][0])) == ("PartialObjectMetadataList", {"kind", "apiVersion", "metadata"})
        assert (await api.get(CM, Accept="application/vnd.kubernetes.protobuf"))[0] == 406
        code, text = await api.get(CM, Accept="application/yaml")
        assert (code, text.startswith("kind: ConfigMapList")) == (200, True)

    served(test)


def test_yaml_of_a_list_is_made_beside_the_loop(served, monkeypatch):
    made_in = []

    def as_yaml(*given):
        made_in.append(threading.current_thread())
        return respond_as_yaml(*given)

    respond_as_yaml = respond.as_yaml
    monkeypatch.setattr(respond, "as_yaml", as_yaml)

    async def test(api):
        assert (await api.get(CM, Accept="application/yaml"))[0] == 200
        assert len(made_in) == 1 and made_in[0] is not threading.current_thread()

    served(test)


def test_a_client_that_does_not_read_is_hung_up_on(served, monkeypatch):
    monkeypatch.setattr("apiserver.handlers.watch.WRITE_TIMEOUT_S", 0.05)

    async def test(api):
        await make(api, "a")
        cache = next(cache for cache in api.app.caches.all() if cache.prefix == "/registry/configmaps/")
        reader, writer = await asyncio.open_unix_connection(api.path)
        writer.write(f"GET {CM}?watch=true HTTP/1.1\r\nHost: api\r\n\r\n".encode())
        await reader.readuntil(b'"ADDED"')
        writer.transport.pause_reading()
        for number in range(12):
            await api.patch(f"{CM}/a", {"data": {"x": str(number) * 500_000}})
        for _ in range(1000):
            if not cache.subscribers:
                break
            await asyncio.sleep(0.01)
        assert (await api.get(f"{CM}/a"))[1]["data"]["x"].startswith("11")
        assert 'apiserver_terminated_watchers_total{group="",resource="configmaps"} 1.0' in (await api.get("/metrics"))[1]
        writer.transport.abort()

    served(test)
