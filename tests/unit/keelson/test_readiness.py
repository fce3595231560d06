"""The init daemon hears once that a process serves, if there is one that wants to."""

import socket
from pathlib import Path

import pytest

from keelson.cogs.readiness import notify_init_daemon


@pytest.mark.parametrize("abstract", [False, True])
def test_whoever_set_the_variable_is_told(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind("\0keelson-test-notify" if abstract else str(tmp_path / "s"))
        daemon.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@keelson-test-notify" if abstract else str(tmp_path / "s"))
        assert notify_init_daemon()
        assert daemon.recv(100) == b"READY=1"


def test_nobody_to_tell_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify_init_daemon()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nowhere"))
    assert not notify_init_daemon()
