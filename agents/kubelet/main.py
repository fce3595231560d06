"""The node agent: `python -m agents.kubelet.main`, with the kubelet's flags."""

import asyncio
import os
import socket
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from agents.kit.flags import comma_list
from agents.kit.informer import Informer
from agents.kit.runner import Agent, Running
from agents.kubelet import server, thresholds
from agents.kubelet.images import Images
from agents.kubelet.kubelet import Kubelet
from agents.kubelet.machine import MAX_PODS, Identity
from agents.kubelet.node import NODES, NodeKeeper
from agents.kubelet.oci.store import Store
from agents.kubelet.pod_worker import PODS, Node, Shared
from agents.kubelet.probes import Asker
from agents.kubelet.recipe import Dns
from agents.kubelet.references import Remembered
from agents.kubelet.runtime.base import Runtime
from agents.kubelet.runtime.cgroups import root_of
from agents.kubelet.runtime.embedded import EmbeddedRuntime
from agents.kubelet.stats import Stats
from agents.kubelet.thresholds import Thresholds
from agents.kubelet.volumes import Volumes
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import resource
from keelson.cogs.reloading import Reloading, ServingTls
from keelson.cogs.tasks import Tasks

PORT, HEALTH_PORT = 10250, 10248


def agent() -> Agent:
    made = Agent("kubelet", "Runs the pods of one node.", port=HEALTH_PORT, tls=False, port_flag="--healthz-port")
    flags = made.flags
    flags.text("--hostname-override", "", "the node's name; without it the host's name")
    flags.text("--node-ip", "", "the node's address; without it the one towards the API server")
    flags.text("--root-dir", "/var/lib/kubelet", "folder of pods, volumes and containers")
    flags.text("--image-store", "", "folder of the local image store; without it ROOT/images")
    flags.text("--pod-cidr", "", "range of the pods' addresses; without it the one that the Node object is given")
    flags.list("--cluster-dns", [], "addresses of the cluster's name servers")
    flags.text("--cluster-domain", "cluster.local", "domain of the cluster")
    flags.text("--resolv-conf", "/etc/resolv.conf", "what pods with dnsPolicy Default use")
    flags.text("--address", "0.0.0.0", "address of the kubelet's server")
    flags.number("--port", PORT, "port of the kubelet's server")
    flags.text("--tls-cert-file", "", "certificate of the kubelet's server")
    flags.text("--tls-private-key-file", "", "its key")
    flags.text("--client-ca-file", "", "authority of the certificates of its clients")
    flags.text("--container-runtime-endpoint", "", "socket of a container runtime that speaks the CRI; without it the embedded runtime")
    flags.text("--host-ports-file", "", "where the embedded runtime tells the service proxy which ports of the node lead to pods")
    flags.text("--pod-manifest-path", "", "folder of static pods")
    flags.list("--register-with-taints", [], "taints of a new node: key=value:effect")
    flags.list("--node-labels", [], "labels of a new node: key=value")
    flags.text("--provider-id", "", "the machine's name at its provider")
    flags.number("--max-pods", MAX_PODS, "how many pods the node takes")
    flags.number("--pod-max-pids", -1, "how many processes a pod may have; -1: as many as the machine has")
    flags.list("--eviction-hard", comma_list(thresholds.DEFAULT), "how little of memory and disk may be left before pods have to go; 0%%: any")
    flags.switch("--seccomp-default", False, "pods that say nothing get the seccomp profile RuntimeDefault")
    flags.text("--cgroup-root", "", "part of the cgroup tree for pods; `none` switches limits off")
    return made


def identity_of(arguments: Namespace, ip: str) -> Identity:
    """Raises ValueError for labels, taints and thresholds that are none."""
    given = vars(arguments)
    labels = {}
    for each in given["node_labels"]:
        key, found, value = each.partition("=")
        if not found:
            raise ValueError(f"--node-labels: {each!r} is not key=value")
        labels[key] = value
    return Identity(
        name=(given["hostname_override"] or socket.gethostname()).lower(),
        ip=ip,
        port=given["port"],
        labels=labels,
        taints=tuple(taints(given["register_with_taints"])),
        provider_id=given["provider_id"],
        max_pods=given["max_pods"],
        pod_range=given["pod_cidr"],
        eviction=Thresholds.parse(given["eviction_hard"]),
    )


def taints(given: Sequence[str]) -> Iterator[Object]:
    for each in given:
        head, found, effect = each.rpartition(":")
        if not found or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            raise ValueError(f"--register-with-taints: {each!r} is not key=value:effect")
        key, _, value = head.partition("=")
        yield {"key": key, "effect": effect, **({"value": value} if value else {})}


