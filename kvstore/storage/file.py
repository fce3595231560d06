"""A file of fixed size that is written in place: what the journal needs of a disk, as a protocol, and as a file of the system.

`memory_file` has the same in memory, with power cuts. What both owe, tried by `tests/contracts/test_file.py`:

* `write` is seen by `read` at once, and survives the end of the process; a power cut may leave any of its sectors, in any order.
* after `sync` everything written before survives a power cut, after `write_through` what that has written. Sectors that were
  not written since stay as they are, whatever happens.
"""

import os
from pathlib import Path
from typing import Protocol

from kvstore.storage.engine_errors import EngineErrors

SECTOR_BYTES = 512
"""What a disk writes wholly or not at all."""

ZEROS = bytes(1 << 20)

_DATA_SYNC: int | None = getattr(os, "RWF_DSYNC", None)
"""Linux has it since 4.7."""


class File(Protocol):
    name: str
    """For who is told of damage to it."""
    size_bytes: int
    readonly: bool
    """It is looked at beside or after its owner: nothing may be written."""

    def read(self, offset: int, size: int) -> bytes: ...
    def write(self, offset: int, data: bytes) -> None: ...
    def sync(self) -> None:
        """Raises EngineError; what was written is then in doubt, and nobody may go on writing."""
        ...

    def write_through(self, offset: int, data: bytes) -> None:
        """`write`, and on disk when it returns. Raises like `sync`."""
        ...

    def close(self) -> None: ...


class SystemFile:
    """An existing file. It never grows, and all its blocks are there (`create`): writing meets no full disk, and `fdatasync` has only data to
    write, where a growing file would have the file system's journal written, too."""

    def __init__(self, path: Path, *, sync: bool = True, readonly: bool = False) -> None:
        self.name = str(path)
        self.readonly = readonly
        self._sync = sync
        self._errors = EngineErrors(path)
        with self._errors:
            self._descriptor = os.open(path, (os.O_RDONLY if readonly else os.O_RDWR) | os.O_CLOEXEC)
            self.size_bytes = os.fstat(self._descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:
        with self._errors:
            return os.pread(self._descriptor, size, offset)

    def write(self, offset: int, data: bytes) -> None:
        assert offset + len(data) <= self.size_bytes, "a file of fixed size"
        try:
            written = os.pwrite(self._descriptor, data, offset)
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], offset + written)
        except OSError as error:
            raise self._errors.translated(error) or error from error

    def sync(self) -> None:
        if self._sync:
            try:
                os.fdatasync(self._descriptor)
            except OSError as error:
                raise self._errors.translated(error) or error from error

    def write_through(self, offset: int, data: bytes) -> None:
        """One system call where there is one. It takes as long as two, but a thread comes back from each only when it is given the interpreter's
        lock, and between the two nothing would be on its way to the disk."""
        if not self._sync or _DATA_SYNC is None:
            self.write(offset, data)
            self.sync()
            return
        assert offset + len(data) <= self.size_bytes, "a file of fixed size"
        try:
            written = os.pwritev(self._descriptor, (data,), offset, _DATA_SYNC)
        except OSError as error:
            raise self._errors.translated(error) or error from error
        if written < len(data):
            self.write(offset + written, data[written:])
            self.sync()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def create(path: Path, size_bytes: int) -> None:
    """Make a file of zeros, wholly or not at all, name included. Raises DiskFull, EngineError.

    Zeros are written where `fallocate` would do for the space: the first write to a block that was only promised has to be noted in the file
    system's own journal, which costs the second flush that we are here to save. And every file system can do it.
    """
    incoming = path.with_name(f"{path.name}.incoming")
    try:
        with EngineErrors(path):
            with os.fdopen(os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb", buffering=0) as file:
                left = size_bytes
                while left:
                    left -= file.write(ZEROS[:left])
                os.fsync(file.fileno())
            incoming.replace(path)
            sync_directory(path.parent)
    except BaseException:
        incoming.unlink(missing_ok=True)  # half a file would keep a full disk full
        raise


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
