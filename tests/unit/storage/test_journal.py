"""The journal: what was appended is found again, what was not finished is not, old records are never new ones, and damage has a name."""

import os
import random
from pathlib import Path

import pytest

from kvstore.storage import engine_errors
from kvstore.storage import file as files
from kvstore.storage.engine import Corrupted, DiskFull, EngineError
from kvstore.storage.file import SECTOR_BYTES, SystemFile, create
from kvstore.storage.journal import Journal, Mark
from kvstore.storage.memory_file import MemoryFile

ID = 77
SIZE_BYTES = 16 * SECTOR_BYTES


def journal(file: MemoryFile) -> Journal:
    made = Journal(file)
    made.format(ID)
    return made


def recovered(file: MemoryFile, epoch: int = 1) -> list[bytes]:
    return Journal(file).recover(Mark(ID, epoch))


def test_records_come_back_in_their_order_and_more_go_behind_them() -> None:
    file = MemoryFile(SIZE_BYTES)
    contents = [b"one", b"t" * 1000, b"", b"four"]
    first = journal(file)
    for content in contents:
        first.append(content)
    again = Journal(file)
    assert again.recover(first.mark) == contents
    again.append(b"five")
    assert recovered(file) == [*contents, b"five"]


def test_a_record_that_does_not_fit_is_refused_until_the_next_epoch() -> None:
    file = MemoryFile(SIZE_BYTES)
    made = journal(file)
    number = 0
    while made.fits(b"x" * 600):
        made.append(b"x" * 600)
        number += 1
    assert number == 7, "two sectors each, behind the first one"
    assert not made.fits(b"x" * SIZE_BYTES)
    made.begin(made.following())
    made.append(b"new")
    assert recovered(file, 2) == [b"new"]


def test_records_of_an_epoch_that_is_over_are_never_read_again() -> None:
    """The new ones take the places of the old ones, with equal numbers and lengths; what is left of the old ones lies right behind."""
    for count in range(6):
        file = MemoryFile(SIZE_BYTES)
        made = journal(file)
        for number in range(6):
            made.append(b"old %d" % number)
        made.begin(made.following())
        for number in range(count):
            made.append(b"new %d" % number)
        assert recovered(file, 2) == [b"new %d" % number for number in range(count)]


def test_a_value_that_looks_like_a_record_is_none() -> None:
    """Somebody who knows everything but the file's id writes the record that would come next, at the beginning of a sector."""
    forger = journal(MemoryFile(SIZE_BYTES))
    forger._mark = Mark(ID + 1, 1)
    forged = forger._record(b"forged")
    file = MemoryFile(SIZE_BYTES)
    made = journal(file)
    made.append(b"x" * (SECTOR_BYTES - 32) + forged)
    assert len(recovered(file)) == 1
    made.begin(made.following())
    made.append(b"short")
    assert recovered(file, 2) == [b"short"]


@pytest.mark.parametrize("lost", [{0}, {1}, {2}, {0, 2}, {0, 1, 2}])
def test_a_record_that_was_not_finished_never_was(lost: set[int]) -> None:
    file = MemoryFile(SIZE_BYTES)
    made = journal(file)
    made.append(b"whole")
    at = made._offset
    before = file.read(at, 3 * SECTOR_BYTES)
    made.append(b"t" * (2 * SECTOR_BYTES + 100))
    for sector in lost:
        file.write(at + sector * SECTOR_BYTES, before[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES])
    again = Journal(file)
    assert again.recover(Mark(ID, 1)) == [b"whole"]
    again.append(b"next")
    assert recovered(file) == [b"whole", b"next"]


def test_a_power_cut_in_any_append_leaves_all_before_it() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        file = MemoryFile(SIZE_BYTES)
        made = journal(file)
        done = []
        for number in range(rng.randrange(4)):
            done.append(b"%d" % number * rng.randrange(1, 900))
            made.append(done[-1])
        file.dies_in_sync = True
        last = b"x" * rng.randrange(1, 2000)
        with pytest.raises(EngineError):
            made.append(last)
        file.dies_in_sync = False
        file.power_cut(rng)
        assert recovered(file) in (done, [*done, last])


def test_what_a_dead_process_had_not_flushed_is_on_disk_once_it_was_read() -> None:
    """The process dies between write and flush, the next one reads the record and acts on it, and then the power goes."""
    for seed in range(20):
        file = MemoryFile(SIZE_BYTES)
        made = journal(file)
        file.dies_in_sync = True
        with pytest.raises(EngineError):
            made.append(b"vote" * 300)
        file.dies_in_sync = False
        assert recovered(file) == [b"vote" * 300]
        file.power_cut(random.Random(seed))
        assert recovered(file) == [b"vote" * 300]


