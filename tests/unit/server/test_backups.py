"""A copy of the state is given back whenever its client leaves: before it is made, in the middle, at the end."""

import asyncio
from contextlib import aclosing

import pytest

from kvstore.errors import RequestTimeout, StoreError, TooManyRequests
from kvstore.server.backups import COPIES_MAX, PIECE_BYTES, Backups
from kvstore.storage.engine import Export

CONTENT = bytes(range(256)) * 4096
assert len(CONTENT) > 3 * PIECE_BYTES


class Copy(Export):
    total_bytes = len(CONTENT)
    closed = 0

    def read(self, offset: int, size: int) -> bytes:
        assert not self.closed
        return CONTENT[offset : offset + size]

    def close(self) -> None:
        self.closed += 1


class Asked:
    """Futures of copies that were asked for, to be completed by the test."""

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[Export]] = []
        self.caught_up = 0
        self.behind: StoreError | None = None
        self.backups = Backups(self._catch_up, self._ask)

    async def _catch_up(self) -> None:
        assert self.caught_up == len(self.futures), "first catch up, then copy"
        self.caught_up += 1
        if self.behind is not None:
            raise self.behind

    def _ask(self) -> asyncio.Future[Export]:
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]


async def first(backups: Backups) -> None:
    async with aclosing(backups.pieces()) as pieces:
        async for _ in pieces:
            return


def test_all_of_it_comes_and_then_it_is_given_back() -> None:
    async def scene() -> None:
        asked, copy, got = Asked(), Copy(), b""
        pieces = asked.backups.pieces()
        beginning = asyncio.ensure_future(anext(pieces))  # noqa: TID251 - a test owns its loop
        await asyncio.sleep(0)
        asked.futures[0].set_result(copy)
        remaining, piece = await beginning
        got += piece
        assert remaining == len(CONTENT) - PIECE_BYTES
        async for remaining, piece in pieces:
            got += piece
            assert remaining == len(CONTENT) - len(got)
        assert (got, copy.closed) == (CONTENT, 1)

    asyncio.run(scene())


def test_a_member_without_a_quorum_gives_what_it_has() -> None:
    async def scene() -> None:
        asked = Asked()
        asked.behind = RequestTimeout()
        reading = asyncio.ensure_future(first(asked.backups))  # noqa: TID251
        await asyncio.sleep(0)
        asked.futures[0].set_result(Copy())
        await reading
        assert asked.caught_up == 1

    asyncio.run(scene())


def test_a_client_that_leaves_in_the_middle() -> None:
    async def scene() -> None:
        asked, copy = Asked(), Copy()
        reading = asyncio.ensure_future(first(asked.backups))  # noqa: TID251
        await asyncio.sleep(0)
        asked.futures[0].set_result(copy)
        await reading
        assert copy.closed == 1

    asyncio.run(scene())


def test_a_client_that_leaves_before_there_is_a_copy() -> None:
    async def scene() -> None:
        asked, copy = Asked(), Copy()
        reading = asyncio.ensure_future(first(asked.backups))  # noqa: TID251
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.sleep(0)
        assert reading.cancelled()
        asked.futures[0].set_result(copy)
        await asyncio.sleep(0)
        assert copy.closed == 1

    asyncio.run(scene())


def test_more_clients_than_there_is_disk_for_are_refused_until_one_has_left() -> None:
    async def scene() -> None:
        asked = Asked()
        readers = [asyncio.ensure_future(first(asked.backups)) for _ in range(COPIES_MAX)]  # noqa: TID251
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests):
            await first(asked.backups)
        asked.futures[0].set_result(Copy())
        await readers[0]
        another = asyncio.ensure_future(first(asked.backups))  # noqa: TID251
        await asyncio.sleep(0)
        for future in asked.futures[1:]:
            future.set_result(Copy())
        await asyncio.gather(*readers[1:], another)

    asyncio.run(scene())


def test_a_copy_that_failed_leaves_room_for_the_next() -> None:
    async def scene() -> None:
        asked = Asked()
        for _ in range(COPIES_MAX + 1):
            reading = asyncio.ensure_future(first(asked.backups))  # noqa: TID251
            await asyncio.sleep(0)
            asked.futures[-1].set_exception(TooManyRequests())
            with pytest.raises(TooManyRequests):
                await reading

    asyncio.run(scene())
