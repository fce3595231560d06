"""Where log lines go: --log-outputs, --enable-log-rotation and the access log of our own, as handlers of the logging module."""

import gzip
import json
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from keelson.cogs.logs import handler_for
from kvstore.server.bootstrap import ConfigurationError

STREAMS = {"default": "stderr", "stderr": "stderr", "stdout": "stdout"}


class Rotation(Struct, frozen=True):
    """etcd's --log-rotation-config-json (lumberjack's): 0 means no limit for age and backups, and 100 MB for size."""

    maxsize: int = 100
    maxage: int = 0
    maxbackups: int = 0
    localtime: bool = False
    compress: bool = False

    @property
    def bytes_max(self) -> int:
        return (self.maxsize or 100) * 1_000_000


def rotation_from(text: str) -> Rotation:
    """Raises ConfigurationError with etcd's words."""
    try:
        content = json.loads(text)
        known = {name: content[name] for name in Rotation.__struct_fields__ if name in content}
        rotation = Rotation(**known)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"improperly formatted log rotation config: {error}") from error
    for name, value in known.items():
        if type(value) is not type(getattr(Rotation(), name)) or (not isinstance(value, bool) and value < 0):
            raise ConfigurationError(f"invalid log rotation config: {name} cannot be {value!r}")
    return rotation


def check_outputs(outputs: Sequence[str], rotated: bool) -> None:
    """Raises ConfigurationError with etcd's words."""
    if "default" in outputs and len(outputs) > 1:
        raise ConfigurationError('multi logoutput for "default" is not supported yet')
    files = [output for output in outputs if output not in STREAMS]
    if rotated and len(files) != 1:
        raise ConfigurationError("--log-outputs requires a single file path when --log-rotate-config-json is defined")


class RotatedFile(logging.StreamHandler[Any]):
    """Appends to a file; one that would pass its size is put aside under the time, as lumberjack names it, and a new one begun."""

    def __init__(self, path: Path, rotation: Rotation) -> None:
        self._path = path
        self._rotation = rotation
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path.open("a", buffering=1))
        self._bytes = path.stat().st_size

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + self.terminator
            size = len(line.encode(errors="replace"))
            if self._bytes and self._bytes + size > self._rotation.bytes_max:
                self._rotate()
            self.stream.write(line)
            self._bytes += size
        except Exception:
            self.handleError(record)

    def _rotate(self) -> None:
        self.stream.close()
        aside = self._backup_name()
        self._path.rename(aside)
        self.stream = self._path.open("a", buffering=1)
        self._bytes = 0
        if self._rotation.compress:
            with aside.open("rb") as source, gzip.open(f"{aside}.gz", "wb") as target:
                shutil.copyfileobj(source, target)
            aside.unlink()
        self._forget_old()

    def _backup_name(self) -> Path:
        now = datetime.now(None if self._rotation.localtime else UTC)
        while True:
            stamp = now.strftime("%Y-%m-%dT%H-%M-%S.") + f"{now.microsecond // 1000:03}"
            aside = self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}")
            if not aside.exists() and not aside.with_name(f"{aside.name}.gz").exists():
                return aside
            now += timedelta(milliseconds=1)

    def _forget_old(self) -> None:
        """Names hold the time, so that their order is that of age."""
        backups = sorted(self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}*"), reverse=True)
        old = backups[self._rotation.maxbackups :] if self._rotation.maxbackups else []
        if self._rotation.maxage:
            oldest_s = time.time() - self._rotation.maxage * 86_400
            old += [backup for backup in backups if backup not in old and backup.stat().st_mtime < oldest_s]
        for backup in old:
            backup.unlink(missing_ok=True)

    def close(self) -> None:
        self.stream.close()
        super().close()


def open_output(output: str, form: str, rotation: Rotation | None) -> logging.Handler:
    """Raises OSError if a file cannot be had."""
    if output in STREAMS:
        return handler_for(getattr(sys, STREAMS[output]), form)
    if rotation is not None:
        rotated = RotatedFile(Path(output), rotation)
        rotated.setFormatter(handler_for(sys.stderr, form).formatter)
        return rotated
    return handler_for(Path(output).open("a", buffering=1), form)


def open_access_log(output: str) -> None:
    """Lines of calls, always JSON: among the others ("default"), or into a file of their own."""
    access = logging.getLogger("kvstore.access")
    access.setLevel(logging.INFO)
    if output != "default":
        access.addHandler(open_output(output, "json", None))
        access.propagate = False
