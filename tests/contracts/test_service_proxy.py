"""What a service's address does, whoever implements it: a node with a bridge of pods, a client outside, and real connections between them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.networks import Machine, Network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="iproute2 (ip) is not installed"),
]
VIP, NODE_PORT, POD_NETWORK = "10.96.7.7", 30080, "10.244.77.0/24"


class Proxy:
    def __init__(self, mode: str, node: Machine) -> None:
        self.node = node
        self.again(mode)

    def again(self, mode: str) -> None:
        """Another process; the one before is gone."""
        if hasattr(self, "process"):
            self.process.stdin.close()
            self.process.stdout.close()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.proxy_child", self.node.name, mode, self.node.address, POD_NETWORK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def told(self, *services: dict, slices: tuple[dict, ...] = (), host_ports: tuple[dict, ...] = ()) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"services": services, "slices": slices, "hostPorts": host_ports}) + "\n")
        self.process.stdin.flush()
        assert json.loads(self.process.stdout.readline()) == []

    def stop(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        self.process.stdout.close()


@pytest.fixture(scope="module", params=["userspace", "kept", "nftables"])
def scene(request: pytest.FixtureRequest) -> Iterator[tuple[Proxy, Network]]:
    if request.param == "nftables" and shutil.which("nft") is None:
        pytest.skip("nftables (nft) is not installed")
    with Network() as network:
        proxy = Proxy(request.param, network.node)
        try:
            yield proxy, network
        finally:
            if proxy.process.poll() is None:
                proxy.process.kill()
                proxy.process.wait()
            proxy.process.stdin.close()
            proxy.process.stdout.close()


def service(**spec) -> dict:
    ports = [{"name": "web", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    return {"metadata": {"name": "s", "namespace": "d"}, "spec": {"clusterIP": VIP, "clusterIPs": [VIP], "type": "ClusterIP", "ports": ports, **spec}}


def slice_of(*pods: Machine, dead: tuple[str, ...] = ()) -> dict:
    return {
        "metadata": {"name": "s-1", "namespace": "d", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": True}, "nodeName": "node-1"} for address in [*dead, *(pod.address for pod in pods)]
        ],
        "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 5353, "protocol": "UDP"}],
    }


def asked(client: Machine, address: str, port: int, times: int = 1) -> set[str]:
    """Who answers, by name."""
    return {client.ask(address, port).split()[0] for _ in range(times)}


def test_every_ready_endpoint_answers_in_its_turn(scene):
    proxy, network = scene
    proxy.told(service(), slices=(slice_of(network.a, network.b),))
    assert asked(network.pod, VIP, 80, 20) == {"a", "b"}
    assert asked(network.node, VIP, 80, 20) == {"a", "b"}


def test_a_pod_reaches_itself_through_the_service(scene):
    proxy, network = scene
    proxy.told(service(), slices=(slice_of(network.a),))
    assert asked(network.a, VIP, 80) == {"a"}


def test_no_endpoint_is_a_refusal_and_not_a_silence(scene):
    proxy, network = scene
    proxy.told(service())
    with pytest.raises(ConnectionRefusedError):
        network.pod.ask(VIP, 80)


def test_a_port_that_the_service_does_not_have_is_refused(scene):
    proxy, network = scene
    proxy.told(service(), slices=(slice_of(network.a),))
    for client in (network.pod, network.node, network.outside):
        assert asked(client, VIP, 80) == {"a"}
        with pytest.raises(ConnectionRefusedError):
            client.ask(VIP, 81)


def test_new_connections_go_to_who_is_there_and_old_ones_live_on(scene):
    proxy, network = scene
    proxy.told(service(), slices=(slice_of(network.a),))
    with network.pod.connected(VIP, 80) as connection:
        connection.sendall(b"one\n")
        assert connection.makefile().readline().split()[0] == "a"
        proxy.told(service(), slices=(slice_of(network.b),))
        assert asked(network.pod, VIP, 80, 5) == {"b"}
        connection.sendall(b"two\n")
        assert connection.makefile().readline() == "a two\n"


def test_a_half_closed_connection_still_answers(scene):
    proxy, network = scene
    proxy.told(service(), slices=(slice_of(network.a),))
    with network.pod.connected(VIP, 80) as connection:
        connection.sendall(b"last\n")
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile().read() == "a last\n"


def test_a_megabyte_comes_through_to_a_slow_reader(scene):
    proxy, network = scene
    proxy.told(service(), slices=(slice_of(network.a),))
    line = b"x" * 65535 + b"\n"
    with network.pod.connected(VIP, 80) as connection:
        sender = threading.Thread(target=lambda: [connection.sendall(line) for _ in range(16)])
        sender.start()
        received = 0
        while received < 16 * (len(line) + 2):
            received += len(connection.recv(65536))
        sender.join()


def test_node_ports_answer_at_the_nodes_address(scene):
    proxy, network = scene
    ports = [{"name": "web", "port": 80, "nodePort": NODE_PORT}]
    proxy.told(service(type="NodePort", ports=ports), slices=(slice_of(network.a),))
    assert asked(network.outside, network.node.address, NODE_PORT) == {"a"}


def test_a_port_of_the_node_leads_to_its_pod(scene, request):
    proxy, network = scene
    tcp = {"hostIP": "", "hostPort": 8081, "protocol": "TCP", "ip": network.a.address, "port": 8080, "pod": "d/a"}
    udp = {"hostIP": network.node.address, "hostPort": 53, "protocol": "UDP", "ip": network.b.address, "port": 5353, "pod": "d/b"}
    proxy.told(service(), slices=(slice_of(network.b),), host_ports=(tcp, udp))
    for client in (network.outside, network.node, network.pod, network.a):
        assert client.ask(network.node.address, 8081) == "a hello\n"
    assert network.outside.say(network.node.address, 53, b"hello") == b"b hello"
    if request.node.callspec.params["scene"] != "nftables":
        assert network.node.ask("127.0.0.1", 8081) == "a hello\n"
    proxy.told(service(), slices=(slice_of(network.b),))
    with pytest.raises(ConnectionRefusedError):
        network.outside.ask(network.node.address, 8081)


def test_a_port_of_the_node_that_is_not_free_is_nobodys_fault(scene, request):
    proxy, network = scene
    if request.node.callspec.params["scene"] == "nftables":
        pytest.skip("the kernel leads packets to the pod before any program gets them")
    with network.node.bare() as holder:
        holder.bind((network.node.address, 8082))
        holder.listen()
        proxy.told(host_ports=({"hostPort": 8082, "ip": network.a.address, "port": 8080},))
        proxy.told(host_ports=({"hostPort": 8083, "ip": network.a.address, "port": 8080},))
    assert network.outside.ask(network.node.address, 8083) == "a hello\n"


def test_load_balancer_and_external_addresses_answer_to_whom_they_may(scene):
    proxy, network = scene
    balanced = service(type="LoadBalancer", externalIPs=["172.31.77.1"], loadBalancerSourceRanges=["192.0.2.0/24"])
    balanced["status"] = {"loadBalancer": {"ingress": [{"ip": "172.31.77.2"}]}}
    proxy.told(balanced, slices=(slice_of(network.a),))
    assert asked(network.pod, "172.31.77.1", 80) == {"a"}
    with pytest.raises(OSError):
        network.pod.ask("172.31.77.2", 80, timeout_s=0.3)
    balanced["spec"]["loadBalancerSourceRanges"] = [POD_NETWORK]
    proxy.told(balanced, slices=(slice_of(network.a),))
    assert asked(network.pod, "172.31.77.2", 80) == {"a"}
    balanced["spec"]["loadBalancerSourceRanges"] = ["2001:db8::/32"]
    proxy.told(balanced, slices=(slice_of(network.a),))
    with pytest.raises(OSError):
        network.pod.ask("172.31.77.2", 80, timeout_s=0.3)


def test_a_policy_of_local_binds_those_from_outside_alone(scene, request):
    proxy, network = scene
    ports = [{"name": "web", "port": 80, "nodePort": NODE_PORT}]
    balanced = service(type="LoadBalancer", ports=ports, externalTrafficPolicy="Local")
    balanced["status"] = {"loadBalancer": {"ingress": [{"ip": "172.31.77.2"}]}}
    far = slice_of(network.b)
    far["endpoints"][0]["nodeName"] = "node-2"
    proxy.told(balanced, slices=(slice_of(network.a), {**far, "metadata": {**far["metadata"], "name": "s-2"}}))
    assert asked(network.outside, "172.31.77.2", 80, 10) == asked(network.outside, network.node.address, NODE_PORT, 10) == {"a"}
    assert asked(network.pod, "172.31.77.2", 80, 20) == asked(network.node, "172.31.77.2", 80, 20) == {"a", "b"}
    # Endpoints elsewhere: the kernel says nothing, so that a client tries again; a listener can only refuse.
    proxy.told(balanced, slices=(far,))
    silent = TimeoutError if request.node.callspec.params["scene"] == "nftables" else ConnectionError
    with pytest.raises(silent):
        network.outside.ask("172.31.77.2", 80, timeout_s=0.5)
    proxy.told(service(internalTrafficPolicy="Local"), slices=(far,))
    with pytest.raises(silent):
        network.pod.ask(VIP, 80, timeout_s=0.5)


def test_datagrams_are_refused_where_there_is_no_endpoint(scene):
    proxy, network = scene
    proxy.told(service())
    with network.pod.bare(socket.SOCK_DGRAM) as client:
        client.settimeout(3.0)
        client.connect((VIP, 53))
        client.send(b"hello")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)


def test_a_clients_datagrams_go_on_to_who_is_there(scene):
    """The client's port stays the same, as a resolver's may: what the kernel remembers of it must not lead to an endpoint that is gone."""
    proxy, network = scene
    proxy.told(service(), slices=(slice_of(network.a),))
    with network.pod.bare(socket.SOCK_DGRAM) as client:
        client.settimeout(3.0)
        for pod, answer in ((network.a, b"a hello"), (network.b, b"b hello")):
            proxy.told(service(), slices=(slice_of(pod),))
            client.sendto(b"hello", (VIP, 53))
            assert client.recv(100) == answer


def test_a_client_keeps_its_endpoint(scene, request):
    proxy, network = scene
    proxy.told(service(sessionAffinity="ClientIP"), slices=(slice_of(network.a, network.b),))
    assert len(asked(network.pod, VIP, 80, 10)) == 1
    if request.node.callspec.params["scene"] == "kept":
        return  # the same choice; what follows takes its time
    for_a_second = {"clientIP": {"timeoutSeconds": 1}}
    proxy.told(service(sessionAffinity="ClientIP", sessionAffinityConfig=for_a_second), slices=(slice_of(network.a, network.b),))
    (had,) = asked(network.pod, VIP, 80, 3)
    deadline_s = time.monotonic() + 60
    while asked(network.pod, VIP, 80) == {had}:
        assert time.monotonic() < deadline_s, "it is kept for ever"
        time.sleep(1.1)


def test_datagrams_come_back_from_where_they_went(scene):
    proxy, network = scene
    proxy.told(service(), slices=(slice_of(network.a),))
    assert network.pod.say(VIP, 53, b"hello") == b"a hello"


def test_an_endpoint_that_is_dead_is_passed_over(scene, request):
    proxy, network = scene
    if request.node.callspec.params["scene"] == "nftables":
        pytest.skip("the kernel does not try another endpoint: readiness is what keeps dead ones out")
    proxy.told(service(), slices=(slice_of(network.a, dead=("10.244.77.99",)),))
    assert asked(network.pod, VIP, 80, 10) == {"a"}


def test_a_port_comes_back_however_slow_the_keeper_of_its_socket_is(scene, request):
    proxy, network = scene
    if request.node.callspec.params["scene"] != "kept":
        pytest.skip("only here there is a keeper")
    proxy.told(service(), slices=(slice_of(network.a),))
    keepers = [int(each) for each in network.node.run("ip", "netns", "pids", network.node.name).split() if "agents.proxy.keeper" in command_of(each)]
    for each in keepers:
        os.kill(each, signal.SIGSTOP)
    proxy.told(service())
    goes_on = threading.Timer(0.3, lambda: [os.kill(each, signal.SIGCONT) for each in keepers])
    goes_on.start()
    proxy.told(service(), slices=(slice_of(network.a),))
    goes_on.join()
    assert keepers
    assert network.pod.say(VIP, 53, b"hello") == b"a hello"


def command_of(process: str) -> str:
    """Empty once it has ended, as the one has that listed them."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def test_what_is_asked_while_the_proxy_is_away_waits_for_the_next_one(scene, request):
    proxy, network = scene
    if (mode := request.node.callspec.params["scene"]) == "userspace":
        pytest.skip("without a keeper of its sockets a proxy that is away refuses")
    proxy.told(service(), slices=(slice_of(network.a),))
    proxy.process.kill()
    proxy.process.wait()
    with network.pod.connected(VIP, 80) as connection, network.pod.bare(socket.SOCK_DGRAM) as datagrams:
        connection.sendall(b"hello\n")
        datagrams.sendto(b"hello", (VIP, 53))
        proxy.again(mode)
        proxy.told(service(), slices=(slice_of(network.a),))
        assert connection.makefile().readline() == "a hello\n"
        datagrams.settimeout(3.0)
        assert datagrams.recv(100) == b"a hello"


