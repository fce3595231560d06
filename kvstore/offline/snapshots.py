"""A snapshot file: the state's file as `Maintenance.Snapshot` sent it, and 32 bytes of SHA-256 over it behind (etcd M-5).

What is not ours is told by its first bytes, before anything tries to open it: LMDB and bbolt both keep a magic number behind the header of
their first page.
"""

import enum
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

CHECKSUM_BYTES = sha256().digest_size
SECTOR_BYTES = 512
"""A database is whole pages, so a size of 32 more than whole sectors says that a checksum follows (etcdutl's hasChecksum)."""

CHUNK_BYTES = 1 << 20
_MAGIC_AT = 16
_LMDB_MAGIC = (0xBEEFC0DE).to_bytes(4, "little")
_BBOLT_MAGIC = (0xED0CDAED).to_bytes(4, "little")


class SnapshotRefused(Exception):
    """The file is not a snapshot, or not a whole one. Says what is wrong and what to do."""


class Kind(enum.Enum):
    KEELSON = "a state of Keelson"
    ETCD = "a database of etcd (bbolt)"


class SnapshotFile(Struct, frozen=True):
    """`content_bytes` without the checksum; `checksum` is what the file says of itself, None if it says nothing."""

    path: Path
    kind: Kind
    content_bytes: int
    checksum: bytes | None

    def chunks(self) -> Iterator[bytes]:
        """The content without the checksum."""
        left = self.content_bytes
        with self.path.open("rb") as file:
            while left:
                chunk = file.read(min(CHUNK_BYTES, left))
                if not chunk:
                    raise SnapshotRefused(f"{self.path}: the file became shorter while it was read")
                left -= len(chunk)
                yield chunk

    def check(self, digest: bytes) -> None:
        """Does what was read fit what the file says of itself? Raises SnapshotRefused."""
        if self.checksum is not None and digest != self.checksum:
            raise SnapshotRefused(
                f"{self.path}: the file is damaged: expected sha256 {self.checksum.hex()}, got {digest.hex()}; "
                "take another snapshot, or restore from another member's"
            )


def examine(path: Path) -> SnapshotFile:
    """Whose file this is and how long; reads only its first and last bytes. Raises OSError, SnapshotRefused."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        begin = file.read(_MAGIC_AT + 4)
        magic = begin[_MAGIC_AT:]
        if magic not in (_LMDB_MAGIC, _BBOLT_MAGIC):
            raise SnapshotRefused(f"{path}: not a snapshot: it begins neither as Keelson's files do nor as etcd's")
        kind = Kind.KEELSON if magic == _LMDB_MAGIC else Kind.ETCD
        if size % SECTOR_BYTES != CHECKSUM_BYTES:
            return SnapshotFile(path, kind, size, None)
        file.seek(-CHECKSUM_BYTES, os.SEEK_END)
        return SnapshotFile(path, kind, size - CHECKSUM_BYTES, file.read(CHECKSUM_BYTES))


def verify(snapshot: SnapshotFile) -> None:
    """Read all of it and compare with its checksum. Raises SnapshotRefused."""
    digest = sha256()
    for chunk in snapshot.chunks():
        digest.update(chunk)
    snapshot.check(digest.digest())
