"""Failures of LMDB and of the system, by our names: full, damaged, or otherwise; always with the file's name and what to do."""

import errno
import os
from pathlib import Path
from types import TracebackType

import lmdb

from kvstore.storage.engine import Corrupted, DiskFull, EngineError

_FULL = (lmdb.MapFullError, lmdb.DiskError, lmdb.TxnFullError)
_DAMAGED = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.PageNotFoundError, lmdb.PageFullError)
_FULL_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_WORDS = tuple(map(os.strerror, _FULL_NUMBERS))
_CUT_SHORT = os.strerror(errno.EIO)
NO_ROOM_BYTES = 1 << 20
"""With less than this left, an I/O error of LMDB's is taken for want of room: it says the same of a write that was cut short."""


class EngineErrors:
    """Turns LMDB's and the system's failures into ours, with the file's name and what to do. A context to be used again and again."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            ours = self.translated(error)
            if ours is not None:
                raise ours from error

    def translated(self, error: BaseException) -> EngineError | None:
        """None: no failure of a disk."""
        if not isinstance(error, lmdb.Error | OSError):
            return None
        # LMDB hands on what the system says as a plain Error with its words, and a write that was cut short as an I/O error.
        is_full = isinstance(error, _FULL) or (isinstance(error, OSError) and error.errno in _FULL_NUMBERS) or str(error).endswith(_FULL_WORDS)
        if is_full or (str(error).endswith(_CUT_SHORT) and self._free_bytes() < NO_ROOM_BYTES):
            return DiskFull(f"{self.path}: no room to write ({error}); free disk space, then restart this member")
        if isinstance(error, _DAMAGED):
            return Corrupted(
                f"{self.path}: not a readable database ({error}); if other members are healthy, "
                "remove this member's data directory and let it join again"
            )
        return EngineError(f"{self.path}: {error}")

    def _free_bytes(self) -> float:
        try:
            system = os.statvfs(self.path.parent)
        except OSError:
            return float("inf")
        return system.f_bavail * system.f_frsize
