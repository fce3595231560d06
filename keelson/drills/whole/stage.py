"""The stage of a drill: a whole cluster in a folder of its own, with a service that several pods stand behind.

What is asked of the cluster goes through its API; what is done to it goes through the operating system.
"""

import asyncio
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from apiserver.client import kubeconfig
from apiserver.client.rest import Client
from apiserver.machinery.conditions import is_true
from apiserver.machinery.objects import Object, is_terminating, uid_of
from apiserver.machinery.resources import resource
from keelson.cogs import routes
from keelson.drills.ports import free_ports
from keelson.launcher import arrival, down, network, nodes, processes, up
from keelson.launcher.calls import Caller, NoAnswer
from keelson.launcher.cluster import Cluster, Refused
from keelson.launcher.control_plane import PORTS, ControlPlane, files_of
from keelson.launcher.ports import is_free

NAMESPACE, SERVICE, SET = "drill", "web", "db"
REPLICAS, MEMBERS = 4, 3
WAIT_S = 120.0
PORT_MAX = 32_000
"""Above are those that the kernel gives to clients."""
POLL_S = 0.05
PROXY_HEALTH_PORT = 10256
ASK_TIMEOUT_S = 2.0
PATIENCE_S = 5
"""Seconds that pods of the drill stay bound to a node that is lost, instead of Kubernetes' five minutes: what is measured is the rest of the way."""
COMPARED = (
    "namespaces",
    "configmaps",
    "secrets",
    "services",
    "serviceaccounts",
    "deployments.apps",
    "statefulsets.apps",
    "nodes",
    "clusterroles.rbac.authorization.k8s.io",
)
"""Of these no object may be lost; pods, replica sets and events come and go."""

Tell = Callable[[str], None]


