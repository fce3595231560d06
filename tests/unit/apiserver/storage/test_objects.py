"""Objects in the store: transactions on the revision, and updates that begin with what may be old."""

import asyncio

import pytest

from apiserver.machinery.status import ApiError
from apiserver.storage import objects as objects_module
from apiserver.storage.errors import Unanswered, translate
from apiserver.storage.objects import OBJECT_BYTES_MAX, Objects, Removed, Row
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


def test_a_store_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(objects_module, "TRY_S", 0.01)
    monkeypatch.setattr(objects_module, "STORE_PATIENCE_S", 0.05)

    async def test(store, objects):
        silent_after(store, 100, carried_out=False)
        with pytest.raises(Unanswered) as failed:
            await objects.create(PREFIX, KEY, thing("1"))
        assert translate(failed.value).code == 504

    run(test)
