"""An image out of the store as an OCI archive, for runtimes that have a store of their own (`ctr -n k8s.io images import`)."""

import io
import json
import tarfile
from pathlib import Path

from agents.kubelet.oci.load import CONTAINERD_NAME
from agents.kubelet.oci.reference import parse
from agents.kubelet.oci.store import INDEX, MANIFEST, REF_NAME, BadImage, Store


def save(store: Store, name: str, path: Path) -> None:
    """Raises BadImage if there is no such image."""
    found = store.find(name)
    if found is None:
        raise BadImage(f"{name}: no such image")
    whole = parse(name)
    annotations = {CONTAINERD_NAME: str(whole), REF_NAME: whole.tag}
    entry = {"mediaType": MANIFEST, "digest": found.manifest, "size": store.blob(found.manifest).stat().st_size, "annotations": annotations}
    with tarfile.open(path, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode())
        for digest in dict.fromkeys((found.manifest, found.id, *(layer["digest"] for layer in found.layers))):
            tar.add(store.blob(digest), f"blobs/{digest.replace(':', '/')}", recursive=False)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