def own_address(servers: Sequence[str]) -> str:
    """The address from which this machine reaches the API server. Nothing is sent."""
    from yarl import URL

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((URL(servers[0]).host or "127.0.0.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def resolver(path: Path, servers: Sequence[str], domain: str) -> Dns:
    found: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    if path.is_file():
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] == ["nameserver"]:
                found["nameserver"] += words[1:2]
            elif words and words[0] in found:
                found[words[0]] = words[1:]
    return Dns(tuple(servers), domain, tuple(found["nameserver"]), tuple(found["search"]), tuple(found["options"]))


def runtime_of(arguments: Namespace, name: str, folder: Path) -> Runtime:
    """containerd and the like by the CRI where an endpoint is given, else the embedded one."""
    cgroups = root_of(name, folder, arguments.cgroup_root)
    if arguments.container_runtime_endpoint:
        from agents.kubelet.runtime.cri import CriRuntime  # gRPC takes a third of a second to import

        return CriRuntime(arguments.container_runtime_endpoint, pod_range=arguments.pod_cidr, cgroup_root=cgroups)
    store = Store(Path(arguments.image_store) if arguments.image_store else folder / "images")
    ports = Path(arguments.host_ports_file) if arguments.host_ports_file else None
    return EmbeddedRuntime(folder / "runtime", store, pod_range=arguments.pod_cidr, cgroup_root=cgroups, host_ports=ports)


async def serve(running: Running) -> None:
    arguments = running.arguments
    client = running.client
    identity = identity_of(arguments, arguments.node_ip or own_address(client.access.servers))
    folder = Path(arguments.root_dir)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o750)  # in it are the secrets and tokens of all pods, readable for whoever gets there
    runtime = runtime_of(arguments, identity.name, folder)
    await runtime.open()
    informers = running.informers
    asker = Asker(runtime)
    dns = resolver(Path(arguments.resolv_conf), arguments.cluster_dns, arguments.cluster_domain)
    node = Node(
        identity.name,
        identity.ip,
        folder,
        folder / "logs" / "pods",
        dns,
        seccomp_default=arguments.seccomp_default,
        pids_limit=max(arguments.pod_max_pids, 0),
        eviction=identity.eviction,
    )

    def not_ready() -> str:
        if runtime.network_ready:
            return ""
        return (
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: no pod range"
        )

    keeper = NodeKeeper(client, runtime, identity, folder, not_ready)
    recorder = running.broadcaster.recorder("kubelet")
    shared = Shared(
        client,
        runtime,
        recorder,
        informers.of(resource("services")),
        Remembered(client),
        Volumes(folder, client),
        Images(runtime),
        asker,
        node,
    )
    pods_informer = informers.of(PODS, field_selector=f"spec.nodeName={identity.name}")
    manifests = Path(arguments.pod_manifest_path) if arguments.pod_manifest_path else None
    kubelet = Kubelet(shared, pods_informer, keeper, client, manifests)
    serving = server.Server(kubelet, client, Stats(runtime, identity.name), identity.name)
    reloading = Reloading()
    try:
        await kubelet.note_what_runs()
        async with Tasks("kubelet") as tasks, listening(serving, arguments, reloading):
            tasks.serve("reloading", reloading.run())
            registered = await keeper.register()
            node.allocatable, node.memory_bytes = keeper.allocatable, keeper.memory_bytes
            recorder.event(registered, "Normal", "Starting", "Starting kubelet.")
            tasks.serve("lease", keeper.keep_lease())
            tasks.serve("status", keeper.keep_status())
            nodes = informers.of(NODES, field_selector=f"metadata.name={identity.name}")
            await nodes.synced.wait()
            await shared.services.synced.wait()
            tasks.serve("node", _follow_node(runtime, nodes, keeper))
            tasks.serve("pods", kubelet.run())
            await asyncio.Event().wait()
    finally:
        await asker.close()
        await runtime.close()


async def _follow_node(runtime: Runtime, nodes: Informer, keeper: NodeKeeper) -> None:
    """Our own node as the cluster sees it, and its pod range if it is given there. Of other nodes a kubelet may not know."""
    changed = asyncio.Event()
    nodes.handle(lambda _: changed.set(), lambda *_: changed.set(), lambda _: changed.set())
    while True:
        changed.clear()
        own = nodes.get(keeper.identity.name)
        if own is not None:
            keeper.saw(own)
            given = (own.get("spec") or {}).get("podCIDR")
            if given and not runtime.network_ready:
                await runtime.set_pod_range(given)
                keeper.look.set()
        await changed.wait()


@asynccontextmanager
async def listening(serving: server.Server, arguments: Namespace, reloading: Reloading) -> AsyncIterator[None]:
    """Client certificates are welcome, and checked; who brings none has to bring a token."""
    given = vars(arguments)
    if not given["tls_cert_file"] or not given["port"]:
        yield
        return
    tls = ServingTls(given["tls_cert_file"], given["tls_private_key_file"], given["client_ca_file"])
    reloading.add("serving certificate and client authority", tls.paths, tls.refresh)
    runner = web.AppRunner(serving.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, given["address"], given["port"], ssl_context=tls.listen, reuse_address=True).start()
        yield
    finally:
        await runner.cleanup()


def main() -> int:
    if os.geteuid() != 0:
        print("kubelet: it makes namespaces and mounts, and must run as root", file=sys.stderr)
        return 1
    return agent().main(serve)


if __name__ == "__main__":
    sys.exit(main())
