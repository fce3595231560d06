"""The local store of images: an OCI image layout (blobs by digest, index.json with one entry a name), and beside it the layers, unpacked.

blobs/sha256/HEX    manifests, configurations, layers as they came
index.json          name -> manifest; written whole, under a lock, so several kubelets and a loader may share one store
layers/HEX/         one unpacked layer by its diff id, as overlayfs wants a lower directory
"""

import contextlib
import fcntl
import hashlib
import json
import platform
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from agents.kubelet.oci import unpack
from agents.kubelet.oci.reference import Reference, parse

REF_NAME = "org.opencontainers.image.ref.name"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCUMENT_BYTES_MAX = 4 << 20
LAYERS_MAX = 127
NESTING_MAX = 4
CHUNK_BYTES = 1 << 20
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


class BadImage(Exception):
    """What was given is no image that can be used here; the text says why."""


class StoredImage(Struct, frozen=True):
    """`id` is the digest of the configuration, `manifest` that of the manifest; `names` are whole references."""

    id: str
    manifest: str
    names: tuple[str, ...]
    size_bytes: int
    config: dict[str, Any]
    layers: tuple[dict[str, Any], ...]

    @property
    def diff_ids(self) -> tuple[str, ...]:
        return tuple(self.config.get("rootfs", {}).get("diff_ids") or ())


