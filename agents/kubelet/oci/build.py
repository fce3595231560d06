"""Images made by a program: files into layers, layers into an image. The same files give the same digests, whenever and wherever."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from agents.kubelet.oci.store import ARCHITECTURE, CONFIG, LAYER, MANIFEST, Store


class File(Struct, frozen=True):
    """One entry of a layer: content, or a file of this machine, or a link, or (none of them) a folder."""

    mode: int = 0o644
    content: bytes | None = None
    source: Path | None = None
    link: str = ""


def layer(store: Store, files: Mapping[str, File]) -> dict[str, Any]:
    """A layer of these files by their path; folders above them are made. Its descriptor; the digest is the diff id, too, as it is not compressed."""
    entries = dict(files)
    for path in files:
        for folder in list(Path(path).parents)[:-1]:
            entries.setdefault(str(folder), File(0o755))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(entries):
            _add(tar, path.lstrip("/"), entries[path])
    buffer.seek(0)
    digest, size = store.add_blob(buffer)
    return {"mediaType": LAYER, "digest": digest, "size": size}


def _add(tar: tarfile.TarFile, name: str, file: File) -> None:
    info = tarfile.TarInfo(name)
    info.mode = file.mode
    if file.link:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, file.link, 0o777
        tar.addfile(info)
        return
    content = file.source.read_bytes() if file.source is not None else file.content
    if content is None:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
        return
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def image(store: Store, name: str, layers: Sequence[dict[str, Any]], config: dict[str, Any]) -> str:
    """Put an image of these layers into the store under `name`; its id."""
    described = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [each["digest"] for each in layers]},
        "history": [{"created_by": "keelson image build"} for _ in layers],
    }
    config_digest, config_size = store.add_document(described)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config_digest, "size": config_size},
        "layers": list(layers),
    }
    digest, _ = store.add_document(manifest)
    store.tag(name, digest)
    return config_digest
