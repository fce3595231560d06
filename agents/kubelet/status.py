"""A pod's status from what is seen of it: container states, phase, conditions (kubelet's generateAPIPodStatus). Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from agents.kit.times import to_text
from agents.kubelet import pods
from agents.kubelet.runtime import base
from apiserver.machinery.objects import Object

RUNNING, PENDING, SUCCEEDED, FAILED = "Running", "Pending", "Succeeded", "Failed"
MESSAGE_BYTES_MAX = 4096
MERGED_BY_IP = {"podIPs", "hostIPs"}
"""Lists that a patch adds to: what shall go has to be named. All others are replaced, but for the conditions."""


class Waiting(Struct, frozen=True):
    reason: str
    message: str = ""


class Seen(Struct):
    """What the worker knows. `history`: containers of a name, oldest first. `messages`: termination messages by container id."""

    history: Mapping[str, Sequence[base.Container]] = {}
    waiting: Mapping[str, Waiting] = {}
    started: frozenset[str] = frozenset()
    ready: frozenset[str] = frozenset()
    messages: Mapping[str, str] = {}
    images: Mapping[str, str] = {}
    """Names of images by the id under which they are in the store."""
    sandbox_ready: bool = False
    pod_ip: str = ""
    host_ip: str = ""
    runtime_name: str = "keelson"
    phase: str = ""
    """Given where the kubelet has decided: a pod that was refused, evicted, or is over."""
    reason: str = ""
    message: str = ""
    disrupted: bool = False
    terminating: bool = False
    """All has ended and nothing will start: what never ran is shown as terminated."""
    now_s: float = 0.0


def pod_status(pod: Object, seen: Seen) -> Object:
    """The whole status as the kubelet sees it."""
    inits = [container_status(pod, each, seen, "PodInitializing") for each in pods.init_containers(pod)]
    first = "PodInitializing" if inits else "ContainerCreating"
    mains = [container_status(pod, each, seen, first) for each in pods.containers(pod)]
    ephemeral = [container_status(pod, each, seen, "ContainerCreating") for each in pods.ephemeral_containers(pod)]
    old = pod.get("status") or {}
    phase = seen.phase or phase_of(pod, inits, mains)
    status: Object = {"phase": phase, "qosClass": old.get("qosClass") or pods.qos_class(pod)}
    if pod["metadata"].get("generation") is not None:
        status["observedGeneration"] = pod["metadata"]["generation"]
    status |= {key: value for key, value in (("reason", seen.reason), ("message", seen.message)) if value}
    status["startTime"] = old.get("startTime") or to_text(seen.now_s)
    if seen.host_ip:
        status |= {"hostIP": seen.host_ip, "hostIPs": [{"ip": seen.host_ip}]}
    if seen.pod_ip:
        status |= {"podIP": seen.pod_ip, "podIPs": [{"ip": seen.pod_ip}]}
    if inits:
        status["initContainerStatuses"] = inits
    status["containerStatuses"] = mains
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    status["conditions"] = conditions(pod, inits, mains, phase, seen)
    return status


def container_status(pod: Object, container: Object, seen: Seen, first: str) -> Object:
    """One entry of containerStatuses. `first` is the reason of waiting of one that was never begun."""
    name = container["name"]
    history = list(seen.history.get(name) or ())
    latest = history[-1] if history else None
    before = history[-2] if len(history) > 1 else None
    waiting = seen.waiting.get(name)
    init = container in pods.init_containers(pod)
    restart_count = latest.attempt if latest is not None else 0
    told = next((each for each in pods.told_statuses(pod) if each["name"] == name), {})
    if latest is None and seen.terminating and "terminated" in (told.get("state") or {}):
        return told  # its end was told, and nothing is left of it
    found: Object = {
        "name": name,
        "state": {},
        "lastState": told.get("lastState") or {},
        "ready": False,
        "restartCount": restart_count,
        "image": container.get("image", ""),
        "imageID": "",
        "started": False,
    }
    if latest is not None:
        found["image"] = seen.images.get(latest.image_id) or latest.image
        found["imageID"] = latest.image_id
        found["containerID"] = f"{seen.runtime_name}://{latest.id}"
    if latest is not None and latest.state == base.RUNNING:
        found["state"] = {"running": {"startedAt": to_text(latest.started_ns / 1e9)}}
        found["started"] = name in seen.started
        found["ready"] = name in seen.ready
    elif latest is not None and latest.state == base.EXITED and (waiting is None or seen.terminating):
        found["state"] = {"terminated": terminated(latest, seen)}
        found["ready"] = init and latest.exit_code == 0 and not pods.is_sidecar(container)
    else:
        found["state"] = {"waiting": _told(waiting or Waiting(first))}
        if latest is not None and latest.state == base.EXITED:
            before = latest
        if seen.terminating:
            found["state"] = {"terminated": _never_seen()} if seen.phase != FAILED or not seen.reason else found["state"]
    if before is not None and before.state == base.EXITED:
        found["lastState"] = {"terminated": terminated(before, seen)}
    return found


def _told(waiting: Waiting) -> Object:
    return {"reason": waiting.reason, **({"message": waiting.message} if waiting.message else {})}


def _never_seen() -> Object:
    text = "The container could not be located when the pod was terminated"
    return {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": text, "startedAt": None, "finishedAt": None}


def terminated(container: base.Container, seen: Seen) -> Object:
    found: Object = {
        "exitCode": container.exit_code,
        "reason": container.reason or ("Completed" if container.exit_code == 0 else "Error"),
        "startedAt": to_text(container.started_ns / 1e9),
        "finishedAt": to_text(container.finished_ns / 1e9),
        "containerID": f"{seen.runtime_name}://{container.id}",
    }
    message = seen.messages.get(container.id) or container.message
    if message:
        found["message"] = message.encode()[:MESSAGE_BYTES_MAX].decode(errors="ignore")
    return found


def phase_of(pod: Object, inits: Sequence[Object], mains: Sequence[Object]) -> str:
    """kubelet's getPhase."""
    policy = pods.restart_policy(pod)
    for spec, each in zip(pods.init_containers(pod), inits, strict=True):
        ended = each["state"].get("terminated")
        if pods.is_sidecar(spec):
            if not each["started"] and not any("running" in main["state"] or "terminated" in main["state"] for main in mains):
                return PENDING
            continue
        if ended is None and (each["lastState"].get("terminated") or {}).get("exitCode", 1) != 0:
            return PENDING
        if ended is not None and ended["exitCode"] != 0:
            return FAILED if policy == "Never" else PENDING
    running = stopped = succeeded = waiting = 0
    for each in mains:
        if "running" in each["state"]:
            running += 1
        elif "terminated" in each["state"]:
            stopped += 1
            succeeded += each["state"]["terminated"]["exitCode"] == 0
        elif each["lastState"]:
            stopped += 1
        else:
            waiting += 1
    if waiting:
        return PENDING
    if running:
        return RUNNING
    if stopped:
        if policy == "Always":
            return RUNNING
        if stopped == succeeded:
            return SUCCEEDED
        return FAILED if policy == "Never" else RUNNING
    return PENDING


