"""A process is told from another that got its number later, and only it is ever signalled."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelson.launcher import ports, processes
from keelson.launcher.processes import Identity, Record


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    program = "import time; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program, f"--mark={os.getpid()}"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it runs: a process that is being born has no command line yet
        yield process
        process.kill()


def identity_of(process: subprocess.Popen[bytes]) -> Identity:
    identity = processes.identify(process.pid)
    assert identity is not None
    return identity


def test_a_process_is_itself_until_it_ends(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper)
    assert processes.alive(identity)
    assert 0 <= processes.running_for_s(identity) < 60
    sleeper.kill()
    assert processes.wait_gone([identity], 10) == []  # a zombie is gone, although nobody has waited for it
    assert not processes.alive(identity)
    sleeper.wait()
    assert processes.identify(sleeper.pid) is None


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot": "another boot"}])
def test_the_same_number_at_another_time_is_a_stranger_and_gets_no_signal(sleeper: subprocess.Popen[bytes], change: dict) -> None:
    identity = identity_of(sleeper)
    stale = Identity(**{"pid": identity.pid, "start_ticks": identity.start_ticks, "boot": identity.boot, **change})
    assert not processes.alive(stale)
    assert not processes.send(stale, signal.SIGKILL)
    assert sleeper.poll() is None


def test_a_paused_process_hears_that_it_shall_stop(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper)
    assert processes.send(identity, signal.SIGSTOP)
    assert processes.ask_to_stop(identity)
    assert sleeper.wait(10) == -signal.SIGTERM
    assert not processes.ask_to_stop(identity)


def test_who_does_not_end_in_time_is_told(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identity_of(sleeper)
    assert processes.wait_gone([identity], 0) == [identity]


def test_a_process_is_found_by_an_argument_that_only_it_has(sleeper: subprocess.Popen[bytes]) -> None:
    assert processes.with_arguments(f"--mark={os.getpid()}") == [identity_of(sleeper)]
    assert processes.with_arguments(f"--mark={os.getpid()}0") == []


def test_records(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    (tmp_path / "run").mkdir()
    assert processes.read_record(tmp_path, "m1") is None
    record = Record(identity_of(sleeper), 2, "killed by SIGKILL")
    processes.write_record(tmp_path, "m1", record)
    assert processes.read_record(tmp_path, "m1") == record
    assert processes.running(tmp_path, "m1") == record.identity
    processes.write_record(tmp_path, "m1", Record(None, 3))
    assert processes.running(tmp_path, "m1") is None
    processes.record_path(tmp_path, "m1").write_text("{")
    assert processes.read_record(tmp_path, "m1") is None
    assert processes.find(tmp_path, "m1", f"--mark={os.getpid()}") == record.identity
    processes.remove_record(tmp_path, "m1")
    processes.remove_record(tmp_path, "m1")


@pytest.mark.parametrize(
    ("status", "words"), [(None, "ended"), (-9, "killed by SIGKILL"), (-63, "killed by signal 63"), (1, "exit status 1"), (0, "exit status 0")]
)
def test_ends_in_words(status: int | None, words: str) -> None:
    assert processes.how_ended(status) == words


def test_a_port_in_use_has_a_holder() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.listen()
        assert not ports.is_free(port)
        holder = ports.holder(port)
        assert holder is not None
        assert holder.endswith(f"(process {os.getpid()})")
    assert ports.is_free(port)
    assert ports.holder(port) is None
