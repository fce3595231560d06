"""Keys are private, files appear whole, and nothing is overwritten unasked."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certs import authority, files

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    pair = authority.create("test CA", NOW)
    files.write(tmp_path / "new" / "folder", "ca", pair)
    again = files.read(tmp_path / "new" / "folder", "ca")
    assert (again.certificate_pem(), again.key_pem()) == (pair.certificate_pem(), pair.key_pem())


def test_a_key_is_for_its_owner_only_and_nothing_else_is_left_behind(tmp_path: Path) -> None:
    files.write(tmp_path, "ca", authority.create("test CA", NOW))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"ca.key": 0o600, "ca.crt": 0o644}


@pytest.mark.parametrize("survivor", ["ca.crt", "ca.key"])
def test_nothing_is_overwritten_unasked(tmp_path: Path, survivor: str) -> None:
    (tmp_path / survivor).write_text("precious")
    pair = authority.create("test CA", NOW)
    with pytest.raises(FileExistsError, match=survivor):
        files.write(tmp_path, "ca", pair)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {survivor: "precious"}
    files.write(tmp_path, "ca", pair, overwrite=True)
    assert files.read(tmp_path, "ca").certificate == pair.certificate


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ca.key"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(path, b"new", files.PRIVATE)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"ca.key": "old"}


def test_files_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    files.write(tmp_path, "one", authority.create("one", NOW))
    files.write(tmp_path, "two", authority.create("two", NOW))
    (tmp_path / "one.key").write_bytes((tmp_path / "two.key").read_bytes())
    with pytest.raises(files.Unusable, match=r"one\.key is not the key of .*one\.crt"):
        files.read(tmp_path, "one")


@pytest.mark.parametrize("damaged", ["ca.crt", "ca.key"])
def test_garbage_is_told_with_its_file(tmp_path: Path, damaged: str) -> None:
    files.write(tmp_path, "ca", authority.create("test CA", NOW))
    (tmp_path / damaged).write_text("garbage")
    with pytest.raises(files.Unusable, match=damaged):
        files.read(tmp_path, "ca")
