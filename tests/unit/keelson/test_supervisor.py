"""What the supervisor itself survives: it watches over everything, and nobody over it."""

import subprocess
from pathlib import Path

import pytest

from keelson.launcher import processes
from keelson.launcher.cluster import Cluster, ClusterSpec, MemberSpec
from keelson.launcher.supervise import Phase
from keelson.launcher.supervisor import Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    (tmp_path / "run").mkdir()
    return Supervisor(Cluster(tmp_path, ClusterSpec((MemberSpec("m1", 1, 2),), insecure=True)))


@pytest.mark.parametrize("error", [FileNotFoundError("no such program"), subprocess.SubprocessError("Exception occurred in preexec_fn.")])
def test_a_program_that_cannot_be_started_is_tried_again(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def spawn(name: str) -> None:
        raise error

    monkeypatch.setattr(supervisor, "_spawn", spawn)
    (start,) = supervisor.supervision.decide(0.0)
    supervisor._perform(start)
    assert supervisor.supervision.members["m1"].phase is Phase.WAITING
    record = processes.read_record(supervisor.cluster.folder, "m1")
    assert record is not None and record.last_end == str(error)


def test_a_full_disk_does_not_end_it(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def spawn(name: str) -> None:
        raise FileNotFoundError("no such program")

    monkeypatch.setattr(processes, "write_record", full)
    monkeypatch.setattr(supervisor, "_spawn", spawn)
    (start,) = supervisor.supervision.decide(0.0)
    supervisor._perform(start)
    assert supervisor.supervision.members["m1"].phase is Phase.WAITING