class Store:
    """All calls are short file operations, apart from `unpacked`, which takes as long as a layer is big."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cached: tuple[tuple[int, int, int], list[StoredImage]] | None = None
        for name in ("blobs/sha256", "layers", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o711)
        layout = folder / "oci-layout"
        if not layout.exists():
            layout.write_text('{"imageLayoutVersion":"1.0.0"}')

    # --- blobs --------------------------------------------------------------------------------------------------------

    def blob(self, digest: str) -> Path:
        """Raises BadImage for what is no sha256 digest."""
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise BadImage(f"{digest!r} is no sha256 digest")
        return self.folder / "blobs" / "sha256" / value

    def add_blob(self, source: BinaryIO, expected: str = "") -> tuple[str, int]:
        """Digest and size. Raises BadImage if it is not what was expected; nothing is kept then."""
        temporary = self._temporary()
        digest, size = hashlib.sha256(), 0
        try:
            with temporary.open("xb") as file:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
            name = f"sha256:{digest.hexdigest()}"
            if expected and name != expected:
                raise BadImage(f"a blob has the digest {name}, and {expected} was promised")
            temporary.rename(self.blob(name))
            return name, size
        finally:
            temporary.unlink(missing_ok=True)

    def add_document(self, document: Any) -> tuple[str, int]:
        """A JSON document in the one form that we write: sorted, so that the same content has the same digest."""
        import io

        return self.add_blob(io.BytesIO(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()))

    def document(self, digest: str) -> dict[str, Any]:
        """Raises BadImage."""
        path = self.blob(digest)
        try:
            if path.stat().st_size > DOCUMENT_BYTES_MAX:
                raise BadImage(f"{digest} has more than {DOCUMENT_BYTES_MAX} bytes and is no manifest or configuration")
            found = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise BadImage(f"{digest} cannot be read: {error}") from None
        if not isinstance(found, dict):
            raise BadImage(f"{digest} is no JSON object")
        return found

    def _temporary(self) -> Path:
        return self.folder / "tmp" / secrets.token_hex(8)

    # --- names --------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _index(self) -> list[dict[str, Any]]:
        try:
            return list(json.loads((self.folder / "index.json").read_bytes())["manifests"])
        except FileNotFoundError:
            return []

    def _write_index(self, manifests: list[dict[str, Any]]) -> None:
        temporary = self._temporary()
        temporary.write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, indent=1))
        temporary.rename(self.folder / "index.json")

    def tag(self, name: str, manifest: str) -> None:
        """`name` now means `manifest`, whose blobs must be there: they are checked."""
        whole = str(parse(name))
        digest = self._for_this_machine(manifest)
        found = self._read(digest, (whole,))
        for layer in found.layers:
            check_layer_type(layer)
            if not self.blob(layer["digest"]).exists():
                raise BadImage(f"{whole}: layer {layer['digest']} is missing")
        entry = {"mediaType": MANIFEST, "digest": digest, "size": self.blob(digest).stat().st_size, "annotations": {REF_NAME: whole}}
        with self._locked():
            others = [each for each in self._index() if each.get("annotations", {}).get(REF_NAME) != whole]
            self._write_index([*others, entry])

    def _for_this_machine(self, digest: str, depth: int = 0) -> str:
        """The manifest for Linux on this architecture, where an index lists several."""
        document = self.document(digest)
        if "manifests" not in document:
            return digest
        if depth > NESTING_MAX:
            raise BadImage(f"{digest}: more than {NESTING_MAX} indexes in each other")
        for each in document["manifests"]:
            offered = each.get("platform") or {}
            if offered.get("os", "linux") == "linux" and offered.get("architecture", ARCHITECTURE) == ARCHITECTURE:
                return self._for_this_machine(each["digest"], depth + 1)
        raise BadImage(f"{digest}: no image for linux/{ARCHITECTURE} in it")

    def _read(self, digest: str, names: tuple[str, ...]) -> StoredImage:
        document = self.document(digest)
        try:
            described, layers = document["config"], tuple(document["layers"])
            config = self.document(described["digest"])
            size = int(described.get("size", 0)) + sum(int(layer["size"]) for layer in layers)
        except (KeyError, TypeError, ValueError):
            raise BadImage(f"{digest} is no image manifest (schema 2)") from None
        found = StoredImage(described["digest"], digest, names, size, config, layers)
        if len(layers) > LAYERS_MAX or len(found.diff_ids) != len(layers):
            raise BadImage(f"{digest}: {len(layers)} layers and {len(found.diff_ids)} diff ids; they must agree, and be at most {LAYERS_MAX}")
        return found

    def images(self) -> list[StoredImage]:
        """Images with all their names. What cannot be read is left out."""
        try:
            state = (self.folder / "index.json").stat()
        except FileNotFoundError:
            return []
        version = (state.st_ino, state.st_mtime_ns, state.st_size)
        if self._cached is None or self._cached[0] != version:
            names: dict[str, list[str]] = {}
            for entry in self._index():
                names.setdefault(entry["digest"], []).append(entry.get("annotations", {}).get(REF_NAME, ""))
            found = []
            for digest, known in names.items():
                with contextlib.suppress(BadImage):
                    found.append(self._read(digest, tuple(sorted(known))))
            self._cached = (version, found)
        return self._cached[1]

    def find(self, name: str) -> StoredImage | None:
        """By reference, by id (`sha256:...`), or by a manifest's digest. Raises InvalidReference."""
        if name.startswith("sha256:"):
            return next((each for each in self.images() if name in (each.id, each.manifest)), None)
        wanted = parse(name)
        if wanted.digest:
            return next((each for each in self.images() if each.manifest == wanted.digest or each.id == wanted.digest), None)
        return next((each for each in self.images() if str(wanted) in each.names), None)

    def remove(self, name: str) -> bool:
        """One name, or an image with all its names if its id is given. Blobs and layers that nothing needs any more go, too."""
        found = self.find(name)
        if found is None:
            return False
        gone = set(found.names) if name.startswith("sha256:") else {str(parse(name))}
        with self._locked():
            self._write_index([each for each in self._index() if each.get("annotations", {}).get(REF_NAME) not in gone])
            self._collect()
        return True

    def _collect(self) -> None:
        images = self.images()
        blobs = {digest for image in images for digest in (image.manifest, image.id, *(layer["digest"] for layer in image.layers))}
        layers = {folder_name(diff_id) for image in images for diff_id in image.diff_ids}
        for blob in (self.folder / "blobs" / "sha256").iterdir():
            if f"sha256:{blob.name}" not in blobs:
                blob.unlink(missing_ok=True)
        for layer in (self.folder / "layers").iterdir():
            if layer.name not in layers and "." not in layer.name:
                shutil.rmtree(layer, ignore_errors=True)

    # --- layers -------------------------------------------------------------------------------------------------------

    @property
    def layers_folder(self) -> Path:
        return self.folder / "layers"

    def unpacked(self, image: StoredImage) -> list[str]:
        """Names of the image's layers in `layers_folder`, lowest first, each unpacked if it was not. Raises BadImage."""
        found = []
        for layer, diff_id in zip(image.layers, image.diff_ids, strict=True):
            name = folder_name(diff_id)
            if not (self.layers_folder / name).exists():
                self._unpack(layer, diff_id, name)
            found.append(name)
        return found

    def _unpack(self, layer: dict[str, Any], diff_id: str, name: str) -> None:
        check_layer_type(layer)
        self.blob(diff_id)
        temporary = self.layers_folder / f"{name}.{secrets.token_hex(4)}"
        temporary.mkdir(mode=0o755)
        try:
            with self.blob(layer["digest"]).open("rb") as blob:
                seen = unpack.layer(blob, temporary)
            if seen != diff_id:
                raise BadImage(f"layer {layer['digest']} unpacks to {seen}, and its configuration promises {diff_id}")
            with contextlib.suppress(OSError):  # another process was first: its copy is as good
                temporary.rename(self.layers_folder / name)
        except (unpack.BadLayer, OSError) as error:
            raise BadImage(f"layer {layer['digest']}: {error}") from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def folder_name(diff_id: str) -> str:
    """Short, because the names of all layers must fit into one page of mount options."""
    return diff_id.removeprefix("sha256:")[:24]


def check_layer_type(layer: dict[str, Any]) -> None:
    kind = str(layer.get("mediaType", LAYER))
    if "zstd" in kind:
        raise BadImage(f"layer {layer.get('digest')} is compressed with zstd, which is not supported: convert the image to gzip")
    if not kind.endswith(("tar", "tar.gzip", "tar+gzip")) or "encrypted" in kind:
        raise BadImage(f"layer {layer.get('digest')} has the media type {kind!r}, which is not supported")


def same(reference: Reference, name: str) -> bool:
    return str(reference) == name
