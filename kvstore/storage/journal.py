"""Records in a file of fixed size, one behind the other, each on disk when `append` returns: one write and one flush.

A redo log. Whoever owns it keeps what the records say in memory, too, writes that to its proper place now and then, and notes there, in the same
transaction, that a new epoch begins (`Mark`). Records of earlier epochs count for nothing from then on, and their space is used again.

    sector 0        magic, version, the file's id and size, checksum of these
    from sector 1   records, each at the beginning of a sector: magic, epoch, number in the epoch, length, checksum of the record before,
                    own checksum, content

What can be said of a record that is not whole, and why:

* The last one was being written when the power went: nobody was told of it, it is as if it had never been. It cannot have damaged its predecessors,
  because no two share a sector.
* A record behind it is whole: writes go out one at a time, each after the flush of the one before, so this one was whole once. It is damage,
  and never dropped silently (etcd's WAL does likewise). That damage to the very last record looks like the first case is the price of any log.
* An old record can never be taken for a new one: the epoch stands in it and, with the file's id (chance, never shown to anybody), begins its
  checksum. So neither what an earlier epoch left, nor another file, nor a value made to look like a record, passes.
"""

import struct
from zlib import crc32

from msgspec import Struct

from kvstore.storage.engine import Corrupted
from kvstore.storage.file import SECTOR_BYTES, File

JOURNAL_BYTES = 4 << 20
"""Beside the log's own file, for good. Appends wait for a checkpoint of so much at most; what is larger goes to the log's tables at once."""

FILE_MAGIC = b"KEELSONJ"
FILE_VERSION = 1
_FILE_HEADER = struct.Struct(">8sIQQI")

MAGIC = b"Kjr1"
_HEADER = struct.Struct(">4sQQIII")
_CHECKED_BYTES = _HEADER.size - 4
"""Of the header everything but the checksum itself is under it."""

JOIN_AGAIN = "if other members are healthy, remove this member from the cluster and its data directory, and let it join again"


class Mark(Struct, frozen=True, array_like=True):
    """Which records count: those of this file, from this epoch. Kept by the owner where its checkpoints go, in the same transaction."""

    file_id: int
    epoch: int


