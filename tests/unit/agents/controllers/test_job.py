"""Jobs: every pod is counted once, whatever fails in between; how a job ends, and when the next pod comes."""

import asyncio

import pytest

from agents.controllers import jobstate
from agents.controllers.job import JOBS, Jobs, reconcile
from agents.kit.actions import Requeue
from agents.kit.times import to_text
from apiserver.machinery.conditions import condition
from apiserver.machinery.objects import name_of
from tests.support.controllers import EPOCH_S, now_s, running
from tests.support.fake_api import FakeApi, conflict
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, template


def job(name="work", **spec):
    pods = template("job:1", app="work")
    pods["spec"]["restartPolicy"] = "Never"
    given = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "selector": {"matchLabels": {"app": "work"}}, "template": pods, **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": given}


def finish(api, phase, only=None, code=1, **more):
    """Every pod that runs ends."""
    for pod in api.all(PODS):
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed") and (only is None or only(pod)):
            ended = {"exitCode": 0 if phase == "Succeeded" else code, "finishedAt": to_text(now_s())}
            status = {"phase": phase, "containerStatuses": [{"name": "c", "state": {"terminated": ended}}], **more}
            api.touch(PODS, "default", name_of(pod), lambda obj, status=status: obj.update(status=status))


def status(api):
    return api.all(JOBS)[0]["status"]


def ended(api):
    for kind in ("Complete", "Failed"):
        if found := condition(status(api), kind):
            return kind, found["reason"]
    return None


@pytest.mark.parametrize(("indexes", "text"), [(set(), ""), ({0}, "0"), ({0, 1}, "0,1"), ({0, 1, 2}, "0-2"), ({0, 2, 3, 4, 7, 8}, "0,2-4,7,8")])
def test_indexes_as_text_and_back(indexes, text):
    assert jobstate.format_indexes(indexes) == text and jobstate.parse_indexes(text) == indexes


def test_so_many_at_once_until_so_many_have_succeeded():
    async def work():
        api = FakeApi()
        api.put(JOBS, job(parallelism=2, completions=5))
        async with running(api, Jobs) as (_, recorder):
            most = 0
            for _ in range(10):
                await asyncio.sleep(1)
                most = max(most, status(api).get("active", 0))
                finish(api, "Succeeded")
            await asyncio.sleep(1)
            assert most == 2 and len(api.all(PODS)) == 5
            assert ended(api) == ("Complete", "CompletionsReached")
            found = status(api)
            assert found["succeeded"] == 5 and found["uncountedTerminatedPods"] == {} and "active" not in found and found["completionTime"]
            assert not any(pod["metadata"].get("finalizers") for pod in api.all(PODS))
            assert recorder.reasons() == ["SuccessfulCreate"] * 5 + ["Completed"]

    run(work())


def test_each_failure_waits_longer_and_after_the_limit_the_job_has_failed():
    async def work():
        api = FakeApi()
        api.put(JOBS, job(backoffLimit=2))
        async with running(api, Jobs) as (_, recorder):
            times, seen = [], 0
            for second in range(80):
                await asyncio.sleep(1)
                if len(api.all(PODS)) > seen:
                    seen = len(api.all(PODS))
                    times.append(second)
                finish(api, "Failed")
            assert seen == 3 and times[1] - times[0] >= 10 and times[2] - times[1] >= 20
            assert ended(api) == ("Failed", "BackoffLimitExceeded") and status(api)["failed"] == 3
            assert recorder.told[-1][1:] == ("Warning", "BackoffLimitExceeded", "Job has reached the specified backoff limit")

    run(work())


def test_no_pod_is_counted_twice_or_never_whatever_fails_in_between():
    async def work():
        api = FakeApi()
        api.put(JOBS, job(parallelism=3, completions=6))
        async with running(api, Jobs):
            for _ in range(12):
                api.fail("update", "jobs.batch/status", conflict(JOBS, "work"))
                api.fail("patch", "pods", conflict(PODS, "x"))
                await asyncio.sleep(1)
                finish(api, "Succeeded")
                await settle()
            await asyncio.sleep(5)
            assert ended(api) == ("Complete", "CompletionsReached") and status(api)["succeeded"] == 6 == len(api.all(PODS))

    run(work())


def test_a_pod_that_is_taken_away_is_counted_before_it_vanishes():
    async def work():
        api = FakeApi()
        api.put(JOBS, job())
        async with running(api, Jobs):
            await asyncio.sleep(1)
            await api.delete(PODS, name_of(api.all(PODS)[0]), "default")
            await asyncio.sleep(1)
            assert status(api)["failed"] == 1 and status(api)["uncountedTerminatedPods"] == {}
            await asyncio.sleep(15)
            assert len(api.all(PODS)) == 1, "and replaced after its back-off"

    run(work())


def test_after_its_deadline_a_job_has_failed_and_its_pods_go():
    async def work():
        api = FakeApi()
        api.put(JOBS, job(activeDeadlineSeconds=30))
        async with running(api, Jobs):
            await asyncio.sleep(29)
            assert len(api.all(PODS)) == 1
            await asyncio.sleep(3)
            assert ended(api) == ("Failed", "DeadlineExceeded") and api.all(PODS) == []

    run(work())


