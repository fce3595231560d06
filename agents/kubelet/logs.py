"""Containers' logs on the node: where they lie, how they are read, turned over and removed. Lines are the CRI's: time, stream, tag, text."""

import asyncio
import contextlib
import gzip
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from agents.kit.times import to_seconds
from apiserver.machinery.objects import Object, name_of, namespace_of, uid_of

SIZE_BYTES_MAX, FILES_MAX = 10 << 20, 5
"""--container-log-max-size, --container-log-max-files."""
FOLLOW_S = 0.1
CHUNK_BYTES = 64 << 10
STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
WAITING_WORDS = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}


class NoLog(Exception):
    """Why there is no log to show."""


def logged_container(status: Object, pod_name: str, name: str, previous: bool) -> str:
    """Id of the container whose log is meant: the one that runs, else the one that ended last; `previous`: the one before (kubelet's
    validateContainerLogStatus). Raises NoLog."""
    container = next((each for field in STATUSES for each in status.get(field) or () if each["name"] == name), None)
    if container is None:
        raise NoLog(f'container "{name}" in pod "{pod_name}" is not available')
    state = container.get("state") or {}
    last = ((container.get("lastState") or {}).get("terminated") or {}).get("containerID") or ""
    if previous:
        found, why = last, f'previous terminated container "{name}" in pod "{pod_name}" not found'
    elif "running" in state:
        found, why = container.get("containerID") or "", ""
    elif "terminated" in state:
        found, why = state["terminated"].get("containerID") or last, f'container "{name}" in pod "{pod_name}" is terminated'
    else:
        reason = (state.get("waiting") or {}).get("reason") or ""
        told = f": {WAITING_WORDS.get(reason, reason)}" if reason else " - no logs yet"
        found, why = last, f'container "{name}" in pod "{pod_name}" is waiting to start{told}'
    if not found:
        raise NoLog(why)
    return str(found)


def pod_folder_name(pod: Object) -> str:
    return f"{namespace_of(pod)}_{name_of(pod)}_{uid_of(pod)}"


def remove_pod(folder: Path, pod: Object) -> None:
    shutil.rmtree(folder / pod_folder_name(pod), ignore_errors=True)


def remove(path: Path) -> None:
    """A container's log, with what was turned over of it."""
    if path.name:
        for each in [path, *path.parent.glob(f"{path.name}.*")]:
            each.unlink(missing_ok=True)


class Wanted(Struct, frozen=True):
    """`tail_lines` None: all. `since_s`: seconds since 1970. `stream`: empty for both."""

    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since_s: float = 0.0
    stream: str = ""


def parsed(line: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Time, stream, and text with its newline (none after a part). None for what is no line of the CRI's."""
    parts = line.split(b" ", 3)
    if len(parts) < 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    text = parts[3].rstrip(b"\n")
    return parts[0], parts[1], text if parts[2].startswith(b"P") else text + b"\n"


def tail_offset(path: Path, lines: int) -> int:
    """Where the last `lines` lines begin. Reads from the end."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        if lines <= 0:
            return end
        position, found = end, 0
        while position > 0:
            size = min(CHUNK_BYTES, position)
            position -= size
            file.seek(position)
            chunk = file.read(size)
            for index in range(size - 1, -1, -1):
                if chunk[index] == 10 and position + index + 1 < end:
                    found += 1
                    if found == lines:
                        return position + index + 1
    return 0


def tail(path: Path, lines: int, size: int) -> str:
    """The end of a log, as text without times."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(tail_offset(path, lines))
        texts = [each[2] for line in file if (each := parsed(line)) is not None]
    return b"".join(texts)[-size:].decode(errors="replace")


async def read(path: Path, wanted: Wanted, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Pieces of the log; with `follow` until the container has ended and all is told. A file that was turned over is followed into the new one."""
    left = wanted.limit_bytes
    offset = 0 if wanted.tail_lines is None or wanted.since_s else tail_offset(path, wanted.tail_lines)
    file = path.open("rb")
    try:
        file.seek(offset)
        rest = b""
        while True:
            alive = running()
            chunk = file.read(CHUNK_BYTES)
            if chunk:
                *whole, rest = (rest + chunk).split(b"\n")
                told = b"".join(_shown(whole, wanted))
                if left is not None:
                    told = told[:left]
                    left -= len(told)
                if told:
                    yield told
                if left == 0:
                    return
                continue
            if not wanted.follow or not alive:
                return
            await asyncio.sleep(FOLLOW_S)
            if _turned_over(file.fileno(), path):
                last = file.read()
                file.close()
                file = path.open("rb")
                rest = b""
                if told := b"".join(_shown(last.split(b"\n")[:-1], wanted)):
                    yield told
    finally:
        file.close()


def _turned_over(fd: int, path: Path) -> bool:
    try:
        return path.stat().st_ino != os.fstat(fd).st_ino
    except FileNotFoundError:
        return False


def _shown(lines: list[bytes], wanted: Wanted) -> Iterator[bytes]:
    found = []
    for line in lines:
        parts = parsed(line)
        if parts is None or (wanted.stream and parts[1].decode() != wanted.stream.lower()):
            continue
        if wanted.since_s and to_seconds(_micros(parts[0].decode())) < wanted.since_s:
            continue
        found.append(parts[0] + b" " + parts[2] if wanted.timestamps else parts[2])
    if wanted.since_s and wanted.tail_lines is not None and not wanted.follow:
        found = found[len(found) - min(wanted.tail_lines, len(found)) :]
    yield from found


def _micros(text: str) -> str:
    """Python's clocks have six digits behind the point."""
    head, _, rest = text.partition(".")
    return f"{head}.{rest.rstrip('Z')[:6].ljust(6, '0')}Z" if rest else text


def turn_over(path: Path, now: datetime | None = None) -> bool:
    """Move a log that has grown too large aside, compress the one before, and let the oldest go. Whether the writer must open it anew."""
    try:
        if path.stat().st_size < SIZE_BYTES_MAX:
            return False
    except FileNotFoundError:
        return False
    with contextlib.suppress(FileNotFoundError):  # a container that says very much has its log turned over by its shim, too
        for each in sorted(path.parent.glob(f"{path.name}.*")):
            if each.suffix != ".gz":
                with each.open("rb") as source, gzip.open(f"{each}.gz", "wb") as target:
                    shutil.copyfileobj(source, target)
                each.unlink()
        for each in sorted(path.parent.glob(f"{path.name}.*"))[: -(FILES_MAX - 2)]:
            each.unlink()
        path.rename(f"{path}.{(now or datetime.now(UTC)).strftime('%Y%m%d-%H%M%S')}")
        return True
    return False
