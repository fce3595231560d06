"""snapshot save, status and restore: whoever saves, what is saved is the same; wrong words are answered as etcdctl answers them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvstore.wire import messages as pb
from tests.clients.conftest import Pair
from tests.support import kinds
from tests.support.calls import Wire

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

KVCTL = str(Path(sys.executable).with_name("kvctl"))

WRONG = [
    "--endpoints=ENDPOINT snapshot save",
    "--endpoints=127.0.0.1:1,127.0.0.1:2 snapshot save x.db",
    "--endpoints=ENDPOINT snapshot save nowhere/x.db",
    "snapshot status",
    "snapshot status a b",
    "snapshot status nofile",
    "snapshot status SAVED -w protobuf",
    "snapshot restore",
    "snapshot restore nofile",
    "snapshot restore SAVED --name=other",
    "snapshot restore SAVED --data-dir=full",
    "snapshot restore CUT",
    "snapshot restore SAVED --no-such-flag",
]


def program(name: str) -> str:
    if name == "kvctl":
        return KVCTL
    found = kinds.distro_program("etcdctl") if name == "etcdctl" else kinds.system_program("etcdctl", "3.4", "version")
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def run(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD")} | {"ETCDCTL_API": "3"}
    command = [program(name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=folder, env=environment)


@pytest.mark.parametrize("name", ["etcdctl", "etcdctl 3.4", "kvctl"])
def test_whoever_saves_it_is_the_members_state(clear_pair: Pair, tmp_path: Path, name: str) -> None:
    member = clear_pair[1][0]
    if member.kind.name != kinds.KEELSON:
        pytest.skip("the tools for files are Keelson's own")
    wire = Wire(member.endpoint)
    wire.ask(pb.PutRequest(key=b"saved", value=b"x" * 1000))
    done = run(name, tmp_path, f"--endpoints={member.endpoint}", "snapshot", "save", "s.db")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "Snapshot saved at s.db"), done.stderr
    assert (tmp_path / "s.db").stat().st_mode & 0o777 == 0o600
    answer = wire.ask(pb.HashKVRequest())
    wire.close()
    told = run("kvctl", tmp_path, "hashkv", "s.db")
    assert told.stdout == f"{answer.hash}, {answer.hash_revision}, {answer.compact_revision}\n", told.stderr  # type: ignore[attr-defined]


@pytest.mark.parametrize("line", WRONG)
def test_wrong_words_end_alike(clear_pair: Pair, tmp_path: Path, line: str) -> None:
    """The same exit status, the same error, and nothing left behind."""
    etcd = clear_pair[0][0]
    run("etcdctl", tmp_path, f"--endpoints={etcd.endpoint}", "snapshot", "save", "s.db")
    (tmp_path / "cut.db").write_bytes((tmp_path / "s.db").read_bytes()[:-1000])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    words = line.replace("ENDPOINT", etcd.endpoint).replace("SAVED", "s.db").replace("CUT", "cut.db").split()
    outcomes = []
    for name in ("etcdctl", "kvctl"):
        before = sorted(tmp_path.rglob("*"))
        done = run(name, tmp_path, *words)
        errors = [text for text in done.stderr.splitlines() if text.startswith("Error:")]
        outcomes.append((done.returncode, errors[:1]))
        if name == "kvctl":
            assert sorted(tmp_path.rglob("*")) == before
    assert outcomes[1][0] == outcomes[0][0] != 0
    # etcdctl adds how it resolved the names in the URLs.
    assert outcomes[1][1][0].split(" (")[0] == outcomes[0][1][0].split(" (")[0]
