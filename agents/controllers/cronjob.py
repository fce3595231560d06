"""CronJobs: a job at each of its times (pkg/controller/cronjob, cronjob_controllerv2.go).

A job's name is made of the time it was due, so that the same run is never started twice, whoever looks, however often. Of times that were missed only
the last is made up for, and only within startingDeadlineSeconds.
"""

import copy
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from agents.controllers.job import JOBS
from agents.controllers.schedule import Schedule, parse
from agents.kit.actions import NORMAL, WARNING, Action, Create, Delete, Event, Requeue, UpdateStatus
from agents.kit.controller import Controller
from agents.kit.events import reference_to
from agents.kit.indexer import CONTROLLER
from agents.kit.owners import owner_reference
from agents.kit.times import created_s, to_seconds, to_text
from apiserver.machinery.conditions import condition, is_true
from apiserver.machinery.objects import Object, annotations_of, controller_of, is_terminating, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource

CRON_JOBS = resource("cronjobs.batch")
SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
DELTA_S = 0.1
"""After its time, not before: clocks are not that exact."""
MISSED_MAX = 100


class Round(Struct):
    cron: Object
    jobs: list[Object]
    now_s: float
    status: Object
    actions: list[Action] = field(default_factory=list)

    def told(self, type_: str, reason: str, message: str) -> None:
        self.actions.append(Event(self.cron, type_, reason, message))

    @property
    def active(self) -> list[Object]:
        listed: list[Object] = self.status.get("active") or []
        return listed


def zone_of(cron: Object) -> tzinfo:
    """Raises KeyError for a zone that does not exist."""
    name = cron["spec"].get("timeZone")
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError) as error:
        raise KeyError(str(error)) from None


