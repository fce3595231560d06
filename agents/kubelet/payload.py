"""Files of configMap, secret, downwardAPI and projected volumes: what they contain (pure), and how they get onto the disk at one stroke.

A reader sees all files of one moment or all of the next: they lie in a folder named after its time, `..data` points to it, and the names that the
container sees point through `..data` (pkg/volume/util/atomic_writer).
"""

import base64
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from msgspec import Struct

from agents.kubelet import pods
from agents.kubelet.environment import ConfigError, Sources, field_value, resource_value
from apiserver.machinery.objects import Object, namespace_of

DATA = "..data"


class FileOf(Struct, frozen=True):
    content: bytes
    mode: int
    uid: int = -1


def config_map_files(pod: Object, source: Object, name: str, sources: Sources, mode: int) -> dict[str, FileOf]:
    obj = sources.config_map(namespace_of(pod), name)
    if obj is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'configmap "{name}" not found')
    data = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    data |= {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}
    return _chosen(data, source, mode, "configmap references non-existent config key: {}")


def secret_files(pod: Object, source: Object, name: str, sources: Sources, mode: int) -> dict[str, FileOf]:
    obj = sources.secret(namespace_of(pod), name)
    if obj is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'secret "{name}" not found')
    data = {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    return _chosen(data, source, mode, "references non-existent secret key: {}")


def _chosen(data: Mapping[str, bytes], source: Object, mode: int, missing: str) -> dict[str, FileOf]:
    if source.get("items") is None:
        return {key: FileOf(content, mode) for key, content in data.items()}
    found = {}
    for item in source["items"]:
        if item["key"] not in data:
            if source.get("optional"):
                continue
            raise ConfigError(missing.format(item["key"]))
        found[safe(item["path"])] = FileOf(data[item["key"]], _mode_of(item, mode))
    return found


def _mode_of(item: Object, default: int) -> int:
    given = item.get("mode")
    return default if given is None else int(given)


def downward_files(pod: Object, items: list[Object], sources: Sources, mode: int) -> dict[str, FileOf]:
    found = {}
    for item in items:
        if "fieldRef" in item:
            text = field_value(pod, item["fieldRef"]["fieldPath"], sources)
        else:
            reference = item["resourceFieldRef"]
            container = pods.container_named(pod, reference.get("containerName", ""))
            text = resource_value(pod, container or {}, reference, sources.allocatable)
        found[safe(item["path"])] = FileOf(text.encode(), _mode_of(item, mode))
    return found


def safe(path: str) -> str:
    """A relative path that stays where it is. Raises ConfigError."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or parts[0].startswith("..") or "\0" in path:
        raise ConfigError(f"invalid path {path!r}: must be relative, and must not contain '..'")
    return path


def write(folder: Path, files: Mapping[str, FileOf], gid: int | None = None) -> bool:
    """Make `folder` hold these files; whether anything had to be changed."""
    if _present(folder) == {path: file.content for path, file in files.items()}:
        return False
    stamp = datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.%f")
    fresh = folder / stamp
    fresh.mkdir(parents=True, mode=0o755)
    for path, file in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        os.chown(target, file.uid, -1 if gid is None else gid)
        target.chmod(file.mode if gid is None else file.mode | 0o440)
    for each in [fresh, *(path for path in fresh.rglob("*") if path.is_dir())]:
        os.chown(each, -1, -1 if gid is None else gid)
        each.chmod(0o755 if gid is None else 0o2775)
    before = folder / DATA
    old = before.readlink() if before.is_symlink() else None
    (folder / "..data_tmp").unlink(missing_ok=True)
    (folder / "..data_tmp").symlink_to(stamp)
    (folder / "..data_tmp").rename(before)
    tops = {PurePosixPath(path).parts[0] for path in files}
    for name in tops:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{DATA}/{name}")
    for each in folder.iterdir():
        if each.name not in tops and not each.name.startswith(".."):
            each.unlink()
    if old is not None and str(old) != stamp:
        shutil.rmtree(folder / old, ignore_errors=True)
    return True


def _present(folder: Path) -> dict[str, bytes] | None:
    """What the folder shows now. Modes are not compared: a pod's are fixed."""
    data = folder / DATA
    if not data.is_symlink():
        return None
    base = folder / data.readlink()
    return {str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*") if path.is_file()}