class Journal:
    def __init__(self, file: File) -> None:
        """Before anything else comes `format` or `recover`."""
        self._file = file
        self._end = file.size_bytes // SECTOR_BYTES * SECTOR_BYTES
        self._mark = Mark(0, 0)
        self._offset = SECTOR_BYTES
        self._number = 0
        self._previous = 0

    @property
    def mark(self) -> Mark:
        return self._mark

    @property
    def readonly(self) -> bool:
        return self._file.readonly

    def format(self, file_id: int) -> Mark:
        """Make it a journal, empty; what it held is lost. It counts from when the owner has kept the mark."""
        checked = _FILE_HEADER.pack(FILE_MAGIC, FILE_VERSION, file_id, self._file.size_bytes, 0)[:-4]
        self._file.write(0, checked + crc32(checked).to_bytes(4, "big"))
        self._file.sync()
        self._begin(Mark(file_id, 1))
        return self._mark

    def check_unused(self) -> None:
        """For who has no mark of it. Raises Corrupted if it holds records: their log is missing."""
        if self._holds_records():
            raise Corrupted(f"{self._file.name}: holds records of a log that is missing: restore both together, or remove the data directory")

    def _holds_records(self) -> bool:
        header, record = self._file.read(0, _FILE_HEADER.size), self._file.read(SECTOR_BYTES, self._file.size_bytes)
        if not _is_checked(header) or len(record) < _HEADER.size:
            return False
        return _whole(record, 0, Mark(_FILE_HEADER.unpack(header)[2], _HEADER.unpack_from(record)[1])) is not None

    def following(self) -> Mark:
        """The mark with which the next epoch begins: keep it durably, then call `begin` with it."""
        return Mark(self._mark.file_id, self._mark.epoch + 1)

    def begin(self, mark: Mark) -> None:
        """`mark` is durable: all records are done with, and the space is free."""
        assert mark == self.following(), "epochs follow each other"
        self._begin(mark)

    def _begin(self, mark: Mark) -> None:
        self._mark = mark
        self._offset = SECTOR_BYTES
        self._number = 0
        self._previous = _seed(mark)

    def fits(self, content: bytes) -> bool:
        return self._offset + _HEADER.size + len(content) <= self._end

    def append(self, content: bytes) -> int:
        """On disk when it returns; how many bytes it took. Raises EngineError: it is not known what is on disk, and nothing may be appended
        any more."""
        assert self.fits(content)
        record = self._record(content)
        self._file.write_through(self._offset, record)
        self._went(record)
        return len(record)

    def _record(self, content: bytes) -> bytes:
        checked = _HEADER.pack(MAGIC, self._mark.epoch, self._number, len(content), self._previous, 0)[:_CHECKED_BYTES]
        return b"".join((checked, _checksum(self._mark, checked, content).to_bytes(4, "big"), content))

    def _went(self, record: bytes) -> None:
        self._previous = int.from_bytes(record[_CHECKED_BYTES : _HEADER.size], "big")
        self._number += 1
        self._offset += -(-len(record) // SECTOR_BYTES) * SECTOR_BYTES

    def recover(self, mark: Mark) -> list[bytes]:
        """The contents since `mark` was kept, in their order; appending goes on behind them. Raises Corrupted."""
        self._check_file(mark)
        self._begin(mark)
        data = self._file.read(0, self._file.size_bytes)
        contents: list[bytes] = []
        record = b""
        while (found := _whole(data, self._offset, mark)) is not None:
            number, previous, content = found
            if number != self._number or previous != self._previous:
                break  # never written by us in this place: told apart below
            record = data[self._offset : self._offset + _HEADER.size + len(content)]
            contents.append(content)
            self._went(record)
        self._check_end(data)
        if contents and not self._file.readonly:
            # The process may have ended between write and flush, or for a flush that failed, and then only the system's memory holds this one
            # yet. It counts from now on, so it has to be on disk: written, because after a failed flush a second one finds nothing to do.
            self._file.write_through(self._offset - -(-len(record) // SECTOR_BYTES) * SECTOR_BYTES, record)
        return contents

    def _check_file(self, mark: Mark) -> None:
        header = self._file.read(0, _FILE_HEADER.size)
        if not _is_checked(header):
            raise Corrupted(f"{self._file.name}: no journal, or an empty one in its place, and the log needs its own: {JOIN_AGAIN}")
        magic, version, file_id, size_bytes, _ = _FILE_HEADER.unpack(header)
        if magic != FILE_MAGIC or version != FILE_VERSION:
            raise Corrupted(
                f"{self._file.name}: has version {version}, this release reads {FILE_VERSION}: use the release that wrote it, or a newer one"
            )
        if file_id != mark.file_id:
            raise Corrupted(f"{self._file.name}: belongs to another log, or is of another time: restore both together; {JOIN_AGAIN}")
        if size_bytes != self._file.size_bytes:
            raise Corrupted(
                f"{self._file.name}: has {self._file.size_bytes} bytes where it had {size_bytes}: it was cut short or written to; {JOIN_AGAIN}"
            )

    def _check_end(self, data: bytes) -> None:
        """What is behind the last record is no record of this epoch: else one in between is damaged."""
        begin = MAGIC + self._mark.epoch.to_bytes(8, "big")
        at = data.find(begin, self._offset)
        while at >= 0:
            found = _whole(data, at, self._mark) if at % SECTOR_BYTES == 0 else None
            if found is not None:
                raise Corrupted(
                    f"{self._file.name}: record {self._number} of epoch {self._mark.epoch}, at byte {self._offset}, is damaged, "
                    f"but record {found[0]} behind it is whole: {JOIN_AGAIN}"
                )
            at = data.find(begin, at + 1)

    def close(self) -> None:
        self._file.close()


def _is_checked(header: bytes) -> bool:
    """Is it a journal's beginning, unharmed?"""
    return len(header) == _FILE_HEADER.size and crc32(header[:-4]) == int.from_bytes(header[-4:], "big")


def _seed(mark: Mark) -> int:
    return crc32(mark.file_id.to_bytes(8, "big") + mark.epoch.to_bytes(8, "big"))


def _checksum(mark: Mark, checked: bytes, content: bytes) -> int:
    return crc32(content, crc32(checked, _seed(mark)))


def _whole(data: bytes, offset: int, mark: Mark) -> tuple[int, int, bytes] | None:
    """Number, checksum of the one before, and content of the record at `offset`; None if no whole record of the epoch is there."""
    header = data[offset : offset + _HEADER.size]
    if len(header) < _HEADER.size:
        return None
    magic, epoch, number, length, previous, checksum = _HEADER.unpack(header)
    content = data[offset + _HEADER.size : offset + _HEADER.size + length]
    if magic != MAGIC or epoch != mark.epoch or len(content) != length:
        return None
    return (number, previous, content) if _checksum(mark, header[:_CHECKED_BYTES], content) == checksum else None