def due(cron: Object, schedule: Schedule, zone: tzinfo, now_s: float) -> tuple[datetime | None, int]:
    """The latest time that has come and was not scheduled yet, and how many have come since it was last looked at (100 and more are not counted)."""
    earliest_s = max(created_s(cron), to_seconds((cron.get("status") or {}).get("lastScheduleTime")))
    deadline_s = cron["spec"].get("startingDeadlineSeconds")
    if deadline_s is not None:
        earliest_s = max(earliest_s, now_s - deadline_s)
    at = schedule.after(datetime.fromtimestamp(earliest_s, zone))
    if at is None or at.timestamp() > now_s:
        return None, 0
    second = schedule.after(at)
    if second is None:
        return at, 1
    # Leap over what was missed, a step of the schedule at a time: after a year of suspension there are half a million.
    step_s = max(second.timestamp() - at.timestamp(), 1.0)
    leaps = int((now_s - at.timestamp()) // step_s)
    if leaps > MISSED_MAX:
        start_s = max(now_s - 2 * step_s, at.timestamp())
        found = _last(schedule, datetime.fromtimestamp(start_s, zone), now_s)
        return found or at, leaps
    missed, last = 1, at
    while (following := schedule.after(last)) is not None and following.timestamp() <= now_s and missed <= 10 * MISSED_MAX:
        missed, last = missed + 1, following
    return last, missed


def _last(schedule: Schedule, start: datetime, now_s: float) -> datetime | None:
    found, at = None, schedule.after(start)
    while at is not None and at.timestamp() <= now_s:
        found, at = at, schedule.after(at)
    return found


def job_of(cron: Object, at: datetime) -> Object:
    template = cron["spec"]["jobTemplate"]
    given = template.get("metadata") or {}
    metadata: Object = {
        "name": f"{name_of(cron)}-{int(at.timestamp()) // 60}",
        "namespace": namespace_of(cron),
        "annotations": {**(given.get("annotations") or {}), SCHEDULED_AT: at.isoformat().replace("+00:00", "Z")},
        "ownerReferences": [owner_reference(cron, CRON_JOBS)],
    }
    if given.get("labels"):
        metadata["labels"] = dict(given["labels"])
    return {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "metadata": metadata, "spec": copy.deepcopy(template.get("spec") or {})}


def finished(job: Object) -> str:
    """Complete, Failed, or empty."""
    return next((kind for kind in ("Complete", "Failed") if is_true(job, kind)), "")


def reconcile(cron: Object, jobs: Sequence[Object], now_s: float) -> list[Action]:
    """`jobs` are those that it controls."""
    at = Round(cron, list(jobs), now_s, copy.deepcopy(cron.get("status") or {}))
    _see_jobs(at)
    _clean_up(at)
    if not is_terminating(cron):
        _start(at)
    if at.status != (cron.get("status") or {}):
        # After what it tells of: a job that was made and not written down is found by its name and its owner.
        at.actions.append(UpdateStatus(CRON_JOBS, {**cron, "status": at.status}))
    return at.actions


def _see_jobs(at: Round) -> None:
    there = {uid_of(job): job for job in at.jobs}
    for job in at.jobs:
        listed = any(each["uid"] == uid_of(job) for each in at.active)
        ended = finished(job)
        if not listed and not ended:
            if SCHEDULED_AT in annotations_of(job):
                at.status["active"] = [*at.active, _reference(job)]
            else:
                at.told(WARNING, "UnexpectedJob", f"Saw a job that the controller did not create or forgot: {name_of(job)}")
        elif listed and ended:
            at.status["active"] = [each for each in at.active if each["uid"] != uid_of(job)]
            at.told(NORMAL, "SawCompletedJob", f"Saw completed job: {name_of(job)}, condition: {ended}")
        if ended == "Complete":
            done = str((condition(job["status"], "Complete") or {}).get("lastTransitionTime") or job["status"].get("completionTime") or "")
            if to_seconds(done) > to_seconds(at.status.get("lastSuccessfulTime")):
                at.status["lastSuccessfulTime"] = done
    for each in at.active:
        if each["uid"] not in there:
            at.told(NORMAL, "MissingJob", f"Active job went missing: {each['name']}")
            at.status["active"] = [other for other in at.active if other["uid"] != each["uid"]]
    if not at.active:
        at.status.pop("active", None)


def _reference(job: Object) -> Object:
    return dict(reference_to({"apiVersion": JOBS.api_version, "kind": JOBS.kind, **job}).items())


def _clean_up(at: Round) -> None:
    for kind, limit_field in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
        limit = at.cron["spec"].get(limit_field)
        if limit is None:
            continue
        ended = sorted((job for job in at.jobs if finished(job) == kind), key=lambda job: (job["status"].get("startTime") or "", name_of(job)))
        for job in ended[: max(len(ended) - int(limit), 0)]:
            at.actions.append(_deletion(job))
            at.told(NORMAL, "SuccessfulDelete", f"Deleted job {name_of(job)}")


def _deletion(job: Object) -> Delete:
    return Delete(JOBS, namespace_of(job), name_of(job), uid_of(job), "Background")


def _start(at: Round) -> None:
    spec = at.cron["spec"]
    try:
        zone = zone_of(at.cron)
    except KeyError as error:
        at.told(WARNING, "UnknownTimeZone", f"invalid timeZone: {spec['timeZone']!r}: {error.args[0]}")
        return
    if spec.get("suspend"):
        return
    try:
        schedule = parse(spec["schedule"])
    except ValueError as error:
        at.told(WARNING, "UnparseableSchedule", f"unparseable schedule: {spec['schedule']}: {error}")
        return
    following = schedule.after(datetime.fromtimestamp(at.now_s, zone))
    if following is None:
        # 31 February: every field is good, the day never comes.
        told = "time difference between two schedules is less than 1 second"
        at.told(WARNING, "InvalidSchedule", f"invalid schedule: {spec['schedule']} : {told}")
        return
    when, missed = due(at.cron, schedule, zone, at.now_s)
    at.actions.append(Requeue(following.timestamp() - at.now_s + DELTA_S))
    if missed > MISSED_MAX:
        text = f"too many missed start times: {missed}. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        at.told(WARNING, "TooManyMissedTimes", text)
    if when is None:
        return
    _run(at, when)


def _run(at: Round, when: datetime) -> None:
    spec = at.cron["spec"]
    deadline_s = spec.get("startingDeadlineSeconds")
    if deadline_s is not None and when.timestamp() + deadline_s < at.now_s:
        at.told(WARNING, "MissSchedule", f"Missed scheduled time to start a job: {to_text(when.timestamp())}")
        return
    made = job_of(at.cron, when)
    if any(name_of(job) == name_of(made) for job in at.jobs):
        at.status["lastScheduleTime"] = to_text(when.timestamp())
        return
    policy = spec.get("concurrencyPolicy") or "Allow"
    if policy == "Forbid" and at.active:
        text = "Not starting job because prior execution is running and concurrency policy is Forbid"
        at.told(NORMAL, "JobAlreadyActive", text)
        return
    if policy == "Replace":
        for job in at.jobs:
            if any(each["uid"] == uid_of(job) for each in at.active):
                at.actions.append(_deletion(job))
                at.told(NORMAL, "SuccessfulDelete", f"Deleted job {name_of(job)}")
        at.status.pop("active", None)
    at.actions.append(Create(JOBS, made))
    at.told(NORMAL, "SuccessfulCreate", f"Created job {name_of(made)}")
    # The new job is written into `active` when it is seen: its uid is not known before.
    at.status["lastScheduleTime"] = to_text(when.timestamp())


class CronJobs(Controller):
    name = "cronjob-controller"
    component = "cronjob-controller"
    workers = 5

    def watch(self) -> None:
        self.crons = self.watched(CRON_JOBS, self.enqueue)
        self.jobs = self.watched(JOBS, self.enqueue_owner(CRON_JOBS))

    def reconcile(self, key: str) -> list[Action]:
        cron = self.crons.get(key)
        if cron is None:
            return []
        jobs = [job for job in self.jobs.by(CONTROLLER, uid_of(cron)) if controller_of(job)]
        return reconcile(cron, jobs, self.context.now_s())
