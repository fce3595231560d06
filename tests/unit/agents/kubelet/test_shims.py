"""What passes between the kubelet and a shim, and the small things that a shim does by itself."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agents.kubelet.runtime import shims
from agents.kubelet.shim import cgroups, log
from agents.kubelet.shim.log import LogFile


def test_a_descriptor_that_comes_is_not_passed_on_to_the_next_shim(tmp_path: Path) -> None:
    """Shims are spawned without closing what is open: one would hold another pod's terminal for as long as it lives."""

    async def body() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(tmp_path / "shim.sock"))
            listener.listen(1)
            connection = shims.Connection(tmp_path)
            theirs, _ = listener.accept()
            with theirs:
                socket.send_fds(theirs, [b"{}"], [listener.fileno()])
                _, fds = await connection.receive()
            connection.close()
            assert [os.get_inheritable(fd) for fd in fds] == [False]
            for fd in fds:
                os.close(fd)

    asyncio.run(body())


def test_a_log_that_cannot_be_opened_anew_goes_on_where_it_was(tmp_path: Path) -> None:
    """A number that was closed is soon another file's: what a container says would be written into it."""
    folder = tmp_path / "logs"
    folder.mkdir()
    writer = LogFile(str(folder / "0.log"))
    folder.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        writer.reopen()
    with (tmp_path / "stranger").open("wb"):
        writer.write("stdout", b"for the log alone\n")
    assert (tmp_path / "stranger").read_bytes() == b""
    assert b"for the log alone" in (tmp_path / "moved" / "0.log").read_bytes()
    writer.close()


def test_a_log_that_somebody_moved_away_and_forgot_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubelet that is killed between its two steps: the file has no name that anybody reads, and nothing bounds it."""
    monkeypatch.setattr(log, "SIZE_BYTES_MAX", 100)
    writer = LogFile(str(tmp_path / "0.log"))
    (tmp_path / "0.log").rename(tmp_path / "0.log.20261121-140000")
    writer.write("stdout", b"x" * 100 + b"\n")
    writer.write("stdout", b"next\n")
    writer.close()
    assert b"next" in (tmp_path / "0.log").read_bytes()


def test_one_that_has_ended_meanwhile_saves_nobody(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone, subprocess.Popen(["sleep", "60"]) as left:
        gone.wait()
        (tmp_path / "cgroup.procs").write_text(f"{gone.pid}\n{left.pid}\n")
        cgroups.kill_all([str(tmp_path)])
        try:
            assert left.wait(20) == -9
        finally:
            left.kill()


LATE = """
import json, os, select, socket, subprocess, sys
from agents.kubelet.shim.container import Container
from agents.kubelet.shim.main import Shim

folder = sys.argv[1]
shim = Shim(folder, {})
shim.listen()
os.mkdir(f"{folder}/one")
shim.containers["one"] = one = Container(f"{folder}/one", {"log_path": f"{folder}/one.log", "cgroups": [], "shared_pids": False})
process = subprocess.Popen(["echo", "said"], stdout=subprocess.PIPE)
one.pid = process.pid
one.outputs[process.stdout.fileno()] = "stdout"
shim.watch(process.stdout.fileno(), select.POLLIN | select.POLLHUP)
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
    asking.connect(f"{folder}/shim.sock")
    asking.send(json.dumps({"do": "stop"}).encode())
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    shim.serve()
    print(asking.recv(100).decode(), one.pid, one.outputs)
"""


def test_the_end_of_a_container_and_of_its_streams_at_once(tmp_path: Path) -> None:
    """On a busy machine the shim comes late and finds both: what it was told of a stream that it has closed meanwhile counts no more."""
    run = subprocess.run([sys.executable, "-c", LATE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (run.stdout, run.returncode) == ("{} 0 {}\n", 0), run.stderr
    assert json.loads((tmp_path / "one" / "exit.json").read_text())["code"] == 0
    assert (tmp_path / "one.log").read_text().endswith("stdout F said\n")
