"""Objects in the store: transactions on the revision, and updates that begin with what may be old."""

import asyncio

import msgspec
import pytest

from apiserver.machinery.status import ApiError
from apiserver.storage import objects as objects_module
from apiserver.storage.errors import Unanswered, translate
from apiserver.storage.objects import OBJECT_BYTES_MAX, PAGE_BYTES, Objects, Removed, Row
from kvstore.client.errors import NotConnected
from kvstore.wire.status import Code
from tests.support.fake_store import FakeStore

PREFIX, KEY = "/registry/configmaps/", "/registry/configmaps/default/a"


def thing(value):
    return {"kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}, "data": {"x": value}}


def run(test):
    store = FakeStore()
    asyncio.run(test(store, Objects(store)))


def setting(value):
    async def change(current):
        return {**current, "data": {"x": value}}

    return change


def test_the_version_is_the_revision_and_is_not_stored():
    async def test(store, objects):
        made = await objects.create(PREFIX, KEY, thing("1"))
        assert made.obj["metadata"]["resourceVersion"] == str(store.revision)
        assert b"resourceVersion" not in (await store.get(KEY.encode())).kvs[0].value
        found = await objects.get(PREFIX, KEY)
        assert (found.obj, found.revision) == (made.obj, made.revision)
        assert await objects.create(PREFIX, KEY, thing("2")) is None

    run(test)


def test_an_update_that_begins_with_an_old_state_ends_with_the_new_one():
    async def test(store, objects):
        old = await objects.create(PREFIX, KEY, thing("1"))
        await objects.update(PREFIX, KEY, setting("2"))
        seen = []

        async def change(current):
            seen.append(current["data"]["x"])
            return {**current, "data": {**current["data"], "y": "1"}}

        row = await objects.update(PREFIX, KEY, change, old)
        assert (seen, row.obj["data"]) == (["1", "2"], {"x": "2", "y": "1"})

    run(test)


def test_a_refusal_of_an_old_state_is_asked_again():
    async def test(store, objects):
        old = await objects.create(PREFIX, KEY, thing("1"))
        await objects.update(PREFIX, KEY, setting("2"))

        async def only_two(current):
            if current["data"]["x"] != "2":
                raise ApiError("Conflict", "not two")
            return {**current, "data": {"x": "3"}}

        assert (await objects.update(PREFIX, KEY, only_two, old)).obj["data"] == {"x": "3"}
        with pytest.raises(ApiError):
            await objects.update(PREFIX, KEY, only_two)

    run(test)


def test_nothing_to_do_is_said_of_the_newest_state_alone():
    async def test(store, objects):
        old = await objects.create(PREFIX, KEY, thing("1"))
        await objects.update(PREFIX, KEY, setting("2"))

        async def to_one(current):
            return current if current["data"]["x"] == "1" else {**current, "data": {"x": "1"}}

        row = await objects.update(PREFIX, KEY, to_one, old)
        assert row.obj["data"] == {"x": "1"}
        assert row.revision > old.revision
        assert (await objects.update(PREFIX, KEY, to_one, row)).revision == row.revision

    run(test)


def test_what_is_gone_is_told_to_the_change():
    async def test(store, objects):
        made = await objects.create(PREFIX, KEY, thing("1"))

        async def remove(current):
            return Removed(current)

        gone = await objects.update(PREFIX, KEY, remove, made)
        assert int(gone.obj["metadata"]["resourceVersion"]) == store.revision > made.revision
        seen = []

        async def look(current):
            seen.append(current)
            return thing("again")

        await objects.update(PREFIX, KEY, look, Row(KEY, made.obj, made.revision))
        assert seen[-1] is None

    run(test)


def test_what_no_store_takes_is_refused():
    async def test(store, objects):
        with pytest.raises(ApiError) as refused:
            await objects.create(PREFIX, KEY, thing("x" * OBJECT_BYTES_MAX))
        assert refused.value.code == 413

    run(test)


def silent_after(store, calls, carried_out):
    """The next `calls` transactions get no answer; they are carried out or not."""
    ask = store.txn
    left = iter(range(calls))

    async def txn(request):
        silent = next(left, None) is not None
        if not silent or carried_out:
            answer = await ask(request)
        if silent:
            await asyncio.sleep(60)
        return answer

    store.txn = txn


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_write_without_an_answer_is_asked_for_again_and_happens_once(monkeypatch, carried_out):
    monkeypatch.setattr(objects_module, "TRY_S", 0.01)
    monkeypatch.setattr(objects_module, "PAUSE_S", 0)

    async def count(current):
        return {**current, "data": {"x": str(int(current["data"]["x"]) + 1)}}

    async def remove(current):
        return Removed(current)

    async def test(store, objects):
        silent_after(store, 2, carried_out)
        made = await objects.create(PREFIX, KEY, thing("1"))
        assert made is not None, "it is ours, whichever try it was"
        silent_after(store, 2, carried_out)
        row = await objects.update(PREFIX, KEY, count, made)
        assert row.obj["data"] == {"x": "2"}
        assert (await objects.get(PREFIX, KEY)).obj["data"] == {"x": "2"}
        silent_after(store, 1, carried_out)
        await objects.update(PREFIX, KEY, remove, row)
        assert await objects.get(PREFIX, KEY) is None

    run(test)


def test_a_new_object_that_others_changed_before_its_maker_had_an_answer_is_its_own(monkeypatch):
    """Taken for another's, it was made once more under another name: a pod that the scheduler had bound meanwhile ran twice."""
    monkeypatch.setattr(objects_module, "TRY_S", 0.01)

    async def test(store, objects):
        made, other = thing("1"), thing("2")
        made["metadata"]["uid"], other["metadata"]["uid"] = "its own", "another's"
        ask = store.txn
        asked = 0

        async def txn(request):
            nonlocal asked
            asked += 1
            answer = await ask(request)
            if asked == 1:
                await store.put(KEY.encode(), msgspec.json.encode({**made, "data": {"x": "bound"}}))
                await asyncio.sleep(60)
            return answer

        store.txn = txn
        row = await objects.create(PREFIX, KEY, made)
        assert (asked, row is None) == (2, False)
        assert row.obj["data"] == {"x": "bound"}
        silent_after(store, 1, carried_out=False)
        assert await objects.create(PREFIX, KEY, other) is None
        await store.put(KEY.encode(), msgspec.json.encode(thing("2")))
        silent_after(store, 1, carried_out=False)
        assert await objects.create(PREFIX, KEY, thing("1")) is None, "without a uid nobody knows whose it is (the map of node ports has none)"

    run(test)


def test_a_store_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(objects_module, "TRY_S", 0.01)
    monkeypatch.setattr(objects_module, "STORE_PATIENCE_S", 0.05)

    async def test(store, objects):
        silent_after(store, 100, carried_out=False)
        with pytest.raises(Unanswered) as failed:
            await objects.create(PREFIX, KEY, thing("1"))
        assert translate(failed.value).code == 504

    run(test)


async def fill(store, count, size):
    for number in range(count):
        value = thing("x" * size)
        value["metadata"]["name"] = f"{number:03}"
        await store.put(f"{PREFIX}default/{number:03}".encode(), msgspec.json.encode(value))


async def pages(objects):
    """Counts of objects of each page of all of them, and all their names."""
    counts, names = [], []
    start, revision = "", 0
    while True:
        page = await objects.page(PREFIX, PREFIX, start=start, revision=revision)
        counts.append(len(page.rows))
        names += [row.obj["metadata"]["name"] for row in page.rows]
        if not page.remaining:
            return counts, names
        start, revision = page.last + "\0", page.revision


def test_what_is_read_at_once_is_bounded_by_bytes():
    """200 objects of 1 MiB in one answer stood still for eight seconds and never came in time: their cache could not be filled at all."""

    async def test(store, objects):
        await fill(store, 60, PAGE_BYTES // 4)
        for _ in range(2):
            counts, names = await pages(objects)
            assert names == [f"{number:03}" for number in range(60)]
            assert max(counts[1:]) <= 4
        assert counts[0] <= 4, "a list that begins later knows"
        await fill(store, 400, 10)
        counts, _ = await pages(objects)
        assert max(counts) > 100 and len(counts) < 10, "small objects come many at once"

    run(test)


def test_a_page_that_does_not_come_in_time_is_asked_for_smaller(monkeypatch):
    monkeypatch.setattr(objects_module, "PAUSE_S", 0)
    asked = []

    async def test(store, objects):
        await fill(store, 30, 10)
        get = store.get

        async def seldom(key, end, *, revision, limit):
            asked.append(limit)
            if limit > 1:
                raise NotConnected(Code.UNAVAILABLE, "it would take too long")
            return await get(key, end, revision=revision, limit=limit)

        store.get = seldom
        page = await objects.page(PREFIX, PREFIX, limit=20)
        assert (len(page.rows), page.remaining) == (1, 29)
        assert asked == [16, 2, 1]

    run(test)