def conditions(pod: Object, inits: Sequence[Object], mains: Sequence[Object], phase: str, seen: Seen) -> list[Object]:
    """Ours; those of others stay as they are. A condition keeps the time at which it last changed."""
    old = {each["type"]: each for each in (pod.get("status") or {}).get("conditions") or ()}
    wanted: list[Object] = [
        _condition("PodReadyToStartContainers", seen.sandbox_ready),
        _initialized(pod, inits, mains, phase),
        *_ready(pod, mains, phase, old),
        _condition("PodScheduled", True),
        *([_condition("DisruptionTarget", True, "TerminationByKubelet", seen.message)] if seen.disrupted else []),
    ]
    now = to_text(seen.now_s)
    found = []
    for each in wanted:
        before = old.pop(each["type"], None)
        same = before is not None and before.get("status") == each["status"]
        each["lastTransitionTime"] = before.get("lastTransitionTime") or now if same and before else now
        found.append({"lastProbeTime": None, **each})
    return found + list(old.values())


def _condition(kind: str, holds: bool, reason: str = "", message: str = "") -> Object:
    found = {"type": kind, "status": "True" if holds else "False"}
    return found | {key: value for key, value in (("reason", reason), ("message", message)) if value}


def _initialized(pod: Object, inits: Sequence[Object], mains: Sequence[Object], phase: str) -> Object:
    begun = any("running" in each["state"] or each["state"].get("terminated", {}).get("startedAt") or each["lastState"] for each in mains)
    missing = []
    for spec, each in zip(pods.init_containers(pod), inits, strict=True):
        over = (each["state"].get("terminated") or each["lastState"].get("terminated") or {}).get("exitCode") == 0
        if not (each["started"] if pods.is_sidecar(spec) else over):
            missing.append(each["name"])
    if phase == SUCCEEDED:
        return _condition("Initialized", True, "PodCompleted")
    if missing and not begun:
        return _condition("Initialized", False, "ContainersNotInitialized", f"containers with incomplete status: {go_list(missing)}")
    return _condition("Initialized", True)


def _ready(pod: Object, mains: Sequence[Object], phase: str, old: Mapping[str, Any]) -> list[Object]:
    """Ready and ContainersReady."""
    if phase in (SUCCEEDED, FAILED):
        reason = "PodCompleted" if phase == SUCCEEDED else "PodFailed"
        return [_condition(kind, False, reason) for kind in ("Ready", "ContainersReady")]
    unready = [each["name"] for each in mains if not each["ready"]]
    if unready:
        text = f"containers with unready status: {go_list(unready)}"
        return [_condition(kind, False, "ContainersNotReady", text) for kind in ("Ready", "ContainersReady")]
    missing = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        if kind not in old:
            missing.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif old[kind].get("status") != "True":
            missing.append(f'the status of pod readiness gate "{kind}" is not "True", but {old[kind].get("status")}')
    ready = _condition("Ready", False, "ReadinessGatesNotReady", ", ".join(missing)) if missing else _condition("Ready", True)
    return [ready, _condition("ContainersReady", True)]


def go_list(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"


def patch(pod: Object, wanted: Object) -> Object | None:
    """The strategic merge patch that brings the pod's status to `wanted`; None if it is there."""
    old = pod.get("status") or {}
    changed: Object = {key: value for key, value in wanted.items() if key != "conditions" and old.get(key) != value}
    changed |= {key: None for key in ("reason", "message") if key in old and key not in wanted}
    for key in MERGED_BY_IP & changed.keys():
        kept = {each["ip"] for each in wanted[key]}
        changed[key] = [*wanted[key], *({"$patch": "delete", "ip": each["ip"]} for each in old.get(key) or () if each["ip"] not in kept)]
    before = {each["type"]: each for each in old.get("conditions") or ()}
    different = [each for each in wanted["conditions"] if _without_nulls(before.get(each["type"]) or {}) != _without_nulls(each)]
    if different:
        changed["conditions"] = [
            {**each, **{key: None for key in ("reason", "message") if key not in each and key in before.get(each["type"], {})}} for each in different
        ]
    return {"metadata": {"uid": pod["metadata"]["uid"]}, "status": changed} if changed else None


def _without_nulls(obj: Mapping[str, Any]) -> Object:
    return {key: value for key, value in obj.items() if value is not None}
