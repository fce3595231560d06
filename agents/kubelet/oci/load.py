"""Images from files: OCI layouts (folders), OCI archives and Docker archives (tar, plain or gzip), as skopeo, umoci and `docker save` write them."""

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from agents.kubelet.oci import unpack
from agents.kubelet.oci.store import CONFIG, DOCUMENT_BYTES_MAX, LAYER, MANIFEST, NESTING_MAX, REF_NAME, BadImage, Store

CONTAINERD_NAME = "io.containerd.image.name"


class _Source(Protocol):
    def open(self, name: str) -> BinaryIO:
        """Raises KeyError."""


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, name: str) -> BinaryIO:
        try:
            return (self.path / name).open("rb")
        except OSError:
            raise KeyError(name) from None


class _Archive:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self.tar = tar
        self.members = {member.name.removeprefix("./"): member for member in tar.getmembers()}

    def open(self, name: str) -> BinaryIO:
        member = self.members[name]
        for _ in range(8):  # `docker save` writes links between layers
            if not member.issym():
                break
            import posixpath

            member = self.members[posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))]
        found = self.tar.extractfile(member)
        if found is None:
            raise KeyError(name)
        return cast(BinaryIO, found)


def load(store: Store, path: Path, name: str = "") -> list[str]:
    """The names under which the images of `path` are now in the store. `name` names an image that brings no name. Raises BadImage."""
    try:
        with _source(path) as source:
            if _has(source, "index.json"):
                return _layout(store, source, name)
            if _has(source, "manifest.json"):
                return _docker(store, source, name)
    except tarfile.ReadError:
        raise BadImage(f"{path} is no image archive: neither tar nor gzip, or cut short") from None
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BadImage(f"{path}: {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadImage(f"{path}: not as an image archive is: {error!r}") from None
    raise BadImage(f"{path} is neither an OCI layout (index.json) nor a Docker archive (manifest.json)")


@contextmanager
def _source(path: Path) -> Iterator[_Source]:
    if path.is_dir():
        yield _Folder(path)
        return
    with path.open("rb") as file:
        if file.read(4) == unpack.ZSTD:
            raise BadImage(f"{path} is compressed with zstd, which is not supported: decompress it first")
    with tarfile.open(path) as tar:
        yield _Archive(tar)


def _has(source: _Source, name: str) -> bool:
    try:
        source.open(name).close()
    except KeyError:
        return False
    return True


def _json(source: _Source, name: str) -> Any:
    with source.open(name) as file:
        data = file.read(DOCUMENT_BYTES_MAX + 1)
    if len(data) > DOCUMENT_BYTES_MAX:
        raise BadImage(f"{name} has more than {DOCUMENT_BYTES_MAX} bytes")
    return json.loads(data)


def _layout(store: Store, source: _Source, name: str) -> list[str]:
    names = []
    for entry in _json(source, "index.json")["manifests"]:
        _copy(store, source, entry["digest"], 0)
        annotations = entry.get("annotations") or {}
        found = annotations.get(CONTAINERD_NAME) or annotations.get(REF_NAME, "")
        # A bare tag (as umoci and skopeo write it) says nothing about which image it is of.
        wanted = name or (found if "/" in found or ":" in found else "")
        if not wanted:
            raise BadImage(f"the image brings no whole name ({found!r}): say one with --name")
        store.tag(wanted, entry["digest"])
        names.append(wanted)
    if not names:
        raise BadImage("index.json names no image")
    return names


def _copy(store: Store, source: _Source, digest: str, depth: int) -> None:
    """A manifest or an index with all below it. What an index lists and the archive has not (other platforms) is left out."""
    if depth > NESTING_MAX:
        raise BadImage(f"more than {NESTING_MAX} indexes in each other")
    _blob(store, source, digest)
    document = store.document(digest)
    for each in document.get("manifests") or ():
        if _has(source, _path(each["digest"])):
            _copy(store, source, each["digest"], depth + 1)
    if "config" in document:
        _blob(store, source, document["config"]["digest"])
        for layer in document["layers"]:
            _blob(store, source, layer["digest"])


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _blob(store: Store, source: _Source, digest: str) -> None:
    if store.blob(digest).exists():
        return
    with source.open(_path(digest)) as file:
        store.add_blob(file, digest)


def _docker(store: Store, source: _Source, name: str) -> list[str]:
    names: list[str] = []
    for entry in _json(source, "manifest.json"):
        with source.open(entry["Config"]) as file:
            config, config_size = store.add_blob(file)
        layers = []
        for layer in entry["Layers"]:
            with source.open(layer) as file:
                digest, size = store.add_blob(file)
            with store.blob(digest).open("rb") as blob:
                compressed = blob.read(2) == unpack.GZIP
            layers.append({"mediaType": f"{LAYER}+gzip" if compressed else LAYER, "digest": digest, "size": size})
        described = {"mediaType": CONFIG, "digest": config, "size": config_size}
        manifest, _ = store.add_document({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers})
        tags = [name] if name else list(entry.get("RepoTags") or ())
        if not tags:
            raise BadImage("the image brings no name: say one with --name")
        for tag in tags:
            store.tag(tag, manifest)
        names += tags
    return names
