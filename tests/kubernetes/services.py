"""`make services`: services of every kind in a whole cluster, asked from the host, from pods and through the nodes, once for each mode of the nodes'
proxies. As root; a minute and a half for each.

Not part of `make test`, which has one whole cluster, in the default mode; tests/contracts/test_service_proxy.py asks both modes on one node.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from keelson.launcher import cluster as clusters
from keelson.launcher.control_plane import PROXY_MODES
from tests.support.kubectl import Tool
from tests.support.whole import Whole, whole

pytestmark = [pytest.mark.timeout(900)]

WAIT_S = 60
ECHO = """
import os, socket, threading
def datagrams():
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("0.0.0.0", 5353))
    while True:
        _, client = bound.recvfrom(2000)
        bound.sendto(f"{os.uname().nodename} {client[0]}".encode(), client)
threading.Thread(target=datagrams).start()
bound = socket.create_server(("0.0.0.0", 8080), backlog=64)
while True:
    connection, client = bound.accept()
    connection.sendall(f"{os.uname().nodename} {client[0]}".encode())
    connection.close()
"""
ASK = """
import json, socket, sys
for host, port, kind in json.loads(sys.argv[1]):
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as asking:
            asking.settimeout(10)
            asking.connect((host, port))
            if kind == "udp":
                asking.send(b"hello")
            answer = asking.recv(2000).decode()
    except OSError as error:
        answer = type(error).__name__
    print(answer)
"""
TCP, UDP = "tcp", "udp"
REFUSED, SILENT = "ConnectionRefusedError", "TimeoutError"


def echo(name: str, node: str, **labels: str) -> dict:
    container = {"name": "echo", "image": "keelson/web:1", "command": ["python3", "-S", "-c", ECHO]}
    container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "echo", **labels}}, "spec": spec}


def service(name: str, node_port: int = 0, selector: dict | None = None, **spec: object) -> dict:
    ports = [
        {"name": kind, "port": 80, "targetPort": target, "protocol": kind.upper(), **({"nodePort": node_port} if node_port else {})}
        for kind, target in ((TCP, 8080), (UDP, 5353))
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector or {"app": "echo"}, "ports": ports, **spec},
    }


OBJECTS = [
    echo("one", "node1", alone="yes"),
    echo("two", "node2"),
    service("plain"),
    service("headless", clusterIP="None"),
    service("sticky", sessionAffinity="ClientIP"),
    service("ported", 30080, type="NodePort"),
    service("local", 30081, type="NodePort", externalTrafficPolicy="Local"),
    service("balanced", type="LoadBalancer"),
    service("inner", selector={"alone": "yes"}, internalTrafficPolicy="Local"),
    service("self", selector={"alone": "yes"}),
    service("nobody", selector={"app": "nobody"}),
]


class Scene:
    def __init__(self, mode: str, cluster: Whole) -> None:
        self.mode, self.cluster, self.kubectl = mode, cluster, cluster.kubectl()
        made = clusters.load(cluster.data)
        assert made is not None
        assert made.control_plane is not None
        self.network = made.control_plane.network
        listed = self.kubectl.json("get", "services")["items"]
        self.addresses = {each["metadata"]["name"]: each["spec"]["clusterIP"] for each in listed}

    def ask(self, who: str, *questions: tuple[str, int, str]) -> list[str]:
        """Who answered, and as whom he saw us; or the error. From a pod, or from the host if `who` is empty."""
        words = json.dumps(questions)
        if who:
            return self.kubectl("exec", who, "--", "python3", "-S", "-c", ASK, words, timeout_s=120).splitlines()
        return subprocess.run([sys.executable, "-c", ASK, words], capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()

    def answering(self, who: str, host: str, port: int = 80, kind: str = TCP, times: int = 12) -> set[str]:
        return {each.split()[0] for each in self.ask(who, *[(host, port, kind)] * times)}


@pytest.fixture(scope="module", params=PROXY_MODES)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if request.param == "nftables" and shutil.which("nft") is None:
        pytest.skip("nftables (nft) is not installed")
    with whole(tmp_path_factory.mktemp("services"), "--proxy-mode", request.param, nodes=2) as cluster:
        kubectl = cluster.kubectl()
        kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": OBJECTS}))
        kubectl("wait", "--for=condition=Ready", "pod/one", "pod/two", f"--timeout={WAIT_S}s", timeout_s=WAIT_S + 10)
        found = Scene(request.param, cluster)
        until(lambda: all(found.answering(who, found.addresses["plain"]) == {"one", "two"} for who in ("", "one", "two")))
        yield found


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline_s, "it does not come to be"
        time.sleep(0.2)


def test_each_address_of_a_service_leads_to_all_its_endpoints(scene: Scene) -> None:
    ways = [(scene.addresses[name], 80) for name in ("plain", "ported", "local", "balanced")]
    ways += [(scene.network.address(node), 30080) for node in (1, 2)]
    ways += [(balancer(scene.kubectl), 80)]
    for who in ("", "one", "two"):
        for kind in (TCP, UDP):
            for host, port in ways:
                assert scene.answering(who, host, port, kind) == {"one", "two"}, (who, kind, host, port)


def balancer(kubectl: Tool) -> str:
    return str(kubectl.json("get", "service", "balanced")["status"]["loadBalancer"]["ingress"][0]["ip"])


def test_names_lead_to_services_and_pods(scene: Scene) -> None:
    pods = {each["status"]["podIP"] for each in scene.kubectl.json("get", "pods")["items"]}
    look = "import json, socket, sys; print(json.dumps([sorted({each[4][0] for each in socket.getaddrinfo(name, 80)}) for name in sys.argv[1:]]))"
    for who in ("one", "two"):
        told = json.loads(scene.kubectl("exec", who, "--", "python3", "-S", "-c", look, "plain", "plain.default.svc.cluster.local", "headless"))
        assert told == [[scene.addresses["plain"]], [scene.addresses["plain"]], sorted(pods)]


def test_a_client_keeps_its_endpoint(scene: Scene) -> None:
    for who in ("", "one", "two"):
        assert len(scene.answering(who, scene.addresses["sticky"])) == 1


def test_a_pod_reaches_itself(scene: Scene) -> None:
    for kind in (TCP, UDP):
        assert scene.answering("one", scene.addresses["self"], 80, kind) == {"one"}


def test_policies_of_local(scene: Scene) -> None:
    """From outside to the node's own endpoint; from within the cluster to all of them, by whichever node. The internal one: nowhere but here."""
    for node, pod in ((1, "one"), (2, "two")):
        assert scene.answering("", scene.network.address(node), 30081) == {pod}
        for who in ("one", "two"):
            assert scene.answering(who, scene.network.address(node), 30081) == {"one", "two"}, (who, node)
    assert scene.answering("one", scene.addresses["inner"]) == {"one"}
    assert scene.ask("two", (scene.addresses["inner"], 80, TCP)) == [SILENT if scene.mode == "nftables" else REFUSED]


