"""A deployment's status: counts, whether it is available, whether it gets on (pkg/controller/deployment/progress.go and sync.go). Pure."""

import json
from collections.abc import Sequence

from agents.controllers import rollout
from agents.kit.times import to_seconds, to_text
from apiserver.machinery.conditions import condition, without
from apiserver.machinery.objects import Object, name_of

NO_DEADLINE = 2**31 - 1
"""progressDeadlineSeconds of this value means: none."""


def deadline_s(deployment: Object) -> int | None:
    found = deployment["spec"].get("progressDeadlineSeconds")
    return None if found in (None, NO_DEADLINE) else int(found)


def counts(deployment: Object, sets: Sequence[Object], new: Object | None) -> Object:
    """The numbers of the status, from what the ReplicaSets report."""
    available = rollout.available(sets)
    numbers = {
        "replicas": sum(rollout.ready(rs, "replicas") for rs in sets),
        "updatedReplicas": rollout.ready(new, "replicas") if new is not None else 0,
        "readyReplicas": sum(rollout.ready(rs, "readyReplicas") for rs in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(rollout.total(sets) - available, 0),
    }
    status = {name: number for name, number in numbers.items() if number}
    status["observedGeneration"] = deployment["metadata"].get("generation", 0)
    if (collisions := (deployment.get("status") or {}).get("collisionCount")) is not None:
        status["collisionCount"] = collisions
    return status


def is_complete(deployment: Object, status: Object) -> bool:
    """All pods are of the new template and available, and no old ones are left."""
    wanted = rollout.replicas_of(deployment)
    same = all(status.get(field, 0) == wanted for field in ("updatedReplicas", "replicas", "availableReplicas"))
    return same and status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)


def is_progressing(deployment: Object, status: Object) -> bool:
    """Whether this status is further than the last one."""
    before = deployment.get("status") or {}

    def grew(field: str) -> bool:
        return int(status.get(field, 0)) > int(before.get(field, 0))

    old_now = status.get("replicas", 0) - status.get("updatedReplicas", 0)
    old_before = before.get("replicas", 0) - before.get("updatedReplicas", 0)
    return grew("updatedReplicas") or old_now < old_before or grew("readyReplicas") or grew("availableReplicas")


def is_timed_out(deployment: Object, status: Object, now_s: float) -> bool:
    found, limit_s = condition(status, "Progressing"), deadline_s(deployment)
    if found is None or limit_s is None or found.get("reason") == "NewReplicaSetAvailable":
        return False
    return found.get("reason") == "ProgressDeadlineExceeded" or to_seconds(found.get("lastUpdateTime")) + limit_s < now_s


def progressing(reason: str, message: str, truth: str = "True") -> Object:
    return {"type": "Progressing", "status": truth, "reason": reason, "message": message}


def put(status: Object, new: Object, now: str, *, update: bool = False) -> None:
    """Set a condition in `status`. `update` renews lastUpdateTime although status and reason are the same: it is what the deadline counts from."""
    conditions = list(status.get("conditions") or ())
    before = condition(status, new["type"])
    if before is not None and before["status"] == new["status"] and before.get("reason") == new["reason"] and not update:
        return
    moved = before["lastTransitionTime"] if before is not None and before["status"] == new["status"] else now
    changed = {**new, "lastUpdateTime": now, "lastTransitionTime": moved}
    status["conditions"] = [*without(conditions, new["type"]), changed]


def remove(status: Object, type_: str) -> None:
    kept = without(status.get("conditions") or (), type_)
    if kept:
        status["conditions"] = kept
    else:
        status.pop("conditions", None)


def with_availability(deployment: Object, status: Object, now: str) -> None:
    minimum = rollout.replicas_of(deployment) - rollout.bounds(deployment).unavailable
    if status.get("availableReplicas", 0) >= minimum:
        told = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        told = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    put(status, {"type": "Available", "status": told[0], "reason": told[1], "message": told[2]}, now)


def settled(deployment: Object, sets: Sequence[Object], new: Object | None, conditions: Sequence[Object], now_s: float, *, rolling: bool) -> Object:
    """The whole status. `conditions` are those that this round set so far; `rolling` is False for a round that only sizes or pauses."""
    now = to_text(now_s)
    status = counts(deployment, sets, new)
    if conditions:
        status["conditions"] = list(conditions)
    with_availability(deployment, status, now)
    if rolling and deadline_s(deployment) is not None:
        _with_progress(deployment, status, new, now_s)
    if rolling:
        _with_failures(status, sets, new, now)
    return status


def _with_progress(deployment: Object, status: Object, new: Object | None, now_s: float) -> None:
    found = condition(status, "Progressing")
    done = status.get("replicas", 0) == status.get("updatedReplicas", 0) and found is not None and found["reason"] == "NewReplicaSetAvailable"
    if done:
        return
    called = f"ReplicaSet {json.dumps(name_of(new))}" if new is not None else f"Deployment {json.dumps(name_of(deployment))}"
    now = to_text(now_s)
    if is_complete(deployment, status):
        put(status, progressing("NewReplicaSetAvailable", f"{called} has successfully progressed."), now)
    elif is_progressing(deployment, status):
        put(status, progressing("ReplicaSetUpdated", f"{called} is progressing."), now, update=True)
    elif is_timed_out(deployment, status, now_s):
        put(status, progressing("ProgressDeadlineExceeded", f"{called} has timed out progressing.", "False"), now)


def _with_failures(status: Object, sets: Sequence[Object], new: Object | None, now: str) -> None:
    """A ReplicaSet that cannot make pods shows at the deployment; the new one's trouble first."""
    ordered = [*([new] if new is not None else []), *(rs for rs in sets if rs is not new)]
    failure = next((found for rs in ordered if (found := condition(rs.get("status") or {}, "ReplicaFailure")) is not None), None)
    if failure is None:
        remove(status, "ReplicaFailure")
        return
    put(status, {key: failure.get(key, "") for key in ("type", "status", "reason", "message")}, now)


def look_again_s(deployment: Object, status: Object, now_s: float) -> float | None:
    """When the deadline will have passed, if it counts now (requeueStuckDeployment)."""
    found, limit_s = condition(status, "Progressing"), deadline_s(deployment)
    if found is None or limit_s is None or is_complete(deployment, status) or found.get("reason") == "ProgressDeadlineExceeded":
        return None
    return max(to_seconds(found.get("lastUpdateTime")) + limit_s - now_s, 0.0) + 1.0
