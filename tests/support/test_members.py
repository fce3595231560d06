"""The harness itself: what it starts stops, also when the starter is killed, and a broken start tells why."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import tls
from tests.support.kinds import ETCD, Kind, find
from tests.support.members import Cluster, Member, NotReady
from tests.support.ports import free_ports

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_cluster_with_certificates_starts_breaks_and_stops(tmp_path: Path) -> None:
    with Cluster(find(ETCD), tmp_path, size=3, tls=tls.make(tmp_path / "pki")) as cluster:
        leader = cluster.leader()
        leader.kill()
        assert not leader.alive()
        assert cluster.leader() is not leader
        leader.restart()
        cluster.wait_healthy()
        pids = [member.process.pid for member in cluster if member.process is not None]
        cluster[0].pause()
    assert all(gone(pid) for pid in pids)


def test_a_server_that_cannot_start_tells_its_log(tmp_path: Path) -> None:
    member = Member(find(ETCD), "m1", tmp_path, flags=["--no-such-flag"])
    member.start()
    with pytest.raises(NotReady, match="no-such-flag"):
        member.wait_ready()
    member.stop()


def test_processes_die_with_a_killed_starter(tmp_path: Path) -> None:
    program = f"""
import sys, time
from pathlib import Path
from tests.support.kinds import Kind
from tests.support.members import Member
member = Member(Kind("sleeper", ({sys.executable!r}, "-c", "import time; time.sleep(60)")), "m1", Path({str(tmp_path)!r}))
member.start()
print(member.process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert not gone(pid)
        starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not gone(pid):
        assert time.monotonic() < deadline, "the server outlived its starter"
        time.sleep(0.01)


def test_ports_are_never_given_twice() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50


def test_a_kind_is_a_command_with_flags(tmp_path: Path) -> None:
    member = Member(Kind("x", ("x-server",), ("--own",)), "m1", tmp_path, flags=["--last"])
    assert member.command()[0] == "x-server"
    assert member.command()[-2:] == ["--own", "--last"]
    assert os.fspath(member.data) in member.command()[2]
