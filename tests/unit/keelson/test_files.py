"""What files and mounts look like from outside."""

from pathlib import Path

import pytest

from keelson.cogs import files


def test_mounts_under_a_place_innermost_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mounts"
    points = ("/nodes", "/nodes/one\\040pod", "/nodes/one\\040pod/näher\\134", "/nodes2")
    table.write_text("".join(f"none {point} tmpfs rw 0 0\n" for point in points))
    monkeypatch.setattr(files, "MOUNTS", table)
    assert files.mounts(Path("/nodes")) == ["/nodes/one pod/näher\\", "/nodes/one pod", "/nodes"]
    assert files.mounts(Path("/nodes/one pod")) == ["/nodes/one pod/näher\\", "/nodes/one pod"]
    assert files.mounts(Path("/elsewhere")) == []


def test_a_signature_changes_with_the_content_and_with_the_link(tmp_path: Path) -> None:
    one, other, link = tmp_path / "one", tmp_path / "other", tmp_path / "link"
    one.write_text("1")
    other.write_text("1")
    link.symlink_to(one)
    before = files.signature([str(link), str(tmp_path / "absent")])
    assert before[1] is None and before == files.signature([str(link), str(tmp_path / "absent")])
    link.unlink()
    link.symlink_to(other)
    turned = files.signature([str(link), str(tmp_path / "absent")])
    assert turned != before
    other.write_text("22")
    assert files.signature([str(link), str(tmp_path / "absent")]) != turned