def test_whose_address_an_endpoint_sees(scene: Scene) -> None:
    """In the kernel a pod's own; from outside it is kept where a policy of Local asks for that."""
    if scene.mode != "nftables":
        pytest.skip("a proxy in a process asks in its own name")
    own = {each["metadata"]["name"]: each["status"]["podIP"] for each in scene.kubectl.json("get", "pods")["items"]}
    assert set(scene.ask("one", *[(scene.addresses["plain"], 80, TCP)] * 12)) >= {f"two {own['one']}"}
    assert set(scene.ask("", (scene.network.address(2), 30081, TCP))) == {f"two {scene.network.gateway}"}


def test_who_is_not_there_is_told_of_at_once(scene: Scene) -> None:
    for who in ("", "one", "two"):
        for host, port, kind in ((scene.addresses["nobody"], 80, TCP), (scene.addresses["nobody"], 80, UDP), (scene.addresses["plain"], 81, TCP)):
            assert scene.ask(who, (host, port, kind)) == [REFUSED], (who, host, port, kind)


def test_a_pod_that_goes_takes_no_new_calls_along(scene: Scene) -> None:
    scene.kubectl("delete", "pod", "two", "--now", timeout_s=90)
    until(lambda: scene.answering("one", scene.addresses["plain"]) == {"one"})
    scene.kubectl("delete", "pod", "one", "--now", timeout_s=90)
    until(lambda: scene.ask("", (scene.addresses["plain"], 80, TCP)) == [REFUSED])
    scene.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": OBJECTS}))
    scene.kubectl("wait", "--for=condition=Ready", "pod/one", "pod/two", f"--timeout={WAIT_S}s", timeout_s=WAIT_S + 10)
    until(lambda: scene.answering("", scene.addresses["plain"]) == {"one", "two"})


def test_proxies_that_are_killed_cost_nobody_a_call(scene: Scene) -> None:
    kept = scene.answering("", scene.addresses["sticky"])
    for name in ("proxy-node1", "proxy-node2"):
        scene.cluster.kill(name)
        for _ in range(3):
            assert scene.answering("", scene.addresses["plain"]) == {"one", "two"}
    if scene.mode == "nftables":
        assert scene.answering("", scene.addresses["sticky"]) == kept, "clients are forgotten by a proxy that starts"


def test_a_second_up_keeps_the_mode_and_refuses_another(scene: Scene) -> None:
    other = next(mode for mode in PROXY_MODES if mode != scene.mode)
    with pytest.raises(AssertionError, match=f"{scene.mode} proxies"):
        scene.cluster.keelson("up", "--proxy-mode", other)
    scene.cluster.keelson("up")


def test_what_the_kernel_has_is_in_the_nodes_alone(scene: Scene) -> None:
    """So that it goes with them: `down`, at the end, finds no table of ours anywhere else."""

    def tables(*where: str) -> str:
        return subprocess.run([*where, "nft", "list", "tables"], capture_output=True, text=True, check=True).stdout

    if scene.mode != "nftables":
        pytest.skip("there are no tables")
    assert "keelson" not in tables()
    for node in (1, 2):
        assert "keelson-proxy" in tables("ip", "netns", "exec", scene.network.namespace(node))
