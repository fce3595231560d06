"""One layer from its tar into a folder that overlayfs takes as a lower directory. What is in the tar is not trusted.

Every name is resolved below the folder by the kernel (openat2 with RESOLVE_IN_ROOT), so neither `..`, nor absolute names, nor links that an earlier
entry made lead out of it. Sizes and counts have limits. Whiteouts become what overlayfs knows: a character device 0:0, an attribute on a folder.
"""

import gzip
import hashlib
import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from agents.kubelet.shim import kernel

ENTRIES_MAX = 1_000_000
UNPACKED_BYTES_MAX = 32 << 30
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
XATTR = "SCHILY.xattr."
CHUNK_BYTES = 1 << 20


class BadLayer(Exception):
    """Not a tar, or one that wants what a layer must not."""


class _Hashing:
    """Reads through and remembers the digest of all that was read."""

    def __init__(self, source: IO[bytes]) -> None:
        self.source = source
        self.digest = hashlib.sha256()
        self.read_bytes = 0

    def read(self, size: int = -1) -> bytes:
        data = self.source.read(size)
        self.read_bytes += len(data)
        if self.read_bytes > UNPACKED_BYTES_MAX:
            raise BadLayer(f"it unpacks to more than {UNPACKED_BYTES_MAX} bytes")
        self.digest.update(data)
        return data


def decompressed(blob: BinaryIO) -> IO[bytes]:
    """Raises BadLayer for zstd."""
    magic = blob.read(4)
    blob.seek(0)
    if magic.startswith(ZSTD):
        raise BadLayer("it is compressed with zstd, which is not supported: convert the image to gzip")
    return gzip.GzipFile(fileobj=blob, mode="rb") if magic.startswith(GZIP) else blob  # type: ignore[return-value]


def layer(blob: BinaryIO, folder: Path) -> str:
    """Unpack into the empty `folder`; the digest of the tar (its diff id). Raises BadLayer and OSError."""
    source = _Hashing(decompressed(blob))
    root = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    folders: list[tuple[str, float]] = []
    try:
        with tarfile.open(fileobj=source, mode="r|", errorlevel=2) as tar:  # type: ignore[call-overload]
            for count, member in enumerate(tar):
                if count > ENTRIES_MAX:
                    raise BadLayer(f"it has more than {ENTRIES_MAX} entries")
                _entry(root, tar, member)
                if member.isdir():
                    folders.append((member.name, member.mtime))
        while source.read(CHUNK_BYTES):
            pass
        for name, mtime in reversed(folders):
            _set_time(root, name, mtime)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise BadLayer(f"no tar archive: {error}") from None
    finally:
        os.close(root)
    return f"sha256:{source.digest.hexdigest()}"


def _parts(name: str) -> list[str]:
    parts = [part for part in PurePosixPath("/" + name).parts[1:] if part != "."]
    if ".." in parts or "\0" in name:
        raise BadLayer(f"the name {name!r} leads out of it")
    return parts


def _parent(root: int, parts: list[str]) -> int:
    """An O_PATH descriptor of the folder, made where it is missing."""
    path = "/".join(parts) or "."
    try:
        return kernel.open_inside(root, path)
    except FileNotFoundError:
        above = _parent(root, parts[:-1])
        try:
            os.mkdir(parts[-1], 0o755, dir_fd=above)
        except FileExistsError:
            raise BadLayer(f"{path!r} is a link that leads nowhere in it, and has something below it") from None
        finally:
            os.close(above)
        return kernel.open_inside(root, path)


def _entry(root: int, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    parts = _parts(member.name)
    if not parts:
        return
    name = parts[-1]
    parent = _parent(root, parts[:-1])
    try:
        if name == OPAQUE:
            os.setxattr(f"/proc/self/fd/{parent}", "trusted.overlay.opaque", b"y")
        elif name.startswith(WHITEOUT):
            gone = name.removeprefix(WHITEOUT)
            if gone in ("", ".", ".."):
                raise BadLayer(f"the name {member.name!r} leads out of it")
            _clear(gone, parent)
            os.mknod(gone, 0o020000, 0, dir_fd=parent)
        else:
            _make(root, tar, member, name, parent)
    finally:
        os.close(parent)


def _make(root: int, tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, parent: int) -> None:
    mode = member.mode & 0o7777
    if member.isdir():
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            if not _is_folder(name, parent):
                _clear(name, parent)
                os.mkdir(name, 0o755, dir_fd=parent)
    else:
        _clear(name, parent)
        if member.isreg():
            _write(tar, member, name, parent)
        elif member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
        elif member.islnk():
            target = _parts(member.linkname)
            folder = _parent(root, target[:-1])
            try:
                os.link(target[-1], name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(folder)
            return
        elif member.ischr() or member.isblk() or member.isfifo():
            kind = {tarfile.CHRTYPE: 0o020000, tarfile.BLKTYPE: 0o060000}.get(member.type, 0o010000)
            os.mknod(name, kind | 0o600, os.makedev(member.devmajor, member.devminor), dir_fd=parent)
        else:
            raise BadLayer(f"{member.name!r} is an entry of type {member.type!r}")
    os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
    if not member.issym():
        os.chmod(name, mode, dir_fd=parent)
    for key, value in member.pax_headers.items():
        if key.startswith(XATTR + "security.capability"):
            os.setxattr(f"/proc/self/fd/{parent}/{name}", "security.capability", value.encode("utf-8", "surrogateescape"), follow_symlinks=False)
    if not member.isdir():
        os.utime(name, (member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, parent: int) -> None:
    source = tar.extractfile(member)
    assert source is not None, "a regular file has content"
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
    with os.fdopen(fd, "wb") as file:
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)


def _is_folder(name: str, parent: int) -> bool:
    import stat

    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _clear(name: str, parent: int) -> None:
    """A later entry of the same name replaces an earlier one."""
    import shutil

    try:
        if _is_folder(name, parent):
            shutil.rmtree(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass


def _set_time(root: int, name: str, mtime: float) -> None:
    try:
        fd = kernel.open_inside(root, "/".join(_parts(name)) or ".")
    except OSError:
        return
    try:
        os.utime(f"/proc/self/fd/{fd}", (mtime, mtime))
    finally:
        os.close(fd)
