"""Answers in pieces, and what becomes of clients that do not take them."""

import asyncio

import pytest

from apiserver.sending import BUFFERED_BYTES, PIECE_BYTES, Outgoing, pieces

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
        outgoing = Outgoing(3 * BUFFERED_BYTES)
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
