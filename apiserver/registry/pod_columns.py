"""The columns of pods: what READY, STATUS and RESTARTS say (pkg/printers/internalversion/printers.go, printPod)."""

from datetime import datetime
from typing import Any

from apiserver.machinery import timestamps
from apiserver.machinery.objects import Object, name_of
from apiserver.registry.column import NONE, Printer, age, at, columns

_TERMINAL = ("Succeeded", "Failed")


def cells(pod: Object, now: datetime) -> list[Any]:
    ready, total, reason, restarts = summary(pod, now)
    gates = at(pod, "spec.readinessGates", [])
    met = sum(1 for gate in gates if _condition(pod, gate.get("conditionType", "")) == "True")
    addresses = at(pod, "status.podIPs", [])
    return [
        name_of(pod),
        f"{ready}/{total}",
        reason,
        restarts,
        age(pod, now),
        (addresses[0].get("ip") if addresses else at(pod, "status.podIP")) or NONE,
        at(pod, "spec.nodeName") or NONE,
        at(pod, "status.nominatedNodeName") or NONE,
        f"{met}/{len(gates)}" if gates else NONE,
    ]


def conditions(pod: Object) -> list[Any]:
    """A finished pod's row says so."""
    phase = at(pod, "status.phase")
    if phase not in _TERMINAL:
        return []
    message = "The pod has completed successfully." if phase == "Succeeded" else "The pod failed."
    return [{"type": "Completed", "status": "True", "reason": phase, "message": message}]


PRINTER = Printer(columns("Name, Ready, Status, Restarts, Age", "IP, Node, Nominated Node, Readiness Gates"), cells, conditions)


class _Restarts:
    """How often containers were started again, and when it was last."""

    def __init__(self) -> None:
        self.count = 0
        self.last = ""

    def add(self, status: Object) -> None:
        self.count += status.get("restartCount") or 0
        ended = at(status, "lastState.terminated.finishedAt", "")
        self.last = max(self.last, ended)

    def shown(self, now: datetime) -> str:
        return f"{self.count} ({timestamps.age(self.last, now)} ago)" if self.count and self.last else str(self.count)


def summary(pod: Object, now: datetime) -> tuple[int, int, str, str]:
    """(ready containers, all containers, status, restarts)."""
    phase = at(pod, "status.phase", "")
    reason = at(pod, "status.reason") or phase
    if any(each.get("type") == "PodScheduled" and each.get("reason") == "SchedulingGated" for each in at(pod, "status.conditions", [])):
        reason = "SchedulingGated"
    sidecars = {each.get("name") for each in at(pod, "spec.initContainers", []) if each.get("restartPolicy") == "Always"}
    total = len(at(pod, "spec.containers", [])) + len(sidecars)
    ready, initializing, restarts, sidecar_restarts = 0, "", _Restarts(), _Restarts()
    for number, status in enumerate(at(pod, "status.initContainerStatuses", [])):
        restarts.add(status)
        is_sidecar = status.get("name") in sidecars
        if is_sidecar:
            sidecar_restarts.add(status)
        if at(status, "state.terminated") is not None and at(status, "state.terminated.exitCode", 0) == 0:
            continue
        if is_sidecar and status.get("started"):
            ready += bool(status.get("ready"))
            continue
        initializing = _initializing(pod, number, status)
        break
    if initializing:
        reason = initializing
    if not initializing or _condition(pod, "Initialized") == "True":
        restarts = sidecar_restarts
        ready, reason = _running(pod, ready, reason, restarts)
    if at(pod, "metadata.deletionTimestamp"):
        if at(pod, "status.reason") == "NodeLost":
            reason = "Unknown"
        elif phase not in _TERMINAL:
            reason = "Terminating"
    return ready, total, reason, restarts.shown(now)


def _initializing(pod: Object, number: int, status: Object) -> str:
    terminated, waiting = at(status, "state.terminated"), at(status, "state.waiting.reason", "")
    if terminated is not None:
        return f"Init:{_ended(terminated)}"
    if waiting and waiting != "PodInitializing":
        return f"Init:{waiting}"
    return f"Init:{number}/{len(at(pod, 'spec.initContainers', []))}"


def _ended(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode') or 0}"


def _running(pod: Object, ready: int, reason: str, restarts: _Restarts) -> tuple[int, str]:
    """(ready containers, status) once the pod is initialized: the first container's trouble is the one that is told."""
    is_running = False
    for status in reversed(at(pod, "status.containerStatuses", [])):
        restarts.add(status)
        waiting, terminated = at(status, "state.waiting.reason"), at(status, "state.terminated")
        if waiting:
            reason = waiting
        elif terminated is not None:
            reason = _ended(terminated)
        elif status.get("ready") and at(status, "state.running") is not None:
            is_running = True
            ready += 1
    if reason == "Completed" and is_running:
        reason = "Running" if _condition(pod, "Ready") == "True" else "NotReady"
    return ready, reason


def _condition(pod: Object, type_: str) -> str:
    return next((each.get("status", "") for each in at(pod, "status.conditions", []) if each.get("type") == type_), "")
