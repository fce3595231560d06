"""Schedules, and jobs at their times."""

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from agents.controllers.cronjob import CRON_JOBS, CronJobs, reconcile
from agents.controllers.job import JOBS
from agents.controllers.schedule import parse
from agents.controllers.ttl_after_finished import TtlAfterFinished
from agents.kit.times import to_text
from apiserver.machinery.objects import name_of
from tests.support.controllers import EPOCH_S, now_s, running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("*/15 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:15:00"),
        ("0 12 * * *", "2026-01-01T12:00:00", "2026-01-02T12:00:00"),
        ("5-10/5,50 3 * * *", "2026-01-01T03:06:00", "2026-01-01T03:10:00"),
        ("0 0 31 * *", "2026-01-31T00:00:00", "2026-03-31T00:00:00"),
        ("0 0 29 feb *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 * * mon-fri", "2026-01-02T00:00:00", "2026-01-05T00:00:00"),
        ("0 0 13 * fri", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("@monthly", "2026-01-15T08:00:00", "2026-02-01T00:00:00"),
        ("@every 90s", "2026-01-01T00:00:00", "2026-01-01T00:01:30"),
        ("30/10 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:30:00"),
    ],
)
def test_the_next_time(text, after, expected):
    assert parse(text).after(datetime.fromisoformat(after).replace(tzinfo=UTC)) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_a_day_that_never_comes_is_told():
    cron = {
        "metadata": {"name": "c", "namespace": "d", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"schedule": "59 23 31 2 *", "jobTemplate": {}},
    }
    (told,) = reconcile(cron, [], EPOCH_S)
    assert (told.reason, told.message) == (
        "InvalidSchedule",
        "invalid schedule: 59 23 31 2 * : time difference between two schedules is less than 1 second",
    )


def test_a_day_that_never_comes_and_an_hour_that_is_skipped_or_comes_twice():
    assert parse("0 0 30 2 *").after(datetime(2026, 1, 1, tzinfo=UTC)) is None
    berlin = ZoneInfo("Europe/Berlin")
    spring = parse("30 2 * * *").after(datetime(2026, 3, 28, 12, tzinfo=berlin))
    assert spring.isoformat() == "2026-03-30T02:30:00+02:00"
    first = parse("30 2 * * *").after(datetime(2026, 10, 24, 12, tzinfo=berlin))
    assert first.isoformat() == "2026-10-25T02:30:00+02:00"
    assert parse("30 2 * * *").after(first).isoformat() == "2026-10-26T02:30:00+01:00"


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * *", "* * 0 * *", "a * * * *", "*/0 * * * *", "5-1 * * * *", "@never", "TZ=UTC * * * * *", "@every x"]
)
def test_what_is_no_schedule(text):
    with pytest.raises(ValueError):
        parse(text)


def cron(schedule="*/5 * * * *", **spec):
    limits = {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1}
    return {
        "metadata": {"name": "tick", "namespace": "default"},
        "spec": {"schedule": schedule, "concurrencyPolicy": "Allow", **limits, "jobTemplate": {"spec": {"template": {}}}, **spec},
    }


