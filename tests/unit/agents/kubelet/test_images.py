"""References, layers that want to escape, archives, and the store."""

import gzip
import io
import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from agents.kubelet.oci import build, load, reference, unpack
from agents.kubelet.oci.build import File
from agents.kubelet.oci.store import BadImage, Store
from agents.kubelet.runtime import capabilities
from agents.kubelet.runtime.addresses import Addresses, RangeExhausted

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="owners and device nodes need root")


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("keelson/web:2", "docker.io/keelson/web:2"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
        (f"a@sha256:{'0' * 64}", f"docker.io/library/a@sha256:{'0' * 64}"),
    ],
)
def test_references(text: str, whole: str) -> None:
    assert str(reference.parse(text)) == whole


@pytest.mark.parametrize("text", ["", "UPPER", "a:", "a b", "a/../b", "a@sha256:12", "-a", "a//b", "x" * 300])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(reference.InvalidReference, match=r"couldn't parse image name .*: invalid reference format"):
        reference.parse(text)


def tar(*entries: tuple[str, bytes, str, str]) -> io.BytesIO:
    """Entries of name, type, content, link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, content, link in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode, info.size = kind, link, 0o755, len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    buffer.seek(0)
    return buffer


@ROOT
def test_links_in_a_layer_lead_nowhere_outside(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    for target in ("../outside", str(outside)):
        with pytest.raises(unpack.BadLayer, match="leads nowhere"):
            unpack.layer(tar(("up", tarfile.SYMTYPE, "", target), ("up/planted", tarfile.REGTYPE, "x", "")), inside)
    unpack.layer(tar(("file", tarfile.SYMTYPE, "", str(outside / "file")), ("file", tarfile.REGTYPE, "replaced", "")), inside)
    assert list(outside.iterdir()) == []
    assert (inside / "file").read_text() == "replaced"


@ROOT
@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(unpack.BadLayer, match="leads out"):
        unpack.layer(tar((name, tarfile.REGTYPE, "x", "")), tmp_path)


@ROOT
@pytest.mark.parametrize("name", [".wh...", ".wh..", ".wh.", "a/.wh..."])
def test_whiteouts_of_what_is_above_are_refused(tmp_path: Path, name: str) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    (tmp_path / "neighbour").write_text("stays")
    with pytest.raises(unpack.BadLayer, match="leads out"):
        unpack.layer(tar((name, tarfile.REGTYPE, "", "")), layer)
    assert (tmp_path / "neighbour").read_text() == "stays"


@ROOT
def test_whiteouts(tmp_path: Path) -> None:
    unpack.layer(tar(("a/.wh.gone", tarfile.REGTYPE, "", ""), ("b/.wh..wh..opq", tarfile.REGTYPE, "", "")), tmp_path)
    gone = (tmp_path / "a" / "gone").lstat()
    assert stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0
    assert os.getxattr(tmp_path / "b", "trusted.overlay.opaque") == b"y"


@pytest.mark.parametrize(
    "content", [b"\x28\xb5\x2f\xfd rest", b"no tar" * 200, gzip.compress(b"x" * 1000, mtime=0)[:20]], ids=["zstd", "text", "cut"]
)
def test_what_is_no_layer(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(unpack.BadLayer):
        unpack.layer(io.BytesIO(content), tmp_path)


def a_store(folder: Path) -> Store:
    store = Store(folder)
    layers = [build.layer(store, {"bin/tool": File(0o755, content=b"one")}), build.layer(store, {"etc/file": File(content=b"two")})]
    build.image(store, "keelson/thing:1", layers, {"Cmd": ["/bin/tool"]})
    return store


def test_images_are_found_by_every_name(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    image = store.find("docker.io/keelson/thing:1")
    assert image is not None
    store.tag("other:2", image.manifest)
    found = store.find(image.id)
    assert found is not None and found.names == ("docker.io/keelson/thing:1", "docker.io/library/other:2")
    assert store.find("keelson/thing:2") is None
    assert store.remove("other:2") and store.find("keelson/thing:1") is not None
    assert store.remove(image.id) and store.images() == [] and not list((tmp_path / "blobs/sha256").iterdir())


def test_the_same_files_give_the_same_image(tmp_path: Path) -> None:
    assert [each.id for each in a_store(tmp_path / "a").images()] == [each.id for each in a_store(tmp_path / "b").images()]


@ROOT
def test_a_layout_is_loaded_and_unpacked(tmp_path: Path) -> None:
    a_store(tmp_path / "a")
    with tarfile.open(tmp_path / "archive.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a", ".", filter=lambda info: None if info.name in ("./lock", "./tmp") else info)
    store = Store(tmp_path / "b")
    assert load.load(store, tmp_path / "archive.tar.gz") == ["docker.io/keelson/thing:1"]
    image = store.find("keelson/thing:1")
    assert image is not None
    lowest, upper = store.unpacked(image)
    assert (store.layers_folder / lowest / "bin/tool").read_text() == "one"
    assert (store.layers_folder / upper / "etc/file").read_text() == "two"


def test_a_docker_archive_is_loaded(tmp_path: Path) -> None:
    config = json.dumps({"config": {}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}}).encode()
    with tarfile.open(tmp_path / "saved.tar", "w") as archive:
        manifest = json.dumps([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l/layer.tar"]}]).encode()
        for name, content in (("manifest.json", manifest), ("c.json", config), ("l/layer.tar", tar().getvalue())):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    store = Store(tmp_path / "store")
    assert load.load(store, tmp_path / "saved.tar") == ["app:1"]
    image = store.find("app:1")
    assert image is not None
    with pytest.raises(BadImage, match="promises"):
        store.unpacked(image)


def test_a_blob_that_is_not_what_it_says_is_refused(tmp_path: Path) -> None:
    a_store(tmp_path / "a")
    blob = max((tmp_path / "a/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"something else")
    with pytest.raises(BadImage, match="was promised"):
        load.load(Store(tmp_path / "b"), tmp_path / "a")


def test_zstd_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "image.tar.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd")
    with pytest.raises(BadImage, match="zstd"):
        load.load(Store(tmp_path / "store"), path)


def test_what_is_no_archive_is_said_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# Not an image\n" * 100)
    with pytest.raises(BadImage) as refused:
        load.load(Store(tmp_path / "store"), path)
    assert str(refused.value) == f"{path} is no image archive: neither tar nor gzip, or cut short"


def test_addresses_are_given_in_turn_and_kept(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path, "10.0.0.0/29")
    given = [addresses.allocate(f"s{each}") for each in range(5)]
    assert given == [f"10.0.0.{each}" for each in range(2, 7)] and addresses.gateway == "10.0.0.1"
    with pytest.raises(RangeExhausted, match="no IP addresses available"):
        addresses.allocate("more")
    addresses.release("s1")
    addresses.release("s0")
    again = Addresses(tmp_path, "10.0.0.0/29")
    assert again.allocate("new") == "10.0.0.2"
    again.keep_only(["new"])
    assert again.held() == {"10.0.0.2": "new"}
    assert again.allocate("next") == "10.0.0.3"


def test_capabilities() -> None:
    def names(*arguments: tuple[str, ...]) -> set[str]:
        return {capabilities.NAMES[number] for number in capabilities.effective(*arguments, own=range(41))}

    assert names((), ()) == capabilities.DEFAULT
    assert names(("NET_ADMIN",), ("ALL",)) == {"NET_ADMIN"}
    assert names(("CAP_SYS_TIME",), ("KILL",)) == capabilities.DEFAULT - {"KILL"} | {"SYS_TIME"}
    assert names(("ALL",), ("SYS_ADMIN",)) == set(capabilities.NAMES) - {"SYS_ADMIN"}
    assert names(("ALL", "KILL"), ("ALL",)) == {"KILL"}
    assert names(("KILL", "CHOWN"), ("ALL", "KILL")) == {"CHOWN"}
    assert capabilities.effective((), ("ALL",), privileged=True, own=(0, 5, 63)) == [0, 5], "a privileged container has what its node has"
    with pytest.raises(ValueError, match="unknown capability NONE"):
        capabilities.effective(("NONE",), ())
