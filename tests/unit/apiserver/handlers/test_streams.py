"""What is checked before a stream begins, in Kubernetes' words; and the streams themselves against a fake kubelet, as clients open them."""

import asyncio
import json

import aiohttp
import pytest
from multidict import MultiDict

from apiserver.handlers.streams import container_of, from_kubelet, is_true, log_query, ports_of
from apiserver.machinery.status import ApiError
from apiserver.streams.kubelets import address_of
from tests.support.kubelet import FakeKubelet
from tests.support.streams_server import POD, serving


def pod(*names, inits=()):
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": name} for name in names], "initContainers": [{"name": name} for name in inits]},
    }


def test_the_only_container_is_meant():
    assert container_of(pod("a", inits=("i",)), "") == "a"
    assert container_of(pod("a", inits=("i",)), "i") == "i"


@pytest.mark.parametrize(
    ("which", "asked", "message"),
    [
        (pod("a", "b", inits=("i",)), "", "a container name must be specified for pod p, choose one of: [i a b]"),
        (pod("a"), "x", "container x is not valid for pod p"),
        (pod(), "", "a container name must be specified for pod p"),
    ],
)
def test_a_container_must_be_clear(which, asked, message):
    with pytest.raises(ApiError) as refused:
        container_of(which, asked)
    assert (refused.value.reason, refused.value.message) == ("BadRequest", message)


def test_a_log_query_goes_on_as_it_was_meant():
    query = {"follow": "true", "previous": "false", "tailLines": "0", "sinceSeconds": "5", "container": "a", "timestamps": "1", "stream": "All"}
    assert log_query(query) == [("follow", "true"), ("timestamps", "true"), ("sinceSeconds", "5"), ("tailLines", "0"), ("stream", "All")]


@pytest.mark.parametrize(
    ("query", "reason", "message"),
    [
        ({"tailLines": "-1"}, "Invalid", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ({"limitBytes": "0"}, "Invalid", "limitBytes: Invalid value: 0: must be greater than 0"),
        ({"sinceSeconds": "x"}, "BadRequest", 'parsing "x": invalid syntax'),
        ({"sinceTime": "yesterday"}, "BadRequest", "yesterday"),
        ({"sinceTime": "2026-01-01T00:00:00Z", "sinceSeconds": "1"}, "Invalid", "at most one of `sinceTime` or `sinceSeconds`"),
        ({"stream": "Both"}, "Invalid", "must be one of All, Stdout, Stderr"),
    ],
)
def test_a_log_query_that_makes_no_sense(query, reason, message):
    with pytest.raises(ApiError) as refused:
        log_query(query)
    assert refused.value.reason == reason
    assert message in refused.value.message


def test_ports_of_a_client_on_channels():
    assert ports_of(MultiDict([("ports", "80,81"), ("ports", "82")])) == [80, 81, 82]
    for wrong in ([], [("ports", "0")], [("ports", "65536")], [("ports", "http")], [("ports", ",".join(["1"] * 101))]):
        with pytest.raises(ApiError):
            ports_of(MultiDict(wrong))


def test_booleans_of_queries():
    assert [is_true(text) for text in (None, "false", "0", "true", "1", "")] == [False, False, False, True, True, True]


def test_errors_of_a_kubelet_keep_their_words():
    assert (from_kubelet(400, "is waiting to start", "p").code, from_kubelet(400, "is waiting to start", "p").message) == (400, "is waiting to start")
    assert from_kubelet(500, "boom", "p").message == "Internal error occurred: boom"


def test_a_kubelet_is_found_by_its_internal_address():
    assert address_of(FakeKubelet().node()) == ("127.0.0.1", 10250)
    with pytest.raises(ApiError, match="no preferred addresses found"):
        address_of({"metadata": {"name": "n"}, "status": {}})


def against(play, pod=None):
    """Runs `play(session, url of the pod, kubelet)`."""

    async def run():
        async with FakeKubelet().running() as kubelet, serving(kubelet, pod) as server, aiohttp.ClientSession() as session:
            await asyncio.wait_for(play(session, f"{server}/api/v1/namespaces/default/pods/p", kubelet), 10)

    asyncio.run(run())


async def everything(socket):
    """All messages by channel until the end."""
    heard = {}
    async for message in socket:
        heard[message.data[0]] = heard.get(message.data[0], b"") + message.data[1:]
    return heard


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
def test_exec_gives_output_error_and_exit_code(protocol):
    async def play(session, url, kubelet):
        query = [("command", word) for word in ("sh", "-c", "echo out; echo err >&2; exit 3")] + [("stdout", "true"), ("stderr", "true")]
        async with session.ws_connect(f"{url}/exec", params=query, protocols=(protocol,)) as socket:
            assert socket.protocol == protocol
            heard = await everything(socket)
        assert (heard[1], heard[2]) == (b"out\n", b"err\n")
        assert json.loads(heard[3])["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
        assert kubelet.asked[0][0] == "/exec/default/p/main"

    against(play)


def test_the_end_of_stdin_ends_the_program():
    async def play(session, url, kubelet):
        query = {"command": "cat", "stdin": "true", "stdout": "true"}
        async with session.ws_connect(f"{url}/exec", params=query, protocols=("v5.channel.k8s.io",)) as socket:
            await socket.send_bytes(b"\x04" + b'{"Width":80,"Height":25}')
            await socket.send_bytes(b"\x00" + b"hello")
            await socket.send_bytes(b"\xff\x00")
            heard = await everything(socket)
        assert heard[1] == b"hello"
        assert json.loads(heard[3])["status"] == "Success"
        assert kubelet.resized == [{"Width": 80, "Height": 25}]

    against(play)


def test_a_refusal_of_the_kubelet_is_said_on_the_error_channel():
    async def play(session, url, kubelet):
        query = {"command": "true", "stdout": "true", "container": "gone"}
        async with session.ws_connect(f"{url}/exec", params=query, protocols=("v5.channel.k8s.io",)) as socket:
            said = json.loads((await everything(socket))[3])
        assert said["message"] == 'Internal error occurred: unable to upgrade connection: container not found ("gone")'
        assert (said["reason"], said["code"]) == ("InternalError", 500)

    against(play)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("exec?stdout=true", "you must specify at least 1 command to execute"),
        ("exec?command=ls", "you must specify at least 1 of stdin, stdout, stderr"),
        ("exec?command=ls&stdout=true&container=x", "container x is not valid for pod p"),
        ("exec?command=ls&stdout=true", "Upgrade request required"),
        ("portforward?ports=80", "Upgrade request required"),
    ],
)
def test_what_is_refused_before_the_upgrade(path, message):
    async def play(session, url, kubelet):
        async with session.get(f"{url}/{path}") as answer:
            assert answer.status == 400
            assert (await answer.json())["message"] == message
        assert kubelet.asked == []

    against(play)