def test_a_suspended_job_has_no_pods_and_begins_anew_when_it_goes_on():
    async def work():
        api = FakeApi()
        api.put(JOBS, job(suspend=True, activeDeadlineSeconds=30))
        async with running(api, Jobs) as (_, recorder):
            await asyncio.sleep(60)
            assert api.all(PODS) == [] and "startTime" not in status(api)
            assert condition(status(api), "Suspended")["status"] == "True"
            api.touch(JOBS, "default", "work", lambda obj: obj["spec"].update(suspend=False))
            await asyncio.sleep(1)
            assert len(api.all(PODS)) == 1 and status(api)["startTime"] == to_text(EPOCH_S + 60)
            finish(api, "Succeeded")
            await asyncio.sleep(1)
            assert ended(api) == ("Complete", "CompletionsReached")
            assert [each for each in recorder.reasons() if each in ("Suspended", "Resumed")] == ["Suspended", "Resumed"]

    run(work())


def test_indexed_each_index_once_and_again_until_it_succeeds():
    async def work():
        api = FakeApi()
        api.put(JOBS, job(parallelism=4, completions=4, completionMode="Indexed"))
        async with running(api, Jobs):
            await asyncio.sleep(1)
            pods = {jobstate.index_of(pod): pod for pod in api.all(PODS)}
            assert set(pods) == {0, 1, 2, 3}
            assert pods[2]["spec"]["hostname"] == "work-2" and pods[2]["metadata"]["generateName"] == "work-2-"
            env = pods[2]["spec"]["containers"][0]["env"][0]
            assert (env["name"], env["valueFrom"]["fieldRef"]["fieldPath"]) == (
                "JOB_COMPLETION_INDEX",
                "metadata.labels['batch.kubernetes.io/job-completion-index']",
            )
            finish(api, "Failed", lambda pod: jobstate.index_of(pod) == 1)
            finish(api, "Succeeded", lambda pod: jobstate.index_of(pod) in (0, 2, 3))
            await asyncio.sleep(30)
            assert status(api)["completedIndexes"] == "0,2,3"
            finish(api, "Succeeded")
            await asyncio.sleep(5)
            assert ended(api) == ("Complete", "CompletionsReached") and status(api)["completedIndexes"] == "0-3"

    run(work())


def test_an_index_that_fails_too_often_fails_alone():
    async def work():
        api = FakeApi()
        api.put(JOBS, job(parallelism=2, completions=2, completionMode="Indexed", backoffLimitPerIndex=1, backoffLimit=2**31 - 1))
        async with running(api, Jobs):
            for _ in range(60):
                await asyncio.sleep(1)
                finish(api, "Failed", lambda pod: jobstate.index_of(pod) == 0)
            assert status(api)["failedIndexes"] == "0"
            finish(api, "Succeeded")
            await asyncio.sleep(5)
            assert ended(api) == ("Failed", "FailedIndexes") and status(api)["completedIndexes"] == "1"

    run(work())


def rules(*rules):
    return {"podFailurePolicy": {"rules": list(rules)}}


def test_failure_policy_by_exit_code_and_condition():
    async def work():
        api = FakeApi()
        fatal = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
        disrupted = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        api.put(JOBS, job(backoffLimit=0, **rules(disrupted, fatal)))
        async with running(api, Jobs):
            await asyncio.sleep(1)
            finish(api, "Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}])
            await asyncio.sleep(30)
            assert "failed" not in status(api) and ended(api) is None, "a disruption is nobody's failure"
            finish(api, "Failed", code=42)
            await asyncio.sleep(5)
            assert ended(api) == ("Failed", "PodFailurePolicy")
            told = condition(status(api), "Failed")["message"]
            assert told.startswith("Container c for pod default/") and told.endswith("failed with exit code 42 matching FailJob rule at index 1")

    run(work())


def test_success_policy_ends_a_job_before_all_have():
    async def work():
        api = FakeApi()
        policy = {"rules": [{"succeededIndexes": "0"}]}
        api.put(JOBS, job(parallelism=3, completions=3, completionMode="Indexed", successPolicy=policy))
        async with running(api, Jobs):
            await asyncio.sleep(1)
            finish(api, "Succeeded", lambda pod: jobstate.index_of(pod) == 0)
            await asyncio.sleep(5)
            assert ended(api) == ("Complete", "SuccessPolicy")
            assert [jobstate.index_of(pod) for pod in api.all(PODS)] == [0]

    run(work())


def test_a_queue_of_work_is_done_when_one_has_succeeded_and_none_runs():
    async def work():
        api = FakeApi()
        made = job(parallelism=3)
        del made["spec"]["completions"]
        api.put(JOBS, made)
        async with running(api, Jobs):
            await asyncio.sleep(1)
            first = name_of(api.all(PODS)[0])
            finish(api, "Succeeded", lambda pod: name_of(pod) == first)
            await asyncio.sleep(1)
            assert ended(api) is None and len(api.all(PODS)) == 3
            finish(api, "Succeeded")
            await asyncio.sleep(1)
            assert ended(api) == ("Complete", "CompletionsReached") and status(api)["succeeded"] == 3

    run(work())


def test_pods_of_a_deleted_job_are_free_to_go():
    leaving = job()
    leaving["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "uid": "u"}
    pod = {"metadata": {"name": "p", "namespace": "default", "uid": "p", "resourceVersion": "1", "finalizers": [jobstate.FINALIZER]}, "spec": {}}
    (patch,) = reconcile(leaving, [pod], True, EPOCH_S)
    assert patch.patch["metadata"] == {"finalizers": [], "resourceVersion": "1"}


def test_before_the_deadline_it_is_looked_at_again():
    made = job(activeDeadlineSeconds=30)
    made["metadata"]["uid"] = "u"
    assert any(isinstance(each, Requeue) and 30 <= each.after_s < 31 for each in reconcile(made, [], True, EPOCH_S))
