"""`keelson certs` by hand."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from certs import authority, files
from keelson.launcher.main import main
from keelson.launcher.options import Duration


def keelson(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_an_authority_and_one_certificate_of_each_use(tmp_path: Path) -> None:
    for words in (["ca"], ["server", "m1", "--host", "10.0.0.1"], ["peer", "m1"], ["client", "alice", "--days", "10"]):
        result = keelson("certs", *words, "--dir", tmp_path)
        assert result.exit_code == 0, result.output
    shown = json.loads(keelson("certs", "show", "--dir", tmp_path, "-o", "json").output)
    assert [(Path(each["file"]).name, each["name"], each["uses"], each["hosts"]) for each in shown] == [
        ("ca.crt", "keelson", ["authority"], []),
        ("client-alice.crt", "alice", ["client"], []),
        ("peer-m1.crt", "m1", ["server", "client"], ["localhost", "127.0.0.1", "::1"]),
        ("server-m1.crt", "m1", ["server", "client"], ["10.0.0.1"]),
    ]
    table = keelson("certs", "show", tmp_path / "client-alice.crt").output.split("\n")
    assert table[0].split()[:2] == ["FILE", "NAME"]
    assert table[1].split()[-1] == "9"


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    assert keelson("certs", "ca", "--dir", tmp_path).exit_code == 0
    before = files.read(tmp_path, "ca").certificate
    again = keelson("certs", "ca", "--dir", tmp_path)
    assert again.exit_code == 1
    assert "exists already; --force overwrites it" in again.output
    assert files.read(tmp_path, "ca").certificate == before
    assert keelson("certs", "ca", "--dir", tmp_path, "--force").exit_code == 0
    assert files.read(tmp_path, "ca").certificate != before


def test_an_ended_certificate_fails_the_look(tmp_path: Path) -> None:
    files.write(tmp_path, "old", authority.create("old", datetime.now(UTC) - timedelta(days=20), days=10))
    result = keelson("certs", "show", "--dir", tmp_path)
    assert result.exit_code == 1
    assert "ended" in result.output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["certs", "client", "alice"], "ca.crt is missing: `keelson certs ca` makes an authority"),
        (["certs", "show"], "there are no certificates in"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, words: list[str], complaint: str) -> None:
    result = keelson(*words, "--dir", tmp_path)
    assert result.exit_code == 1
    assert complaint in result.output
    assert len(result.output.strip().split("\n")) == 1


def test_bad_requests_are_one_line(tmp_path: Path) -> None:
    keelson("certs", "ca", "--dir", tmp_path)
    for words, complaint in (
        (["client", "a/b"], "file name"),
        (["server", "m1", "--host", "a b"], "neither an IP address"),
        (["client", "x" * 65], "64"),
    ):
        result = keelson("certs", *words, "--dir", tmp_path)
        assert result.exit_code == 1
        assert complaint in result.output


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("500ms", 0.5), ("1.5m", 90), ("7", 7), ("1h", 3600)])
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "3q", "-1s", "0", "nan", "infs"])
def test_no_durations(text: str, tmp_path: Path) -> None:
    result = keelson("up", "--data-dir", tmp_path, "--wait", text)
    assert result.exit_code == 2
    assert "duration" in result.output


def test_commands_without_a_cluster_say_what_to_do(tmp_path: Path) -> None:
    for command in ("status", "env"):
        result = keelson(command, "--data-dir", tmp_path)
        assert (result.exit_code, "`keelson up` makes one" in result.output) == (1, True)
    result = keelson("down", "--data-dir", tmp_path)
    assert (result.exit_code, result.output) == (0, f"nothing is running in {tmp_path}\n")


def test_renewed_and_revoked(tmp_path: Path) -> None:
    for words in (["ca"], ["server", "m1"], ["client", "alice"]):
        assert keelson("certs", *words, "--dir", tmp_path).exit_code == 0

    def serials() -> dict[str, tuple[str, bool]]:
        shown = json.loads(keelson("certs", "show", "--dir", tmp_path, "-o", "json").output)
        return {each["name"]: (each["serial"], each["revoked"]) for each in shown}

    first = serials()
    assert keelson("certs", "renew", "client-alice", "--dir", tmp_path).exit_code == 0
    second = serials()
    assert second["alice"] != first["alice"] and second["m1"] == first["m1"]
    done = keelson("certs", "revoke", "client-alice", "--serial", first["alice"][0], "--dir", tmp_path)
    assert done.exit_code == 0 and "2 certificates are revoked" in done.output
    assert serials()["alice"] == (second["alice"][0], True)
    assert "revoked" in keelson("certs", "show", "--dir", tmp_path).output
    assert keelson("certs", "revoke", "--dir", tmp_path).exit_code == 1
    assert "no serial number" in keelson("certs", "revoke", "--serial", "xyz", "--dir", tmp_path).output


def test_rotated_step_by_step(tmp_path: Path) -> None:
    for words in (["ca"], ["client", "alice"]):
        assert keelson("certs", *words, "--dir", tmp_path).exit_code == 0
    assert "the next step is trust, not finish" in keelson("certs", "rotate", "--step", "finish", "--dir", tmp_path).output
    for step in ("trust", "issue", "finish"):
        done = keelson("certs", "rotate", "--step", step, "--dir", tmp_path)
        assert done.exit_code == 0, done.output
        assert done.output.startswith(f"{step}: wrote")
    assert len(files.read_certificates(tmp_path / "ca.crt")) == 1
    assert "belongs to no cluster" in keelson("certs", "rotate", "--drill", "--dir", tmp_path).output
