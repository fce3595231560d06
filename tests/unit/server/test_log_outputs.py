"""Several outputs, and a file that is put aside when it is full."""

import gzip
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelson.cogs import logs
from kvstore.server.log_outputs import RotatedFile, Rotation, open_access_log, open_output

LOG = logging.getLogger("tests.outputs")


@pytest.fixture(autouse=True)
def root(tmp_path: Path) -> Iterator[None]:
    """The loggers are as before afterwards, and what was opened is closed, before its folder goes."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    access = logging.getLogger("kvstore.access")
    for opened in [*logger.handlers, *access.handlers]:
        if opened not in handlers:
            if isinstance(opened, logging.StreamHandler) and Path(str(getattr(opened.stream, "name", ""))).is_file():
                opened.stream.close()
            opened.close()
    access.handlers.clear()
    access.propagate = True
    logging.captureWarnings(False)
    logger.handlers[:], logger.level = handlers, level


def test_each_output_gets_every_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = ["stdout", str(tmp_path / "a.log"), str(tmp_path / "b.log")]
    logs.configure(handlers=[open_output(output, "json", None) for output in outputs])
    LOG.info("hello")
    for text in (capsys.readouterr().out, (tmp_path / "a.log").read_text(), (tmp_path / "b.log").read_text()):
        assert json.loads(text)["msg"] == "hello"


def rotated(path: Path, **values: object) -> RotatedFile:
    handler = open_output(str(path), "json", Rotation(**values))
    assert isinstance(handler, RotatedFile)
    logs.configure(handlers=[handler])
    return handler


def test_a_full_file_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rotation, "bytes_max", 500)
    rotated(tmp_path / "m.log")
    for number in range(20):
        LOG.info("line %d", number)
    files = sorted(tmp_path.iterdir())
    assert len(files) > 2
    assert all(file.stat().st_size <= 500 for file in files)
    assert sum(len(file.read_text().splitlines()) for file in files) == 20, "no line is lost"


def test_only_so_many_are_kept_and_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rotation, "bytes_max", 150)
    old = tmp_path / "m-2001-01-01T00-00-00.000.log"
    old.write_text("old\n")
    os.utime(old, (1e9, 1e9))
    rotated(tmp_path / "m.log", maxbackups=2, maxage=1, compress=True)
    for number in range(6):
        LOG.info("line %d", number)
    backups = sorted(path for path in tmp_path.iterdir() if path.name != "m.log")
    assert len(backups) == 2
    assert all(path.name.endswith(".log.gz") for path in backups)
    assert json.loads(gzip.decompress(backups[-1].read_bytes()).splitlines()[0])["msg"].startswith("line")


def test_the_access_log_has_a_file_of_its_own(tmp_path: Path) -> None:
    logs.configure(handlers=[open_output(str(tmp_path / "main.log"), "json", None)])
    open_access_log(str(tmp_path / "access.log"))
    logging.getLogger("kvstore.access").info("access", extra=logs.fields(method="/x"))
    assert json.loads((tmp_path / "access.log").read_text())["method"] == "/x"
    assert not (tmp_path / "main.log").read_text()
