"""Jobs: pods that run to their end, each counted exactly once (pkg/controller/job).

Counting survives a crash at any point, by a finalizer on each pod: (1) the uid of an ended pod is written into status.uncountedTerminatedPods,
(2) its finalizer is removed, (3) the uid is taken off the list and the count goes up, in one write. A pod can only vanish after (2).

A job ends in two steps, too: first FailureTarget or SuccessCriteriaMet says what it will be, then, when no pod runs any more, Failed or Complete
says so.
"""

import copy
from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from agents.controllers import jobstate
from agents.controllers.jobstate import FINALIZER, INDEX, INDEX_FAILURES, has_failed, has_succeeded, index_of, is_indexed, is_tracked
from agents.controllers.pods import PODS, from_template, is_finished, is_ready, rank_for_deletion
from agents.kit.actions import NORMAL, WARNING, Action, Create, Delete, Event, Patch, Requeue, SlowStart, Together, UpdateStatus
from agents.kit.controller import Controller
from agents.kit.indexer import CONTROLLER
from agents.kit.owners import claim, settle
from agents.kit.selection import matcher, matches
from agents.kit.times import to_seconds, to_text
from apiserver.machinery.conditions import condition, is_true, with_condition
from apiserver.machinery.objects import Object, controller_of, is_terminating, key_of, labels_of, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource

JOBS = resource("jobs.batch")
BURST = 500
UNCOUNTED_MAX = 500


def is_done(job: Object) -> bool:
    return is_true(job, "Complete") or is_true(job, "Failed")


class Round(Struct):
    job: Object
    pods: list[Object]
    now_s: float
    status: Object = field(default_factory=dict)
    ended: list[Object] = field(default_factory=list)
    """Tracked pods whose end the status knows: their finalizers go after it is written."""
    after: list[Action] = field(default_factory=list)
    done: set[int] = field(default_factory=set)
    failed_indexes: set[int] = field(default_factory=set)

    @property
    def spec(self) -> Object:
        spec: Object = self.job["spec"]
        return spec

    @property
    def succeeded(self) -> int:
        return len(self.done) if is_indexed(self.job) else int(self.status.get("succeeded", 0)) + len(self._uncounted("succeeded"))

    @property
    def failed(self) -> int:
        return int(self.status.get("failed", 0)) + len(self._uncounted("failed"))

    @property
    def active(self) -> list[Object]:
        return [pod for pod in self.pods if not is_finished(pod) and not is_terminating(pod)]

    @property
    def terminating(self) -> list[Object]:
        return [pod for pod in self.pods if not is_finished(pod) and is_terminating(pod)]

    def _uncounted(self, kind: str) -> list[str]:
        listed: list[str] = (self.status.get("uncountedTerminatedPods") or {}).get(kind) or []
        return listed

    def condition(self, type_: str, truth: str, reason: str, message: str) -> None:
        now = to_text(self.now_s)
        new = {"type": type_, "status": truth, "reason": reason, "message": message}
        self.status["conditions"] = with_condition(self.status.get("conditions") or (), new, now, lastProbeTime=now)


def reconcile(job: Object, pods: Sequence[Object], satisfied: bool, now_s: float) -> list[Action]:
    """`pods` are all that the job owns, ended ones included; `satisfied` says that the cache shows all that was asked for."""
    if is_done(job) or is_terminating(job):
        return list(_freed(pods))
    at = Round(job, list(pods), now_s, copy.deepcopy(job.get("status") or {}))
    at.done = jobstate.parse_indexes(at.status.get("completedIndexes") or "")
    at.failed_indexes = jobstate.parse_indexes(at.status.get("failedIndexes") or "")
    suspended = bool(at.spec.get("suspend"))
    if not suspended and "startTime" not in at.status:
        at.status["startTime"] = to_text(now_s)
    _count(at)
    _judge(at)
    work: list[Action] = []
    if condition(at.status, "FailureTarget") is not None or condition(at.status, "SuccessCriteriaMet") is not None:
        work = _stop(at, at.active) if satisfied else []
        _maybe_end(at)
    elif suspended:
        work = _stop(at, at.active) if satisfied else []
        _suspend(at)
    else:
        _resume(at)
        work = _manage(at) if satisfied else []
    _numbers(at)
    actions: list[Action] = []
    if at.status != (job.get("status") or {}):
        actions.append(UpdateStatus(JOBS, {**job, "status": at.status}))
    if at.ended:
        actions.append(Together(tuple(_freed(at.ended))))
    actions += at.after
    actions += work
    deadline_s = at.spec.get("activeDeadlineSeconds")
    if deadline_s is not None and "startTime" in at.status and not suspended and not is_done({"status": at.status}):
        actions.append(Requeue(max(to_seconds(at.status["startTime"]) + deadline_s - now_s, 0.0) + 0.1))
    return actions


