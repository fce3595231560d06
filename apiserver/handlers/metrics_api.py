"""metrics.k8s.io/v1beta1 (what `kubectl top` and the autoscaler ask), answered from the nodes' own figures: GET /stats/summary of each kubelet.

Upstream this is a server of its own (metrics-server) behind the aggregation layer; here the API server asks the kubelets itself, when somebody wants
to know and at most once every `FRESH_S`. A node that does not answer has no figures, which is no error.
"""

import asyncio
import re
from collections.abc import Callable

import aiohttp
import msgspec
from msgspec import Struct

from apiserver.machinery.objects import Object, labels_of, name_of, namespace_of
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError, not_found
from apiserver.request import Reader
from apiserver.streams.kubelets import Kubelets

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
VERBS = ("get", "list")
NODES = Resource(GROUP, VERSION, "NodeMetrics", "nodes", False, VERBS)
PODS = Resource(GROUP, VERSION, "PodMetrics", "pods", True, VERBS)
RESOURCES = (NODES, PODS)
"""For discovery."""
FRESH_S = 15.0
ASK_TIMEOUT_S = 5.0
SUMMARY_BYTES_MAX = 16 << 20
ASKED_AT_ONCE = 32


class Figures(Struct, frozen=True):
    """What the nodes said: by node name, and by namespace and name of a pod."""

    nodes: dict[str, Object]
    pods: dict[tuple[str, str], Object]


class MetricsApi:
    def __init__(self, kubelets: Kubelets, reader: Reader, now_s: Callable[[], float]) -> None:
        """`now_s` is a monotonic clock."""
        self._kubelets, self._reader, self._now_s = kubelets, reader, now_s
        self._figures = Figures({}, {})
        self._gathered_s = float("-inf")
        self._gathering = asyncio.Lock()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Raises ApiError (NotFound)."""
        figures = await self._fresh()
        about = self._reader.get(resource.plural, namespace, name)
        found = figures.nodes.get(name) if resource is NODES else figures.pods.get((namespace, name))
        if found is None or about is None:
            raise not_found(GROUP, resource.plural, f"{namespace}/{name}" if namespace else name)
        return _labelled(found, about)

    async def list(self, resource: Resource, namespace: str = "") -> list[Object]:
        figures = await self._fresh()
        items = []
        for about in self._reader.list(resource.plural, namespace):
            found = figures.nodes.get(name_of(about)) if resource is NODES else figures.pods.get((namespace_of(about), name_of(about)))
            if found is not None:
                items.append(_labelled(found, about))
        return sorted(items, key=lambda each: (namespace_of(each), name_of(each)))

    async def _fresh(self) -> Figures:
        async with self._gathering:  # who comes while somebody gathers waits for the same figures
            if self._now_s() - self._gathered_s >= FRESH_S:
                self._figures = await self._gather()
                self._gathered_s = self._now_s()
        return self._figures

    async def _gather(self) -> Figures:
        slots = asyncio.Semaphore(ASKED_AT_ONCE)

        async def ask(name: str) -> Object | None:
            async with slots:
                return await self._summary(name)

        figures = Figures({}, {})
        for summary in await asyncio.gather(*(ask(name_of(node)) for node in self._reader.list("nodes"))):
            if summary is None:
                continue
            if (node := node_metrics(summary)) is not None:
                figures.nodes[name_of(node)] = node
            for pod in pods_metrics(summary):
                figures.pods[namespace_of(pod), name_of(pod)] = pod
        return figures

    async def _summary(self, node: str) -> Object | None:
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                url = await self._kubelets.url(node, "/stats/summary")
                async with self._kubelets.open(url) as answer:
                    body = await answer.content.read(SUMMARY_BYTES_MAX) if answer.status == 200 else b""
                    while body and (more := await answer.content.read(SUMMARY_BYTES_MAX)) and len(body) < SUMMARY_BYTES_MAX:
                        body += more
            found = msgspec.json.decode(body) if body else None
            return found if isinstance(found, dict) else None
        except (ApiError, TimeoutError, OSError, aiohttp.ClientError, msgspec.DecodeError):
            return None


# --- from a summary to metrics ----------------------------------------------------------------------------------------------


def node_metrics(summary: Object) -> Object | None:
    node = summary.get("node") or {}
    usage = _usage(node)
    if usage is None or not node.get("nodeName"):
        return None
    return {"kind": "NodeMetrics", "apiVersion": NODES.api_version, "metadata": {"name": node["nodeName"]}, **_taken(node), "usage": usage}


def pods_metrics(summary: Object) -> list[Object]:
    """Pods of which every container has figures: half a pod's figures would look like a small pod."""
    found = []
    for pod in summary.get("pods") or ():
        about = pod.get("podRef") or {}
        told = [(each.get("name", ""), _usage(each)) for each in pod.get("containers") or ()]
        containers = [{"name": name, "usage": usage} for name, usage in told if usage is not None]
        if containers and len(containers) == len(told) and about.get("name"):
            metadata = {"name": about["name"], "namespace": about.get("namespace", "")}
            found.append(
                {"kind": "PodMetrics", "apiVersion": PODS.api_version, "metadata": metadata, **_taken(pod["containers"][0]), "containers": containers}
            )
    return found


def _usage(stats: Object) -> Object | None:
    cpu, memory = (stats.get("cpu") or {}).get("usageNanoCores"), (stats.get("memory") or {}).get("workingSetBytes")
    if cpu is None or memory is None:
        return None
    return {"cpu": f"{int(cpu)}n", "memory": f"{int(memory) // 1024}Ki"}


def _taken(stats: Object) -> Object:
    time = (stats.get("cpu") or {}).get("time") or (stats.get("memory") or {}).get("time") or "1970-01-01T00:00:00Z"
    return {"timestamp": re.sub(r"\.\d+", "", time), "window": f"{int(FRESH_S)}s"}


def _labelled(metrics: Object, about: Object) -> Object:
    metadata = {**metrics["metadata"], "creationTimestamp": metrics["timestamp"]}
    if labels := labels_of(about):
        metadata["labels"] = labels
    return {**metrics, "metadata": metadata}
