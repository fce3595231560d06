"""What pods say about their job: indexes, failures and how they are judged, back-off (pkg/controller/job: indexed_job_utils, pod_failure_policy,
backoff_utils, success_policy). Pure."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from agents.controllers.pods import phase
from agents.kit.times import created_s, to_seconds
from apiserver.machinery.conditions import condition
from apiserver.machinery.objects import Object, annotations_of, is_terminating, labels_of, name_of, namespace_of

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
BACKOFF_BASE_S, BACKOFF_MAX_S = 10.0, 600.0


def is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def only_replaces_failed(job: Object) -> bool:
    """podReplacementPolicy Failed, which a failure policy implies: a pod on its way out is not replaced before it has ended."""
    return bool(job["spec"].get("podReplacementPolicy") == "Failed" or job["spec"].get("podFailurePolicy"))


def has_failed(pod: Object, job: Object) -> bool:
    if phase(pod) == "Failed":
        return True
    return not only_replaces_failed(job) and is_terminating(pod) and phase(pod) != "Succeeded"


def has_succeeded(pod: Object) -> bool:
    return phase(pod) == "Succeeded"


def is_tracked(pod: Object) -> bool:
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


# --- indexes ----------------------------------------------------------------------------------------------------------


def index_of(pod: Object) -> int:
    """-1 for a pod without one."""
    text = annotations_of(pod).get(INDEX) or labels_of(pod).get(INDEX, "")
    return int(text) if text.isdigit() else -1


def parse_indexes(text: str) -> set[int]:
    """`0-2,5` and so on."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def format_indexes(indexes: Iterable[int]) -> str:
    parts: list[list[int]] = []
    for each in sorted(indexes):
        if parts and each == parts[-1][1] + 1:
            parts[-1][1] = each
        else:
            parts.append([each, each])
    # Two neighbours are written apart, as upstream: "0,1", but "0-2".
    return ",".join(str(a) if a == b else f"{a},{b}" if b == a + 1 else f"{a}-{b}" for a, b in parts)


def pending_indexes(completions: int, taken: set[int], count: int) -> list[int]:
    """The first `count` indexes that nobody has."""
    found: list[int] = []
    for index in range(completions):
        if len(found) >= count:
            break
        if index not in taken:
            found.append(index)
    return found


def failures_of(index: int, pods: Sequence[Object], job: Object) -> int:
    """How often an index has failed, as far as its pods tell."""
    counts = [_noted_failures(pod) + 1 for pod in pods if index_of(pod) == index and has_failed(pod, job) and judged(job, pod).action != "Ignore"]
    return max(counts, default=0)


def _noted_failures(pod: Object) -> int:
    text = annotations_of(pod).get(INDEX_FAILURES, "0")
    return int(text) if text.isdigit() else 0


# --- failures ---------------------------------------------------------------------------------------------------------


class Judgement(Struct, frozen=True):
    """What podFailurePolicy makes of a failed pod: Count, Ignore, FailJob or FailIndex; the message for FailJob."""

    action: str = "Count"
    message: str = ""


def judged(job: Object, pod: Object) -> Judgement:
    """The first rule that fits; only pods that have really ended are judged."""
    policy = job["spec"].get("podFailurePolicy")
    if not policy or phase(pod) != "Failed":
        return Judgement()
    for at, rule in enumerate(policy.get("rules") or ()):
        action = rule["action"]
        told = _exit_codes(rule.get("onExitCodes"), pod) or _pod_conditions(rule.get("onPodConditions"), pod)
        if told:
            return Judgement(action, f"{told} matching {action} rule at index {at}")
    return Judgement()


def _exit_codes(wanted: Object | None, pod: Object) -> str:
    if not wanted:
        return ""
    status = pod.get("status") or {}
    for each in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        ended = (each.get("state") or {}).get("terminated")
        if ended is None or wanted.get("containerName") not in (None, "", each["name"]) or not ended.get("exitCode"):
            continue
        inside = ended["exitCode"] in wanted["values"]
        if inside == (wanted["operator"] == "In"):
            return f"Container {each['name']} for pod {namespace_of(pod)}/{name_of(pod)} failed with exit code {ended['exitCode']}"
    return ""


def _pod_conditions(wanted: Sequence[Object] | None, pod: Object) -> str:
    for each in wanted or ():
        found = condition(pod.get("status") or {}, each["type"])
        if found is not None and found.get("status") == (each.get("status") or "True"):
            return f"Pod {namespace_of(pod)}/{name_of(pod)} has condition {each['type']}"
    return ""


def finished_s(pod: Object) -> float:
    """When its last container ended; else when it was deleted or last changed its readiness; else when it was made."""
    status = pod.get("status") or {}
    ends = [to_seconds(((each.get("state") or {}).get("terminated") or {}).get("finishedAt")) for each in status.get("containerStatuses") or ()]
    if any(ends):
        return max(ends)
    if deleted := pod["metadata"].get("deletionTimestamp"):
        return to_seconds(deleted) - float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
    ready = condition(status, "Ready")
    return to_seconds(ready.get("lastTransitionTime")) if ready is not None else created_s(pod)


def backoff_left_s(job: Object, pods: Sequence[Object], now_s: float) -> float:
    """How long to wait before the next pod: 10 s, 20 s, ... 10 min after the last of as many failures since the last success."""
    ended = sorted((finished_s(pod), has_succeeded(pod)) for pod in pods if has_succeeded(pod) or has_failed(pod, job))
    failures, last_s = 0, 0.0
    for at_s, succeeded in ended:
        failures, last_s = (0, 0.0) if succeeded else (failures + 1, at_s)
    if not failures:
        return 0.0
    return float(max(last_s + min(BACKOFF_BASE_S * 2 ** min(failures - 1, 30), BACKOFF_MAX_S) - now_s, 0.0))


def restarts_exceed(job: Object, pods: Sequence[Object]) -> bool:
    """For restartPolicy OnFailure: containers were restarted too often in place."""
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    limit = job["spec"].get("backoffLimit", 6)
    restarts = 0
    for pod in pods:
        if phase(pod) in ("Running", "Pending"):
            status = pod.get("status") or {}
            restarts += sum(
                each.get("restartCount", 0) for each in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
            )
    return restarts > 0 if limit == 0 else restarts >= limit


def matched_success(job: Object, done: set[int]) -> int | None:
    """The index of the first rule of successPolicy that is met."""
    for at, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        wanted = parse_indexes(rule["succeededIndexes"]) if rule.get("succeededIndexes") else None
        met = done if wanted is None else done & wanted
        needed = rule.get("succeededCount")
        if len(met) >= (needed if needed is not None else len(wanted or ()) or len(done) + 1):
            return at
    return None