# --- counting ---------------------------------------------------------------------------------------------------------


def _count(at: Round) -> None:
    """Step 3 for those whose finalizers are gone, step 1 for those that ended since."""
    tracked = {uid_of(pod) for pod in at.pods if is_tracked(pod)}
    uncounted = at.status.get("uncountedTerminatedPods") or {}
    waiting: dict[str, list[str]] = {"succeeded": [], "failed": []}
    for kind, listed in waiting.items():
        for uid in uncounted.get(kind) or ():
            if uid in tracked:
                listed.append(uid)
            else:
                at.status[kind] = at.status.get(kind, 0) + 1
    known = {uid for listed in waiting.values() for uid in listed}
    for pod in at.pods:
        if not is_tracked(pod) or len(at.ended) >= UNCOUNTED_MAX:
            continue
        if has_succeeded(pod):
            at.ended.append(pod)
            if is_indexed(at.job):
                if 0 <= index_of(pod) < int(at.spec.get("completions") or 0):
                    at.done.add(index_of(pod))
            elif uid_of(pod) not in known:
                waiting["succeeded"].append(uid_of(pod))
        elif has_failed(pod, at.job):
            at.ended.append(pod)
            if uid_of(pod) not in known and jobstate.judged(at.job, pod).action != "Ignore":
                waiting["failed"].append(uid_of(pod))
    at.status["uncountedTerminatedPods"] = {kind: listed for kind, listed in waiting.items() if listed}
    if is_indexed(at.job):
        at.done -= at.failed_indexes
        if at.done:
            at.status["completedIndexes"] = jobstate.format_indexes(at.done)


def _freed(pods: Iterable[Object]) -> Iterable[Patch]:
    """Without the finalizer the pods are anybody's; whoever changed one meanwhile makes us look again."""
    for pod in pods:
        if is_tracked(pod):
            kept = [each for each in pod["metadata"]["finalizers"] if each != FINALIZER]
            patch = {"metadata": {"finalizers": kept, "resourceVersion": pod["metadata"]["resourceVersion"]}}
            yield Patch(PODS, namespace_of(pod), name_of(pod), patch)


def _numbers(at: Round) -> None:
    terminating = len(at.terminating)
    at.status["ready"] = sum(is_ready(pod) for pod in at.active)
    at.status["terminating"] = terminating
    for name, number in (("active", len(at.active)), ("succeeded", at.succeeded if is_indexed(at.job) else at.status.get("succeeded", 0))):
        if number:
            at.status[name] = number
        else:
            at.status.pop(name, None)
    if at.failed_indexes or at.spec.get("backoffLimitPerIndex") is not None:
        at.status["failedIndexes"] = jobstate.format_indexes(at.failed_indexes)


# --- the end ----------------------------------------------------------------------------------------------------------


def _judge(at: Round) -> None:
    """Whether it is clear by now how the job ends."""
    if condition(at.status, "FailureTarget") is not None or condition(at.status, "SuccessCriteriaMet") is not None:
        return
    failure = _failure(at)
    if failure is not None:
        at.condition("FailureTarget", "True", *failure)
        return
    rule = jobstate.matched_success(at.job, at.done) if is_indexed(at.job) else None
    if rule is not None:
        at.condition("SuccessCriteriaMet", "True", "SuccessPolicy", f"Matched rules at index {rule}")
        return
    completions = at.spec.get("completions")
    if completions is None:
        complete = at.succeeded > 0 and not at.active
    else:
        complete = at.succeeded >= int(completions)
    if complete:
        at.condition("SuccessCriteriaMet", "True", "CompletionsReached", "Reached expected number of succeeded pods")