def test_a_client_keeps_its_endpoint_when_the_proxy_is_killed(scene, request):
    proxy, network = scene
    if (mode := request.node.callspec.params["scene"]) != "nftables":
        pytest.skip("only the kernel remembers whom a client had")
    if subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, check=False).returncode:
        pytest.skip("this nft knows no JSON")
    sticky = service(sessionAffinity="ClientIP")
    proxy.told(sticky, slices=(slice_of(network.a, network.b),))
    had = {client.label: asked(client, VIP, 80) for client in (network.pod, network.node, network.outside, network.a, network.b)}
    proxy.process.kill()
    proxy.process.wait()
    proxy.again(mode)
    proxy.told(sticky, slices=(slice_of(network.a, network.b),))
    for client in (network.pod, network.node, network.outside, network.a, network.b):
        assert asked(client, VIP, 80, 4) == had[client.label]


def test_a_proxy_that_was_killed_is_taken_over_from_and_a_clean_stop_leaves_nothing(scene, request):
    proxy, network = scene
    proxy.told(service(), slices=(slice_of(network.a),))
    proxy.process.kill()
    proxy.process.wait()
    other = Proxy(request.node.callspec.params["scene"], network.node)
    moved = service(clusterIP="10.96.7.8", clusterIPs=["10.96.7.8"])
    other.told(moved, slices=(slice_of(network.b),))
    assert asked(network.pod, "10.96.7.8", 80) == {"b"}
    with pytest.raises(OSError):
        network.pod.ask(VIP, 80, timeout_s=0.3)
    other.stop()
    assert "10.96." not in network.node.run("ip", "-4", "addr")
    if shutil.which("nft"):
        assert "keelson" not in network.node.run("nft", "list", "tables")
