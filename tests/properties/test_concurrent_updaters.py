"""Concurrent updaters lose nothing: whatever came in between, a write that was answered with 200 is in the object in the end.

Two API servers over one store; each updater works through its own list of writes, and they take turns as the event loop has it.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.api_server import ApiServer
from tests.support.fake_store import FakeStore

PATH = "/api/v1/namespaces/default/configmaps/a"
TRIES_MAX = 200

WRITES = st.sampled_from(["put", "merge", "json", "apply"])


async def increment(api, kind, number):
    """Count up by one in the way of `kind`, or set a key that nobody else sets."""
    if kind == "merge":
        code, answer = await api.patch(PATH, {"data": {f"k{number}": "1"}})
        assert code == 200, answer
        return
    if kind == "apply":
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {f"k{number}": "1"}}
        code, answer = await api.patch(f"{PATH}?fieldManager=m{number}", body, "application/apply-patch+yaml")
        assert code == 200, answer
        return
    for _ in range(TRIES_MAX):
        _, found = await api.get(PATH)
        count = found["data"]["count"]
        if kind == "put":
            found["data"]["count"] = str(int(count) + 1)
            code, answer = await api.put(PATH, found)
        else:
            test = [{"op": "test", "path": "/data/count", "value": count}, {"op": "replace", "path": "/data/count", "value": str(int(count) + 1)}]
            code, answer = await api.patch(PATH, test, "application/json-patch+json")
        if code == 200:
            return
        assert code in (409, 422), answer
    raise AssertionError("never came through")


async def whole(updaters):
    store = FakeStore()
    with TemporaryDirectory() as folder:
        async with ApiServer(str(Path(folder) / "1"), store) as first, ApiServer(str(Path(folder) / "2"), store) as second:
            await first.post(PATH.rsplit("/", 1)[0], {"metadata": {"name": "a"}, "data": {"count": "0"}})
            numbers = iter(range(1000))
            plans = [(second if number % 2 else first, [(kind, next(numbers)) for kind in kinds]) for number, kinds in enumerate(updaters)]

            async def work(api, plan):
                for kind, number in plan:
                    await increment(api, kind, number)

            async with asyncio.TaskGroup() as group:
                for api, plan in plans:
                    group.create_task(work(api, plan))
            for api in (first, second):
                _, found = await api.get(PATH)
                counted = sum(kind in ("put", "json") for kinds in updaters for kind in kinds)
                assert found["data"]["count"] == str(counted)
                assert len(found["data"]) - 1 == sum(kind in ("merge", "apply") for kinds in updaters for kind in kinds)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.lists(WRITES, min_size=1, max_size=4), min_size=2, max_size=4))
def test_nothing_is_lost(updaters):
    asyncio.run(whole(updaters))