def _failure(at: Round) -> tuple[str, str] | None:
    """Reason and message, if the job has failed."""
    for pod in at.pods:
        if has_failed(pod, at.job) and (told := jobstate.judged(at.job, pod)).action == "FailJob":
            return "PodFailurePolicy", told.message
    deadline_s, started = at.spec.get("activeDeadlineSeconds"), at.status.get("startTime")
    if deadline_s is not None and started and not at.spec.get("suspend") and at.now_s - to_seconds(started) >= deadline_s:
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    per_index = at.spec.get("backoffLimitPerIndex")
    if is_indexed(at.job) and per_index is not None:
        return _failure_of_indexes(at, int(per_index))
    if at.failed > int(at.spec.get("backoffLimit", 6)) or jobstate.restarts_exceed(at.job, at.pods):
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    return None


def _failure_of_indexes(at: Round, limit: int) -> tuple[str, str] | None:
    for pod in at.pods:
        index = index_of(pod)
        if index < 0 or index in at.done or not has_failed(pod, at.job):
            continue
        given_up = jobstate.judged(at.job, pod).action == "FailIndex"
        if given_up or jobstate.failures_of(index, at.pods, at.job) > limit:
            at.failed_indexes.add(index)
    most = at.spec.get("maxFailedIndexes")
    if most is not None and len(at.failed_indexes) > int(most):
        return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
    if at.failed_indexes and len(at.failed_indexes) + len(at.done) >= int(at.spec.get("completions") or 0):
        return "FailedIndexes", "Job has failed indexes"
    return None


def _maybe_end(at: Round) -> None:
    """The final condition, when nothing runs and everything is counted."""
    if at.active or at.terminating or at.ended or any((at.status.get("uncountedTerminatedPods") or {}).values()):
        return
    failure = condition(at.status, "FailureTarget")
    if failure is not None:
        at.condition("Failed", "True", failure["reason"], failure["message"])
        at.after.append(Event(at.job, WARNING, failure["reason"], failure["message"]))
        return
    met = condition(at.status, "SuccessCriteriaMet")
    assert met is not None, "one of the two brought us here"
    at.condition("Complete", "True", met["reason"], met["message"])
    at.status["completionTime"] = to_text(at.now_s)
    at.after.append(Event(at.job, NORMAL, "Completed", "Job completed"))


# --- pods -------------------------------------------------------------------------------------------------------------


def _stop(at: Round, pods: Sequence[Object]) -> list[Action]:
    key = key_of(at.job)
    deletes = tuple(Delete(PODS, namespace_of(pod), name_of(pod), uid_of(pod), "", key, at.job) for pod in pods[:BURST])
    return [Together(deletes)] if deletes else []


def _suspend(at: Round) -> None:
    before = condition(at.status, "Suspended")
    if before is None or before["status"] != "True":
        at.condition("Suspended", "True", "JobSuspended", "Job suspended")
        at.after.append(Event(at.job, NORMAL, "Suspended", "Job suspended"))
    at.status.pop("startTime", None)


def _resume(at: Round) -> None:
    before = condition(at.status, "Suspended")
    if before is not None and before["status"] == "True":
        at.condition("Suspended", "False", "JobResumed", "Job resumed")
        at.status["startTime"] = to_text(at.now_s)
        at.after.append(Event(at.job, NORMAL, "Resumed", "Job resumed"))


def wanted_active(at: Round) -> int:
    parallelism = 1 if at.spec.get("parallelism") is None else int(at.spec["parallelism"])
    completions = at.spec.get("completions")
    if completions is None:
        # A queue of work: the first that ends well says that there is none left, and no more are started.
        return len(at.active) if at.succeeded > 0 else parallelism
    left = int(completions) - at.succeeded - (len(at.failed_indexes) if is_indexed(at.job) else 0)
    return max(min(parallelism, left), 0)