class Stage:
    def __init__(self, cluster: Cluster, client: Client, tell: Tell) -> None:
        assert cluster.control_plane is not None, "a stage has a control plane"
        self.cluster, self.client, self.tell = cluster, client, tell
        self.plan: ControlPlane = cluster.control_plane
        self._caller = Caller(cluster)

    # --- what is done -------------------------------------------------------------------------------------------------

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal one program; its supervisor starts it again."""
        identity = processes.running(self.cluster.folder, name)
        if identity is None or not processes.send(identity, number):
            raise Refused(f"{name} does not run: a drill wants a healthy cluster")

    async def lose(self, node: int) -> None:
        """As if its machine had burnt down: no link, no processes. Its agents start again, cut off from everybody."""
        await self.cut_off(node)
        await asyncio.to_thread(nodes.kill_all, self.cluster.folder, self.plan, node)

    async def cut_off(self, node: int) -> None:
        """Everything on it runs on, and reaches nobody."""
        # In a thread: netlink's library runs an event loop of its own.
        await asyncio.to_thread(network.unplug, self.plan.network, node)

    async def give_back(self, node: int) -> None:
        await asyncio.to_thread(network.plug, self.plan.network, node)

    async def came_back(self, name: str, before: processes.Identity | None) -> None:
        """Until another process has the name."""
        await self.until(lambda: processes.running(self.cluster.folder, name) not in (None, before), f"{name} to come back")

    async def healthy(self) -> None:
        """Until all members, API servers, nodes and proxies are ready, and the service and the stateful set have all their pods."""
        await self.until_async(self._is_healthy, "the cluster to be healthy")

    async def _is_healthy(self) -> bool:
        if not await asyncio.to_thread(self._answer) or await arrival.missing_now(self.cluster):
            return False
        return await self.ready_pods() >= REPLICAS and await self.ready_members() >= MEMBERS

    def _answer(self) -> bool:
        """Those whose health nobody else tells."""
        proxies = [f"http://{self.plan.network.address(number)}:{PROXY_HEALTH_PORT}/readyz" for number in range(1, self.plan.nodes + 1)]
        try:
            for member in self.cluster.members:
                self._caller.check_health(member)
            for url in proxies:
                with urllib.request.urlopen(url, timeout=ASK_TIMEOUT_S):
                    pass
        except (NoAnswer, OSError):
            return False
        return True

    # --- what is asked ------------------------------------------------------------------------------------------------

    async def holder(self, lease: str) -> str:
        found = await self.client.get(resource("leases.coordination.k8s.io"), lease, "kube-system")
        return str((found.get("spec") or {}).get("holderIdentity") or "")

    async def active(self, lease: str, kind: str) -> str:
        """The program that holds a lease: the one that says so in its log."""
        identity = await self.holder(lease)
        for program in self.cluster.programs():
            if program.name.startswith(f"{kind}-") and identity and identity in self.cluster.log(program.name).read_text(errors="replace"):
                return program.name
        raise Refused(f"nobody holds the lease {lease}")

    async def store_leader(self) -> str:
        statuses = await asyncio.to_thread(self._caller.statuses)
        for name, status in statuses.items():
            if getattr(status, "leader", None) == getattr(status, "member_id", 0):
                return name
        raise Refused("the store has no leader")

    async def ready_pods(self, besides: str = "") -> int:
        """Of the service, on other nodes than `besides`."""
        listed = await self.client.list(resource("pods"), NAMESPACE, label_selector=f"app={SERVICE}")
        return sum(_is_ready(pod) and (pod.get("spec") or {}).get("nodeName") != besides for pod in listed.get("items") or ())

    async def ready_members(self) -> int:
        """Of the stateful set."""
        listed = await self.client.list(resource("pods"), NAMESPACE, label_selector=f"app={SET}")
        return sum(_is_ready(pod) for pod in listed.get("items") or ())

    async def leaving(self, node: str) -> set[str]:
        """The uids of all pods on a node that have been told to end."""
        listed = await self.client.list(resource("pods"), NAMESPACE, field_selector=f"spec.nodeName={node}")
        return {uid_of(pod) for pod in listed.get("items") or () if is_terminating(pod)}

    async def pods_on(self, node: str) -> int:
        listed = await self.client.list(resource("pods"), NAMESPACE, label_selector=f"app={SERVICE}", field_selector=f"spec.nodeName={node}")
        return len(listed.get("items") or ())

    async def objects(self) -> dict[str, str]:
        """Names by uid of everything that must not get lost."""
        found = {}
        for kind in COMPARED:
            for obj in await self.client.list_all(resource(kind)):
                found[uid_of(obj)] = f"{kind} {(obj['metadata'].get('namespace') or '')}/{obj['metadata']['name']}"
        return found

    async def address(self) -> str:
        return str((await self.client.get(resource("services"), SERVICE, NAMESPACE))["spec"]["clusterIP"])

    def entrance(self) -> int:
        """The node by which this machine reaches service addresses."""
        via = routes.way_to(self.plan.network.services)
        return next(node for node in range(1, self.plan.nodes + 1) if self.plan.network.address(node) == via)

    async def roll(self) -> None:
        """A rollout of the deployment, to its end."""
        deployments = resource("deployments.apps")
        stamp = {"spec": {"template": {"metadata": {"annotations": {"rolled": str(time.time_ns())}}}}}
        wanted = (await self.client.patch(deployments, SERVICE, stamp, NAMESPACE))["metadata"]["generation"]

        async def done() -> bool:
            status = (await self.client.get(deployments, SERVICE, NAMESPACE)).get("status") or {}
            return (
                status.get("observedGeneration", 0) >= wanted
                and status.get("updatedReplicas") == REPLICAS
                and status.get("availableReplicas") == REPLICAS
                and status.get("replicas") == REPLICAS
            )

        await self.until_async(done, "the rollout to end")

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def until(self, holds: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
        async def ask() -> bool:
            return holds()

        await self.until_async(ask, what, timeout_s)

    async def until_async(self, holds: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> None:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while not await holds():
            if loop.time() > deadline_s:
                raise Refused(f"waited {timeout_s:g} s for {what}")
            await asyncio.sleep(POLL_S)


@contextmanager
def _launched(folder: Path, tell: Tell) -> Any:
    clients, peers = (",".join(map(str, free_ports(3))) for _ in range(2))
    wanted = up.Wanted(3, clients, peers, port=free_block(PORTS))
    child = None
    try:
        cluster, child = up.up(folder, wanted, WAIT_S, tell)
        yield cluster
    finally:
        from keelson.launcher import cluster as clusters

        if (made := clusters.load(folder)) is not None:
            down.stop(made)  # whoever supervises it, or nobody
        if child is not None:
            child.wait()


@asynccontextmanager
async def staged(folder: Path, tell: Tell) -> AsyncIterator[Stage]:
    """A cluster with the drill's service on it; stopped and removed from the machine at the end. Raises Refused or NotHealthy."""
    launched = _launched(folder, tell)
    cluster = await asyncio.to_thread(launched.__enter__)
    try:
        async with Client(kubeconfig.load(files_of(cluster.folder).admin), user_agent="keelson-drill") as client:
            stage = Stage(cluster, client, tell)
            for kind, obj in manifests():
                await client.create(resource(kind), obj, "" if kind == "namespaces" else NAMESPACE)
            tell("waiting for the service")
            await stage.healthy()
            yield stage
    finally:
        await asyncio.to_thread(launched.__exit__, None, None, None)


def manifests() -> list[tuple[str, Object]]:
    tolerated = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": PATIENCE_S}
        for key in ("not-ready", "unreachable")
    ]
    container = {
        "name": "web",
        "image": "keelson/web:1",
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 2}}},
    }
    template = {"metadata": {"labels": {"app": SERVICE}}, "spec": {"containers": [container], "tolerations": tolerated}}
    member = {"name": "db", "image": "keelson/web:1"}
    members = {"metadata": {"labels": {"app": SET}}, "spec": {"containers": [member], "tolerations": tolerated}}
    return [
        ("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        (
            "deployments.apps",
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": SERVICE},
                "spec": {"replicas": REPLICAS, "selector": {"matchLabels": {"app": SERVICE}}, "template": template},
            },
        ),
        (
            "statefulsets.apps",
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": SET},
                "spec": {"replicas": MEMBERS, "serviceName": SET, "selector": {"matchLabels": {"app": SET}}, "template": members},
            },
        ),
        (
            "services",
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": SERVICE},
                "spec": {"selector": {"app": SERVICE}, "ports": [{"port": 80, "targetPort": "http"}]},
            },
        ),
    ]


def _is_ready(pod: Object) -> bool:
    return is_true(pod, "Ready") and not is_terminating(pod)


def free_block(count: int) -> int:
    """The first of `count` ports in a row that are free."""
    for _ in range(100):
        first = free_ports(1)[0]
        if first + count < PORT_MAX and all(is_free(first + each) for each in range(count)):
            return first
    raise Refused(f"there are no {count} free ports in a row below {PORT_MAX}")
