"""Waiting for the control plane: each API server ready, then each node Ready, told as it comes."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from keelson.launcher import processes
from keelson.launcher.cluster import Cluster
from keelson.launcher.control_plane import files_of

POLL_S = 0.1
ASK_TIMEOUT_S = 2.0

Tell = Callable[[str], None]
Check = Callable[[], None]
"""Raises if there is no use in waiting any longer."""


class NotArrived(Exception):
    """Who was still missing when time was up, by name, and why."""

    def __init__(self, missing: dict[str, str]) -> None:
        super().__init__(", ".join(missing))
        self.missing = missing


def wait(cluster: Cluster, wait_s: float, tell: Tell, check: Check) -> None:
    """Raises NotArrived, and whatever `check` raises."""
    asyncio.run(_wait(cluster, wait_s, tell, check))


async def _wait(cluster: Cluster, wait_s: float, tell: Tell, check: Check) -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    waiting = _names(cluster)
    tell(f"waiting for {', '.join(waiting)} ...")
    while True:
        missing = await missing_now(cluster)
        for name in [name for name in waiting if name not in missing]:
            waiting.remove(name)
            tell(f"{name} is ready ({loop.time() - began_s:.1f} s)")
        if not missing:
            return
        check()
        if loop.time() - began_s > wait_s:
            raise NotArrived(missing)
        await asyncio.sleep(POLL_S)


def _names(cluster: Cluster) -> list[str]:
    plan = cluster.control_plane
    assert plan is not None, "asked only of a cluster that has one"
    return [*(f"apiserver-{number}" for number in range(1, plan.api_servers + 1)), *plan.node_names]


async def missing_now(cluster: Cluster) -> dict[str, str]:
    """API servers and nodes that are not ready, and why."""
    from apiserver.client.kubeconfig import load  # only here: aiohttp takes longer to import than most commands need
    from apiserver.client.rest import Client

    plan = cluster.control_plane
    assert plan is not None, "asked only of a cluster that has one"
    access = load(files_of(cluster.folder).admin)
    missing: dict[str, str] = {}
    for number, port in enumerate(plan.api_server_ports, 1):
        async with Client(_only(access, f"https://127.0.0.1:{port}"), timeout_s=ASK_TIMEOUT_S) as client:
            if (why := await _readiness(client)) is not None:
                missing[f"apiserver-{number}"] = why
    if not plan.nodes:
        return missing
    async with Client(_only(access, *(f"https://127.0.0.1:{port}" for port in plan.api_server_ports)), timeout_s=ASK_TIMEOUT_S) as client:
        nodes = await _nodes(client) if len(missing) < plan.api_servers else {}
    for name in plan.node_names:
        why = "not registered" if name not in nodes else why_not_ready(nodes[name], _kubelet_since_s(cluster, name))
        if why is not None:
            missing[name] = why
    return missing


async def _readiness(client: Any) -> str | None:
    """None if it is ready."""
    from apiserver.client.errors import Unreachable

    try:
        code, _, body = await client.request("GET", "/readyz")
    except Unreachable as error:
        return str(error)
    return None if code == 200 else body[:500].decode(errors="replace")


def _kubelet_since_s(cluster: Cluster, node: str) -> float | None:
    """When the kubelet of `node` was started, by the wall clock; None if it does not run."""
    identity = processes.running(cluster.folder, f"kubelet-{node}")
    return None if identity is None else time.time() - processes.running_for_s(identity)


async def _nodes(client: Any) -> dict[str, dict[str, Any]]:
    """Those that are registered, by name."""
    from apiserver.client.errors import Unreachable
    from apiserver.machinery.resources import resource
    from apiserver.machinery.status import ApiError

    try:
        listed = await client.list(resource("nodes"))
    except (Unreachable, ApiError):
        return {}
    return {item["metadata"]["name"]: item for item in listed.get("items") or ()}


def why_not_ready(node: dict[str, Any], kubelet_since_s: float | None) -> str | None:
    """None if it is ready, and its kubelet has said so since it was started at `kubelet_since_s`: what the kubelet of an earlier run said stays
    in the store. None there: no kubelet runs."""
    from agents.kit.times import to_seconds

    if kubelet_since_s is None:
        return "its kubelet does not run"
    for condition in (node.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready":
            if condition["status"] != "True":
                return str(condition.get("message") or "not ready")
            # Heartbeats are told in whole seconds.
            return None if to_seconds(condition.get("lastHeartbeatTime")) >= int(kubelet_since_s) else "its kubelet has not reported yet"
    return "no Ready condition yet"


def _only(access: Any, *servers: str) -> Any:
    from msgspec.structs import replace

    return replace(access, servers=servers)
