"""What every file of fixed size owes (storage.file), tried on the system's and on the simulator's; and what only the simulator can do to one."""

import random
from pathlib import Path

import pytest

from kvstore.storage.file import SECTOR_BYTES, File, SystemFile, create
from kvstore.storage.memory_file import MemoryFile

SIZE_BYTES = 8 * SECTOR_BYTES


@pytest.fixture(params=["system", "memory"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> File:
    if request.param == "memory":
        return MemoryFile(SIZE_BYTES)
    create(tmp_path / "file", SIZE_BYTES)
    return SystemFile(tmp_path / "file")


def test_it_begins_as_zeros_of_its_size(file: File) -> None:
    assert (file.size_bytes, file.readonly) == (SIZE_BYTES, False)
    assert file.read(0, SIZE_BYTES) == bytes(SIZE_BYTES)


def test_what_is_written_is_read_at_once_and_nothing_beside_it_changes(file: File) -> None:
    file.write(SECTOR_BYTES - 2, b"across")
    file.write(SIZE_BYTES - 3, b"end")
    file.write(SECTOR_BYTES, b"CR")
    assert file.read(SECTOR_BYTES - 3, 8) == b"\0acCRss\0"
    file.sync()
    assert file.read(SECTOR_BYTES - 3, 8) == b"\0acCRss\0"
    assert file.read(SIZE_BYTES - 3, 100) == b"end"


def test_what_is_written_through_is_read_as_well(file: File) -> None:
    file.write_through(SECTOR_BYTES - 2, b"across")
    assert file.read(SECTOR_BYTES - 3, 8) == b"\0across\0"


def test_it_does_not_grow(file: File) -> None:
    for write in (file.write, file.write_through):
        with pytest.raises(AssertionError):
            write(SIZE_BYTES - 1, b"ab")
    assert file.read(SIZE_BYTES - 1, 2) == b"\0"


def test_a_power_cut_takes_any_sectors_that_were_not_synced_and_no_others() -> None:
    left = set()
    for seed in range(40):
        file = MemoryFile(SIZE_BYTES)
        file.write(0, b"a" * 4 * SECTOR_BYTES)
        file.sync()
        file.write(SECTOR_BYTES, b"b" * 2 * SECTOR_BYTES)
        file.power_cut(random.Random(seed))
        content = file.read(0, 4 * SECTOR_BYTES)
        left.add(bytes(content[at] for at in range(0, len(content), SECTOR_BYTES)))
        assert set(content[:SECTOR_BYTES] + content[3 * SECTOR_BYTES :]) == set(b"a")
        file.write_through(0, b"c" * SECTOR_BYTES)
        file.power_cut(random.Random(seed))
        assert file.read(0, SECTOR_BYTES) == b"c" * SECTOR_BYTES
    assert left == {b"aaaa", b"abaa", b"aaba", b"abba"}
