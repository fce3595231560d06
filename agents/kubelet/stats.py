"""How much the node and its containers use: /stats/summary (what `kubectl top` is made of) and /metrics/resource."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from agents.kubelet import recipe
from agents.kubelet.machine import meminfo
from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import Runtime, Usage
from agents.kubelet.shim.log import timestamp
from apiserver.machinery.objects import Object

WINDOW_S = 5.0
"""A rate is measured over this long at least; who asks more often gets the last one."""
CLOCK_TICKS = 100


class Rate(Struct):
    at_ns: int
    cpu_ns: int
    nano_cores: int | None = None


class Stats:
    """Remembers the last figures, because a rate needs two."""

    def __init__(self, runtime: Runtime, node_name: str) -> None:
        self._runtime, self._node_name = runtime, node_name
        self._rates: dict[str, Rate] = {}

    def _rate(self, name: str, at_ns: int, cpu_ns: int, since_ns: int) -> int | None:
        """Cores in billionths. The first time it is the mean since the container began."""
        known = self._rates.get(name)
        if known is None:
            span_ns = at_ns - since_ns
            rate = Rate(at_ns, cpu_ns, cpu_ns * 1_000_000_000 // span_ns if span_ns > 0 else 0)
            self._rates[name] = rate
            return rate.nano_cores
        span_ns = at_ns - known.at_ns
        if span_ns >= WINDOW_S * 1e9 and cpu_ns >= known.cpu_ns:
            self._rates[name] = Rate(at_ns, cpu_ns, (cpu_ns - known.cpu_ns) * 1_000_000_000 // span_ns)
        return self._rates[name].nano_cores

    async def containers(self) -> list[tuple[base.Container, Usage, int | None]]:
        found = []
        running = [each for each in await self._runtime.containers() if each.state == base.RUNNING]
        for each in running:
            try:
                usage = await self._runtime.usage(each.id)
            except base.RuntimeRefused:
                continue
            rate = self._rate(each.id, usage.at_ns, usage.cpu_ns, each.started_ns) if usage.cpu_ns is not None else None
            found.append((each, usage, rate))
        alive = {each.id for each in running} | {""}
        self._rates = {name: rate for name, rate in self._rates.items() if name in alive}
        return found

    async def summary(self) -> Object:
        pods: dict[str, Object] = {}
        for container, usage, rate in await self.containers():
            labels = container.labels
            about = {
                "name": labels.get(recipe.POD_NAME, ""),
                "namespace": labels.get(recipe.POD_NAMESPACE, ""),
                "uid": labels.get(recipe.POD_UID, ""),
            }
            pod = pods.setdefault(about["uid"], {"podRef": about, "startTime": timestamp(container.started_ns), "containers": []})
            pod["containers"].append({"name": container.name, "startTime": timestamp(container.started_ns), **_figures(usage, rate)})
        for pod in pods.values():
            _add_up(pod)
        return {"node": {"nodeName": self._node_name, **self._node()}, "pods": list(pods.values())}

    def _node(self) -> Object:
        at_ns = time.time_ns()
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        ticks = [int(word) for word in words]
        # user, nice, system, irq, softirq, steal: everything but idle and waiting for disks
        cpu_ns = (sum(ticks[:8]) - ticks[3] - ticks[4]) * (1_000_000_000 // CLOCK_TICKS)
        uptime_ns = int(float(Path("/proc/uptime").read_text().split()[0]) * 1e9)
        memory = meminfo()
        used = memory["MemTotal"] - memory["MemAvailable"]
        usage = Usage(at_ns, cpu_ns, memory["MemTotal"] - memory["MemFree"], used)
        figures = _figures(usage, self._rate("", at_ns, cpu_ns, at_ns - uptime_ns))
        figures["memory"]["availableBytes"] = memory["MemAvailable"]
        return figures

    async def metrics(self) -> Iterable[Any]:
        """Prometheus families as upstream's /metrics/resource has them."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        names = ["container", "namespace", "pod"]
        cpu = CounterMetricFamily("container_cpu_usage_seconds", "Cumulative cpu time consumed by the container in core-seconds", labels=names)
        memory = GaugeMetricFamily("container_memory_working_set_bytes", "Current working set of the container in bytes", labels=names)
        started = GaugeMetricFamily("container_start_time_seconds", "Start time of the container since unix epoch in seconds", labels=names)
        for container, usage, _ in await self.containers():
            labels = [container.name, container.labels.get(recipe.POD_NAMESPACE, ""), container.labels.get(recipe.POD_NAME, "")]
            if usage.cpu_ns is not None:
                cpu.add_metric(labels, usage.cpu_ns / 1e9)
            if usage.working_set_bytes is not None:
                memory.add_metric(labels, usage.working_set_bytes)
            started.add_metric(labels, container.started_ns / 1e9)
        node = self._node()
        node_cpu = CounterMetricFamily("node_cpu_usage_seconds", "Cumulative cpu time consumed by the node in core-seconds")
        node_cpu.add_metric([], node["cpu"]["usageCoreNanoSeconds"] / 1e9)
        node_memory = GaugeMetricFamily("node_memory_working_set_bytes", "Current working set of the node in bytes")
        node_memory.add_metric([], node["memory"]["workingSetBytes"])
        return [cpu, memory, started, node_cpu, node_memory]


def _figures(usage: Usage, rate: int | None) -> Object:
    at = timestamp(usage.at_ns)
    cpu: Object = {"time": at}
    if usage.cpu_ns is not None:
        cpu |= {"usageNanoCores": rate, "usageCoreNanoSeconds": usage.cpu_ns}
    memory: Object = {"time": at}
    if usage.working_set_bytes is not None:
        memory |= {"workingSetBytes": usage.working_set_bytes, "usageBytes": usage.memory_bytes}
    return {"cpu": cpu, "memory": memory}


def _add_up(pod: Object) -> None:
    for group, fields in (("cpu", ("usageNanoCores", "usageCoreNanoSeconds")), ("memory", ("workingSetBytes", "usageBytes"))):
        parts = [each[group] for each in pod["containers"]]
        pod[group] = {"time": parts[0]["time"]}
        for field in fields:
            if all(each.get(field) is not None for each in parts):
                pod[group][field] = sum(each[field] for each in parts)