def end(api, kind="Complete", only=lambda job: True):
    for job in api.all(JOBS):
        if not (job.get("status") or {}).get("conditions") and only(job):
            now = to_text(now_s())
            told = {"startTime": now, "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now}]}
            api.touch(JOBS, "default", name_of(job), lambda obj, told=told: obj.update(status=told))


def status(api):
    return api.all(CRON_JOBS)[0].get("status") or {}


def minute(seconds):
    return int(EPOCH_S + seconds) // 60


def test_a_job_at_each_time_and_a_history_of_some():
    async def work():
        api = FakeApi()
        api.put(CRON_JOBS, cron())
        async with running(api, CronJobs) as (_, recorder):
            await asyncio.sleep(299)
            assert api.all(JOBS) == []
            await asyncio.sleep(2)
            (first,) = api.all(JOBS)
            assert name_of(first) == f"tick-{minute(300)}"
            assert first["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
            assert [each["name"] for each in status(api)["active"]] == [name_of(first)]
            assert status(api)["lastScheduleTime"] == to_text(EPOCH_S + 300)
            for _ in range(6):
                end(api)
                await asyncio.sleep(300)
            assert len(api.all(JOBS)) == 4, "three that ended, one that runs"
            assert status(api)["lastSuccessfulTime"] == to_text(EPOCH_S + 301 + 1500)
            assert {"SuccessfulCreate", "SawCompletedJob", "SuccessfulDelete"} == set(recorder.reasons())

    run(work())


@pytest.mark.parametrize(("policy", "jobs"), [("Allow", 3), ("Forbid", 1), ("Replace", 1)])
def test_when_the_last_one_still_runs(policy, jobs):
    async def work():
        api = FakeApi()
        api.put(CRON_JOBS, cron(concurrencyPolicy=policy))
        async with running(api, CronJobs) as (_, recorder):
            await asyncio.sleep(910)
            assert len(api.all(JOBS)) == jobs
            last = name_of(api.all(JOBS)[-1])
            assert last == f"tick-{minute(300 if policy == 'Forbid' else 900)}"
            assert ("JobAlreadyActive" in recorder.reasons()) == (policy == "Forbid")
            if policy == "Forbid":
                end(api)
                await asyncio.sleep(1)
                assert name_of(api.all(JOBS)[-1]) == f"tick-{minute(900)}", "what was held up is made up for, once"

    run(work())


def test_of_many_missed_times_the_last_is_made_up_for_and_none_that_is_too_late():
    async def work():
        api = FakeApi()
        api.put(CRON_JOBS, {**cron("0 * * * *"), "metadata": {"name": "tick", "namespace": "default", "creationTimestamp": "2025-06-01T00:30:00Z"}})
        late = cron("7 0 31 12 *", startingDeadlineSeconds=60)
        late["metadata"] |= {"name": "late", "creationTimestamp": "2025-06-01T00:30:00Z"}
        api.put(CRON_JOBS, late)
        async with running(api, CronJobs) as (_, recorder):
            await asyncio.sleep(1)
            assert [name_of(each) for each in api.all(JOBS)] == [f"tick-{minute(0)}"]
            assert "TooManyMissedTimes" in recorder.reasons()

    run(work())


def test_in_its_time_zone_suspended_or_in_no_zone_at_all():
    async def work():
        api = FakeApi()
        for name, spec in (("berlin", {"timeZone": "Europe/Berlin"}), ("off", {"suspend": True}), ("lost", {"timeZone": "Mars/Base"})):
            made = cron("0 6 * * *", **spec)
            made["metadata"]["name"] = name
            api.put(CRON_JOBS, made)
        async with running(api, CronJobs) as (_, recorder):
            await asyncio.sleep(5 * 3600 + 5)
            assert [name_of(each) for each in api.all(JOBS)] == [f"berlin-{minute(5 * 3600)}"]
            assert ("lost", "Warning", "UnknownTimeZone") in {each[:3] for each in recorder.told}

    run(work())


def test_the_same_run_is_never_started_twice():
    async def work():
        api = FakeApi()
        api.put(CRON_JOBS, cron())
        async with running(api, CronJobs):
            await asyncio.sleep(302)
        api.touch(CRON_JOBS, "default", "tick", lambda obj: obj.update(status={}))
        async with running(api, CronJobs):
            await asyncio.sleep(30)
            assert len(api.all(JOBS)) == 1

    run(work())


def test_a_job_goes_when_its_time_after_its_end_is_over():
    async def work():
        api = FakeApi()
        for name, ttl in (("soon", 100), ("now", 0), ("never", None)):
            api.put(JOBS, {"metadata": {"name": name, "namespace": "default"}, "spec": {"ttlSecondsAfterFinished": ttl} if ttl is not None else {}})
        async with running(api, TtlAfterFinished):
            await asyncio.sleep(50)
            assert len(api.all(JOBS)) == 3, "nobody has ended yet"
            end(api)
            await asyncio.sleep(1)
            waits = {name_of(each) for each in api.all(JOBS) if not each["metadata"].get("deletionTimestamp")}
            assert waits == {"soon", "never"}
            api.touch(JOBS, "default", "soon", lambda obj: obj["spec"].update(ttlSecondsAfterFinished=200))
            await asyncio.sleep(150)
            assert not next(each for each in api.all(JOBS) if name_of(each) == "soon")["metadata"].get("deletionTimestamp")
            await asyncio.sleep(60)
            assert next(each for each in api.all(JOBS) if name_of(each) == "soon")["metadata"]["finalizers"] == ["foregroundDeletion"]

    run(work())