def test_damage_before_a_whole_record_is_named_wherever_it_is() -> None:
    file = MemoryFile(SIZE_BYTES)
    made = journal(file)
    contents = [b"a" * 700, b"b" * 20, b"c" * 600, b"d" * 5]
    ends = []
    for content in contents:
        made.append(content)
        ends.append(made._offset)
    whole = file.read(0, SIZE_BYTES)
    begin = SECTOR_BYTES
    for number, (content, end) in enumerate(zip(contents, ends, strict=True)):
        for at in range(begin, begin + 32 + len(content), 7):
            file.write(0, whole)
            file.write(at, bytes([whole[at] ^ 0x10]))
            if number == len(contents) - 1:
                assert recovered(file) == contents[:-1], "it looks like one that was not finished"
            else:
                with pytest.raises(Corrupted, match=f"record {number} of epoch 1, at byte {begin}, is damaged"):
                    recovered(file)
        begin = end


def test_a_write_that_the_disk_lost_is_found() -> None:
    """It said that the record is on disk and kept the old one in its place, which is whole: only the next record knows better."""
    file = MemoryFile(SIZE_BYTES)
    made = journal(file)
    made.append(b"first, not finished, found by no recovery")
    old = file.read(SECTOR_BYTES, SECTOR_BYTES)
    made = journal(file)
    made.append(b"first")
    made.append(b"second")
    file.write(SECTOR_BYTES, old)
    with pytest.raises(Corrupted, match="record 1 of epoch 1"):
        recovered(file)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: bytes(len(content)), "journal: no journal"),
        (lambda content: b"", "journal: no journal"),
        (lambda content: b"text" + content[4:], "journal: no journal"),
        (lambda content: content[: len(content) // 2], "was cut short"),
        (lambda content: content + content, "where it had"),
    ],
)
def test_another_file_in_its_place_is_refused(tmp_path: Path, damage, said: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "journal"
    create(path, SIZE_BYTES)
    made = Journal(SystemFile(path))
    made.format(ID)
    made.append(b"x")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Corrupted, match=said):
        Journal(SystemFile(path)).recover(made.mark)
    path.write_bytes(damage(b""))
    with pytest.raises(Corrupted):
        Journal(SystemFile(path)).recover(made.mark)


def test_the_journal_of_another_log_is_refused() -> None:
    file = MemoryFile(SIZE_BYTES)
    journal(file)
    with pytest.raises(Corrupted, match="belongs to another log"):
        Journal(file).recover(Mark(ID + 1, 1))


def test_the_journal_of_a_log_that_is_missing_is_left_alone() -> None:
    file = MemoryFile(SIZE_BYTES)
    made = journal(file)
    Journal(file).check_unused()
    made.append(b"x")
    with pytest.raises(Corrupted, match="a log that is missing"):
        Journal(file).check_unused()
    assert recovered(file) == [b"x"]


def test_looking_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    create(path, SIZE_BYTES)
    made = Journal(SystemFile(path))
    made.format(ID)
    made.append(b"x")
    before = path.stat().st_mtime_ns
    assert Journal(SystemFile(path, readonly=True)).recover(made.mark) == [b"x"]
    assert path.stat().st_mtime_ns == before


def test_a_disk_without_room_for_it_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(engine_errors.errno.ENOSPC, os.strerror(engine_errors.errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="journal: no room to write"):
        create(tmp_path / "journal", SIZE_BYTES)
    assert list(tmp_path.iterdir()) == []


def test_a_write_cut_short_is_finished_and_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(tmp_path / "journal", SIZE_BYTES)
    made = Journal(SystemFile(tmp_path / "journal"))
    made.format(ID)
    flushed: list[int] = []
    monkeypatch.setattr(os, "pwritev", lambda descriptor, data, offset, flags: os.pwrite(descriptor, data[0][:100], offset))
    monkeypatch.setattr(os, "fdatasync", flushed.append)
    made.append(b"x" * 400)
    monkeypatch.undo()
    assert len(flushed) == 1
    assert Journal(SystemFile(tmp_path / "journal")).recover(made.mark) == [b"x" * 400]


@pytest.mark.parametrize("with_flag", [True, False])
def test_a_flush_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_flag: bool) -> None:
    if not with_flag:  # an older system
        monkeypatch.setattr(files, "_DATA_SYNC", None)
    path = tmp_path / "journal"
    create(path, SIZE_BYTES)
    made = Journal(SystemFile(path))
    made.format(ID)

    def broken(*_: object) -> None:
        raise OSError(engine_errors.errno.EIO, os.strerror(engine_errors.errno.EIO))

    monkeypatch.setattr(os, "pwritev", broken)
    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(EngineError, match=r"journal: .*Input/output error"):
        made.append(b"x")