def _manage(at: Round) -> list[Action]:
    active, wanted = at.active, wanted_active(at)
    doubled = _doubled(at)
    surplus = doubled
    if len(active) - len(doubled) > wanted:
        rest = [pod for pod in active if pod not in doubled]
        ranked = sorted(rest, key=lambda pod: -index_of(pod)) if is_indexed(at.job) else rank_for_deletion(rest, {}, at.now_s)
        surplus = doubled + ranked[: len(rest) - wanted]
    if surplus:
        return _stop(at, surplus)
    waiting = len(at.terminating) if jobstate.only_replaces_failed(at.job) else 0
    missing = min(wanted - len(active) - waiting, BURST)
    if missing <= 0:
        return []
    pause_s = jobstate.backoff_left_s(at.job, at.pods, at.now_s)
    if pause_s > 0:
        return [Requeue(pause_s)]
    if not is_indexed(at.job):
        return [SlowStart(tuple(Create(PODS, _pod(at.job), key_of(at.job), at.job) for _ in range(missing)))]
    holders = [*active, *(at.terminating if jobstate.only_replaces_failed(at.job) else ())]
    taken = at.done | at.failed_indexes | {index_of(pod) for pod in holders}
    indexes = jobstate.pending_indexes(int(at.spec.get("completions") or 0), taken, missing)
    made = tuple(Create(PODS, _pod(at.job, index, jobstate.failures_of(index, at.pods, at.job)), key_of(at.job), at.job) for index in indexes)
    return [SlowStart(made)] if made else []


def _doubled(at: Round) -> list[Object]:
    """Active pods of an index that another one has, that is done, or that does not exist."""
    if not is_indexed(at.job):
        return []
    seen, found = set(at.done | at.failed_indexes), []
    for pod in sorted(at.active, key=lambda pod: (not is_ready(pod), pod["metadata"].get("creationTimestamp") or "", name_of(pod))):
        index = index_of(pod)
        if index in seen or not 0 <= index < int(at.spec.get("completions") or 0):
            found.append(pod)
        seen.add(index)
    return found


def _pod(job: Object, index: int = -1, failures: int = 0) -> Object:
    pod = from_template(job["spec"]["template"], job, JOBS)
    metadata = pod["metadata"]
    metadata["finalizers"] = [*(metadata.get("finalizers") or ()), FINALIZER]
    if index < 0:
        return pod
    metadata["generateName"] = f"{name_of(job)}-{index}-"
    metadata["annotations"] = {**(metadata.get("annotations") or {}), INDEX: str(index)}
    metadata["labels"] = {**(metadata.get("labels") or {}), INDEX: str(index)}
    if job["spec"].get("backoffLimitPerIndex") is not None:
        metadata["annotations"][INDEX_FAILURES] = str(failures)
    pod["spec"]["hostname"] = f"{name_of(job)}-{index}"
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}
    for container in (*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())):
        env = container.setdefault("env", [])
        if not any(each["name"] == "JOB_COMPLETION_INDEX" for each in env):
            env.append({"name": "JOB_COMPLETION_INDEX", "valueFrom": source})
    return pod


class Jobs(Controller):
    name = "job-controller"
    component = "job-controller"
    workers = 5

    def watch(self) -> None:
        self.jobs = self.watched(JOBS, self.enqueue)
        self.pods = self.dependents(PODS, JOBS, also=self._wake_adopters)

    async def sync(self, key: str) -> float | None:
        job = self.jobs.get(key)
        if job is None:
            self.expectations.forget(key)
            await self._free_orphans(key)
            return None
        if job["spec"].get("managedBy") not in (None, "kubernetes.io/job-controller"):
            return None  # somebody else's
        satisfied = self.expectations.satisfied(key)
        free = [pod for pod in self.pods.by(CONTROLLER, "") if namespace_of(pod) == namespace_of(job)]
        claimed = claim(job, [*self.pods.by(CONTROLLER, uid_of(job)), *free], matcher(job["spec"].get("selector")))
        owned = await settle(self.client, JOBS, job, PODS, claimed)
        return await self.performer.perform(reconcile(job, owned, satisfied, self.context.now_s()))

    async def _free_orphans(self, key: str) -> None:
        """The job is gone and nobody counts any more: its pods must not wait for us (orphan deletion leaves them the finalizer)."""
        namespace, _, name = key.partition("/")
        orphans = [
            pod
            for pod in self.pods.all(namespace)
            if is_tracked(pod) and (labels_of(pod).get("job-name") == name or (controller_of(pod) or {}).get("name") == name)
        ]
        await self.performer.perform(list(_freed(orphans)))

    def _wake_adopters(self, pod: Object) -> None:
        if controller_of(pod) is None and not is_terminating(pod):
            for job in self.jobs.all(namespace_of(pod)):
                if matches(job["spec"].get("selector"), labels_of(pod)):
                    self.enqueue(job)
            if is_tracked(pod) and (name := labels_of(pod).get("job-name")):
                self.queue.add(f"{namespace_of(pod)}/{name}")