def test_a_pod_on_no_node_has_no_streams_and_an_empty_log():
    unplaced = {**POD, "spec": {"containers": [{"name": "main"}]}}

    async def play(session, url, kubelet):
        async with session.get(f"{url}/exec?command=ls&stdout=true") as answer:
            assert (await answer.json())["message"] == "pod p does not have a host assigned"
        async with session.get(f"{url}/log") as answer:
            assert (answer.status, await answer.read()) == (200, b"")

    against(play, unplaced)


def test_a_log_is_passed_on_and_its_errors_are_statuses():
    async def play(session, url, kubelet):
        async with session.get(f"{url}/log?tailLines=5") as answer:
            assert (answer.headers["Content-Type"], await answer.read()) == ("text/plain", b"one\ntwo\n")
        async with session.get(f"{url}/log?previous=true") as answer:
            said = await answer.json()
            assert (answer.status, said["message"]) == (400, 'previous terminated container "main" in pod "p" not found')
        assert kubelet.asked[0] == ("/containerLogs/default/p/main", [("tailLines", "5")])

    against(play)


def test_ports_over_channels():
    async def play(session, url, kubelet):
        async def shout(reader, writer):
            writer.write((await reader.readline()).upper())
            writer.close()

        async with await asyncio.start_server(shout, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with session.ws_connect(f"{url}/portforward", params={"ports": f"{port},1"}, protocols=("v4.channel.k8s.io",)) as socket:
                await socket.send_bytes(b"\x00hello\n")
                heard = await everything(socket)
        assert heard[0] == port.to_bytes(2, "little") + b"HELLO\n"
        assert heard[1] == port.to_bytes(2, "little")
        assert heard[2] == b"\x01\x00"
        assert heard[3].startswith(b"\x01\x00error forwarding port 1 to pod p, uid u-1: failed to connect")

    against(play)


def test_a_node_that_does_not_answer_is_told():
    async def run():
        kubelet = FakeKubelet()
        async with kubelet.running():
            pass  # its port is free again
        async with (
            serving(kubelet) as server,
            aiohttp.ClientSession() as session,
            session.get(f"{server}/api/v1/namespaces/default/pods/p/log") as answer,
        ):
            said = await answer.json()
        assert said["reason"] == "InternalError"
        assert said["message"].endswith(f"dial tcp 127.0.0.1:{kubelet.port}: connect: connection refused")

    asyncio.run(run())
