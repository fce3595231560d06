"""metrics.k8s.io: figures out of the nodes' summaries, gathered no more often than they are good for."""

import asyncio

import pytest

from apiserver.handlers.metrics_api import FRESH_S, NODES, PODS, MetricsApi, node_metrics, pods_metrics
from apiserver.machinery.status import ApiError
from apiserver.streams.kubelets import Kubelets
from tests.support.kubelet import FakeKubelet
from tests.unit.apiserver.handlers.test_proxy import Objects


def stats(cpu, memory, **more):
    time = "2026-01-01T00:00:00.123456Z"
    return {"cpu": {"time": time, "usageNanoCores": cpu}, "memory": {"time": time, "workingSetBytes": memory}, **more}


SUMMARY = {
    "node": stats(250_000_000, 1 << 30, nodeName="node-1"),
    "pods": [
        {"podRef": {"name": "p", "namespace": "d"}, "containers": [stats(1_000_000, 2048, name="main")]},
        {"podRef": {"name": "half", "namespace": "d"}, "containers": [stats(1, 1, name="a"), {"name": "b"}]},
        {"podRef": {"name": "gone", "namespace": "d"}, "containers": [stats(1, 1, name="a")]},
    ],
}


def test_figures_of_a_node():
    assert node_metrics(SUMMARY) == {
        "kind": "NodeMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {"name": "node-1"},
        "timestamp": "2026-01-01T00:00:00Z",
        "window": "15s",
        "usage": {"cpu": "250000000n", "memory": "1048576Ki"},
    }
    assert node_metrics({"node": {"nodeName": "new"}}) is None


def test_a_pod_of_which_a_container_has_no_figures_has_none():
    assert [each["metadata"]["name"] for each in pods_metrics(SUMMARY)] == ["p", "gone"]


def test_lists_know_what_is_there_and_ask_once_while_figures_are_good():
    async def run():
        async with FakeKubelet().running() as kubelet:
            kubelet.stats = SUMMARY
            silent = {"metadata": {"name": "silent"}, "status": {}}
            pod = {"metadata": {"name": "p", "namespace": "d", "labels": {"app": "x"}}}
            reader = Objects(nodes=[kubelet.node(), silent], pods=[pod])

            async def node(name):
                return reader.get("nodes", "", name)

            clock = [0.0]
            kubelets = Kubelets(node, None)
            api = MetricsApi(kubelets, reader, lambda: clock[0])
            nodes, pods = await asyncio.gather(api.list(NODES), api.list(PODS, "d"))
            assert [each["metadata"]["name"] for each in nodes] == ["node-1"]
            assert [each["containers"] for each in pods] == [[{"name": "main", "usage": {"cpu": "1000000n", "memory": "2Ki"}}]]
            assert (await api.get(PODS, "d", "p"))["metadata"]["labels"] == {"app": "x"}
            with pytest.raises(ApiError, match=r'pods\.metrics\.k8s\.io "d/q" not found'):
                await api.get(PODS, "d", "q")
            assert len(kubelet.asked) == 1
            clock[0] += FRESH_S
            await api.list(NODES)
            assert len(kubelet.asked) == 2
            await kubelets.close()

    asyncio.run(run())
