"""Answers in pieces, and what becomes of clients that do not take them."""

import asyncio

import pytest

from apiserver.handlers import list as list_handler
from apiserver.handlers import table
from apiserver.sending import BUFFERED_BYTES, HUGE_AT_ONCE, PIECE_BYTES, Outgoing, pieces

CM = "/api/v1/namespaces/default/configmaps"


@pytest.mark.parametrize("sizes", [[], [0], [1, 2, 3], [PIECE_BYTES], [PIECE_BYTES, 1], [5, 3 * PIECE_BYTES + 7, 5], [PIECE_BYTES // 2 + 1] * 5])
def test_pieces_are_the_same_bytes(sizes):
    parts = [bytes([number]) * size for number, size in enumerate(sizes)]
    made = list(pieces(parts))
    assert b"".join(bytes(each) for each in made) == b"".join(parts)
    assert all(0 < len(each) <= PIECE_BYTES for each in made)


def test_large_parts_are_not_copied():
    large = bytes(PIECE_BYTES + 1)
    assert [each.obj is large for each in pieces([large])] == [True, True]


class Transport:
    def __init__(self):
        self.gone = asyncio.Event()

    def set_write_buffer_limits(self, high):
        pass

    def abort(self):
        self.gone.set()


class Request:
    def __init__(self):
        self.transport = Transport()


def test_who_has_not_moved_for_longest_gives_way():
    async def reader(outgoing, request, made_bytes=0, moves=False):
        async with outgoing.sending(request, made_bytes) as sending:
            if moves:
                outgoing.moved(sending)
            await request.transport.gone.wait()

    async def turns():
        for _ in range(20):
            await asyncio.sleep(0)

    async def test():
        outgoing = Outgoing(3 * BUFFERED_BYTES, stalled_s=0)
        requests = [Request() for _ in range(5)]
        async with asyncio.TaskGroup() as group:
            group.create_task(reader(outgoing, requests[0]))
            group.create_task(reader(outgoing, requests[1]))
            await turns()
            group.create_task(reader(outgoing, requests[2], moves=True))
            await turns()
            group.create_task(reader(outgoing, requests[3], made_bytes=1))
            await turns()
            assert [each.transport.gone.is_set() for each in requests] == [True, True, False, False, False]
            assert (outgoing.held_bytes, outgoing.cut) == (2 * BUFFERED_BYTES + 1, 2)
            group.create_task(reader(outgoing, requests[4], made_bytes=9 * BUFFERED_BYTES))
            await turns()
            assert [each.transport.gone.is_set() for each in requests] == [True, True, True, True, False], "one alone may be larger than all"
            requests[4].transport.abort()
        assert (outgoing.held_bytes, outgoing.cut) == (0, 4)

    asyncio.run(test())


async def until(condition):
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came so far")


def test_a_large_list_arrives_whole_and_a_reader_of_it_that_stops_is_hung_up_on(served, monkeypatch):
    async def test(api):
        for name in ("a", "b", "c"):
            await api.post(CM, {"metadata": {"name": name}, "data": {"x": name * 1_000_000}})
        code, listed = await api.get(CM)
        assert (code, [each["data"]["x"][:1] for each in listed["items"]]) == (200, ["a", "b", "c"])
        assert api.headers["Content-Length"].isdigit()
        assert "Audit-Id" in api.headers
        monkeypatch.setattr("apiserver.sending.SEND_TIMEOUT_S", 0.2)
        reader, writer = await asyncio.open_unix_connection(api.path, limit=1024)
        writer.write(f"GET {CM} HTTP/1.1\r\nHost: api\r\n\r\n".encode())
        await reader.readuntil(b"\r\n")
        writer.transport.pause_reading()
        await until(lambda: api.app.outgoing.held_bytes > 0)
        assert api.app.inflight.running["readOnly"] == 1, "who is still being answered keeps its place"
        await until(lambda: api.app.inflight.running["readOnly"] == 0)
        assert api.app.outgoing.held_bytes == 0
        writer.transport.resume_reading()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(3_000_000)
        writer.close()

    served(test)


def test_who_reads_makes_nobody_give_way():
    """A client that takes its answer is not hung up on because another's needs the room; that one waits."""

    async def reader(outgoing, request, made_bytes=0):
        async with outgoing.sending(request, made_bytes):
            await request.transport.gone.wait()

    async def test():
        outgoing = Outgoing(2 * BUFFERED_BYTES, stalled_s=1000)
        first, second = Request(), Request()
        async with asyncio.TaskGroup() as group:
            group.create_task(reader(outgoing, first, BUFFERED_BYTES))
            await asyncio.sleep(0)
            group.create_task(reader(outgoing, second, 9 * BUFFERED_BYTES))
            for _ in range(20):
                await asyncio.sleep(0)
            assert (first.transport.gone.is_set(), outgoing.cut, outgoing.held_bytes) == (False, 0, 2 * BUFFERED_BYTES)
            first.transport.abort()
            await until(lambda: outgoing.held_bytes == 10 * BUFFERED_BYTES)
            second.transport.abort()
        assert (outgoing.held_bytes, outgoing.cut) == (0, 0)

    asyncio.run(test())


def test_huge_answers_take_turns():
    async def answered(outgoing, request):
        await outgoing.turn(request)
        try:
            async with outgoing.sending(request, 99 * BUFFERED_BYTES):
                request.begun = True
                await request.transport.gone.wait()
        finally:
            outgoing.done(request)

    def begun(requests):
        return [getattr(each, "begun", False) for each in requests]

    async def test():
        outgoing = Outgoing(HUGE_AT_ONCE * 2 * BUFFERED_BYTES, stalled_s=1000)
        requests = [Request() for _ in range(HUGE_AT_ONCE + 1)]
        async with asyncio.TaskGroup() as group:
            for each in requests:
                group.create_task(answered(outgoing, each))
            await until(lambda: all(begun(requests[:HUGE_AT_ONCE])))
            assert not requests[-1].transport.gone.is_set() and not begun(requests)[-1]
            assert outgoing.held_bytes == HUGE_AT_ONCE * BUFFERED_BYTES, "they leave the others their room"
            requests[0].transport.abort()
            await until(lambda: begun(requests)[-1])
            assert outgoing.cut == 0
            for each in requests:
                each.transport.abort()
        requests = [Request() for _ in range(HUGE_AT_ONCE + 1)]
        outgoing = Outgoing(HUGE_AT_ONCE * 2 * BUFFERED_BYTES, stalled_s=0)
        async with asyncio.TaskGroup() as group:
            for each in requests:
                group.create_task(answered(outgoing, each))
            await until(lambda: begun(requests)[-1])
            assert outgoing.cut >= 1, "who does not read lets the next one have its turn"
            for each in requests:
                each.transport.abort()

    asyncio.run(test())


def test_others_have_their_turn_while_a_list_is_made(served, monkeypatch):
    monkeypatch.setattr("apiserver.handlers.list.BATCH_OBJECTS", 2)
    turns = 0

    async def other(done):
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    async def test(api):
        nonlocal turns
        api.app.table = lambda call, objects, metadata, view, columns: table.table(
            call, objects, metadata, view.version, columns=columns, now=api.app.clock()
        )
        for number in range(60):
            await api.post(CM, {"metadata": {"name": f"a{number:02}"}, "data": {"x": "y"}})
        cache = api.app.caches.of(api.app.registry.by_qualified("configmaps"))
        await until(lambda: len(cache.items()) >= 60)
        items = cache.items()
        done = asyncio.Event()
        counting = asyncio.get_running_loop().create_task(other(done))
        await list_handler._document({"items": []}, items, lambda batch: [b"{}" for _ in batch])
        assert turns >= len(items) // 2
        done.set()
        await counting
        for accept in ("application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"):
            code, told = await api.get(CM, Accept=accept)
            rows = told.get("rows") or told.get("items")
            names = [(each.get("object") or each)["metadata"]["name"] for each in rows]
            assert (code, names) == (200, [f"a{number:02}" for number in range(60)])
            assert told["metadata"]["resourceVersion"].isdigit()

    served(test)


def test_a_huge_list_of_one_revision_is_whole(served, monkeypatch):
    monkeypatch.setattr("apiserver.handlers.list.HUGE_BYTES", 1000)

    async def test(api):
        for number in range(40):
            await api.post(CM, {"metadata": {"name": f"a{number:02}"}, "data": {"x": str(number) * 50_000}})
        _, cached = await api.get(CM)
        query = f"?resourceVersion={cached['metadata']['resourceVersion']}&resourceVersionMatch=Exact"
        found = await asyncio.gather(*(api.get(CM + query) for _ in range(5)))
        assert all(code == 200 and told["items"] == cached["items"] for code, told in found)
        assert (api.app.outgoing.held_bytes, api.app.outgoing.cut) == (0, 0)
        _, first = await api.get(f"{CM}{query}&limit=25")
        assert [len(first["items"]), first["metadata"]["remainingItemCount"]] == [25, 15]
        _, rest = await api.get(f"{CM}?limit=25&continue={first['metadata']['continue']}")
        assert first["items"] + rest["items"] == cached["items"]

    served(test)
