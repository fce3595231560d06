"""kubectl of every minor version in use against the streams of pods: exec, cp, attach, logs and port-forward, over WebSockets and over SPDY."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kubectl import MINORS, NEWEST, Tool, program
from tests.support.kubelet import FakeKubelet
from tests.support.ports import free_port
from tests.support.streams_server import kubeconfig, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server in front of a fake kubelet, in a thread of its own."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    address = []

    async def serve() -> None:
        async with FakeKubelet().running() as kubelet, serving(kubelet) as url:
            address.append(url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield address[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


WAYS = [*((minor, True) for minor in MINORS), (NEWEST, False)]
"""Minor versions, and whether by WebSockets: what the newest falls back to is what those up to 1.29 begin with."""


@pytest.fixture(scope="module", params=WAYS, ids=lambda each: f"1.{each[0]}-{'sockets' if each[1] else 'spdy'}")
def kubectl(request: pytest.FixtureRequest, server: str, tmp_path_factory: pytest.TempPathFactory) -> Tool:
    minor, sockets = request.param
    folder = tmp_path_factory.mktemp("home")
    tool = Tool(program("kubectl", minor), kubeconfig(folder, server), folder)
    for name in ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS"):
        tool.environment[name] = str(sockets).lower()
    return tool


def test_exec_has_both_outputs_and_the_exit_code(kubectl: Tool) -> None:
    done = kubectl.run("exec", "p", "-c", "main", "--", "sh", "-c", "echo out; echo err >&2; exit 3", timeout_s=15)
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert done.stderr == "err\ncommand terminated with exit code 3\n"


def test_the_input_of_exec_ends(kubectl: Tool) -> None:
    assert kubectl("exec", "-i", "p", "-c", "main", "--", "wc", "-c", given="x" * 300_000, timeout_s=15).strip() == "300000"


def test_a_refusal_of_the_kubelet_is_shown(kubectl: Tool) -> None:
    done = kubectl.run("exec", "p", "-c", "gone", "--", "true", timeout_s=15)
    assert done.returncode == 1
    assert 'unable to upgrade connection: container not found ("gone")' in done.stderr


def test_files_are_copied_both_ways(kubectl: Tool, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    content = bytes(range(256)) * 2000
    (tmp_path / "a").write_bytes(content)
    kubectl("cp", "-c", "main", str(tmp_path / "a"), f"p:{tmp_path}/there/b", timeout_s=15)
    kubectl("cp", "-c", "main", f"p:{tmp_path}/there/b", str(tmp_path / "c"), timeout_s=15)
    assert (tmp_path / "c").read_bytes() == content


def test_attach_reads_and_writes(kubectl: Tool) -> None:
    attached = kubectl.start("attach", "-q", "-i", "p", "-c", "main")
    try:
        assert attached.stdout is not None and attached.stdin is not None
        assert attached.stdout.readline() == "hello\n"
        attached.stdin.write("shout\n")
        attached.stdin.flush()
        assert attached.stdout.readline() == "SHOUT\n"
        assert attached.communicate(timeout=10)[0] == ""
        assert attached.returncode == 0
    finally:
        attached.kill()


def test_logs_are_followed_to_their_end(kubectl: Tool) -> None:
    assert kubectl("logs", "-f", "p", "-c", "main", timeout_s=15) == "one\ntwo\n"
    assert "previous terminated container" in kubectl.run("logs", "--previous", "p", "-c", "main", timeout_s=15).stderr


def test_ports_are_forwarded(kubectl: Tool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_answer, args=(listening, 3))
        thread.start()
        local = free_port()
        forwarding = kubectl.start("port-forward", "p", f"{local}:{listening.getsockname()[1]}")
        try:
            assert forwarding.stdout is not None
            assert "Forwarding from" in forwarding.stdout.readline()
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", local), timeout=10) as connection:
                    connection.sendall(b"x" * 100_000)
                    connection.shutdown(socket.SHUT_WR)
                    with connection.makefile("rb") as answer:
                        assert answer.read() == b"100000"
        finally:
            _end(forwarding)
            thread.join(10)


PYTHON_CLIENT = """
import sys
from kubernetes import client, config
from kubernetes.stream import portforward, stream

api = client.CoreV1Api(config.new_client_from_config(sys.argv[1]))
words = {"container": "main", "command": ["sh", "-c", "echo out; echo err >&2; exit 4"], "stdin": False, "stdout": True, "stderr": True}
done = stream(api.connect_get_namespaced_pod_exec, "p", "default", tty=False, _preload_content=False, **words)
done.run_forever(timeout=10)
print((done.read_stdout(), done.read_stderr(), done.returncode))
connection = portforward(api.connect_get_namespaced_pod_portforward, "p", "default", ports=sys.argv[2]).socket(int(sys.argv[2]))
connection.setblocking(True)
connection.sendall(b"ask\\n")
print(connection.recv(100))
"""


def test_the_python_client_has_the_same_streams(server: str, tmp_path: Path) -> None:
    """In a process of its own: it leaves sockets open, which is its own affair."""
    pytest.importorskip("kubernetes")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_shout, args=(listening,))
        thread.start()
        words = [sys.executable, "-c", PYTHON_CLIENT, str(kubeconfig(tmp_path, server)), str(listening.getsockname()[1])]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
        thread.join(10)
    assert done.stdout == "('out\\n', 'err\\n', 4)\nb'ASK\\n'\n"


def _shout(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    with connection, connection.makefile("rb") as said:
        connection.sendall(said.readline().upper())


def _answer(listening: socket.socket, times: int) -> None:
    """Reads each connection to its end and says how much it was: a half-close has to come through."""
    for _ in range(times):
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as said:
            connection.sendall(str(len(said.read())).encode())


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()
