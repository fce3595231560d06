"""Actions become requests; many creations start slowly; what failed is no longer expected."""

import pytest

from agents.kit.actions import Create, Delete, Event, Requeue, SlowStart, Together, UpdateStatus
from agents.kit.expectations import Expectations
from agents.kit.performer import Performer
from apiserver.machinery import status
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError, Cause
from tests.support.fake_api import FakeApi
from tests.support.recorder import ListRecorder
from tests.support.virtual_loop import run

PODS = resource("pods")
OWNER = {"kind": "ReplicaSet", "metadata": {"name": "web", "namespace": "default"}}
REFUSED = status.forbidden("", "pods", "web-x", "exceeded quota: q")


def pods(count):
    return tuple(Create(PODS, {"metadata": {"generateName": "web-", "namespace": "default"}}, "default/web", OWNER) for _ in range(count))


def made(api):
    recorder, expectations = ListRecorder(), Expectations(lambda: 0.0)
    return Performer(api, recorder, expectations), recorder, expectations


def test_creations_are_expected_and_told():
    api = FakeApi()
    performer, recorder, expectations = made(api)
    assert run(performer.perform([SlowStart(pods(5)), Requeue(7), Requeue(3)])) == 3
    assert len(api.all(PODS)) == 5
    assert not expectations.satisfied("default/web")
    expectations.creation_observed("default/web", 5)
    assert expectations.satisfied("default/web")
    assert recorder.told[0] == ("web", "Normal", "SuccessfulCreate", "Created pod: web-00001")


def test_after_a_refusal_the_rest_is_not_even_tried():
    api = FakeApi()
    api.fail("create", "pods", *[REFUSED] * 600)
    performer, recorder, expectations = made(api)
    with pytest.raises(ApiError, match="exceeded quota"):
        run(performer.perform([SlowStart(pods(500))]))
    assert api.counted()["create", "pods"] == 1
    assert expectations.satisfied("default/web")
    assert recorder.told == [("web", "Warning", "FailedCreate", 'Error creating: pods "web-x" is forbidden: exceeded quota: q')]


def test_batches_double():
    api = FakeApi()
    performer, _, expectations = made(api)
    creates = pods(10)
    asked = []
    original = api.create

    async def create(*arguments, **options):
        asked.append(1)
        if len(asked) == 4:
            raise REFUSED
        return await original(*arguments, **options)

    api.create = create
    with pytest.raises(ApiError):
        run(performer.perform([SlowStart(creates)]))
    assert len(asked) == 1 + 2 + 4, "the batch in which it happened ends, the next does not begin"
    expectations.creation_observed("default/web", 6)
    assert expectations.satisfied("default/web")


def test_in_a_namespace_that_goes_nothing_is_told_and_nothing_fails():
    api = FakeApi()
    api.fail("create", "pods", ApiError("Forbidden", "terminating", causes=[Cause("NamespaceTerminating", "", "metadata.namespace")]))
    performer, recorder, expectations = made(api)
    run(performer.perform(pods(1)))
    assert recorder.told == [] and expectations.satisfied("default/web")


def test_what_is_gone_already_is_deleted():
    api = FakeApi()
    performer, recorder, expectations = made(api)
    there = api.put(PODS, {"metadata": {"name": "a", "namespace": "default"}})
    gone = Delete(PODS, "default", "b", "uid-9", expected_by="default/web", told_to=OWNER)
    other = Delete(PODS, "default", "a", "another-uid", expected_by="default/web", told_to=OWNER)
    right = Delete(PODS, "default", "a", there["metadata"]["uid"], expected_by="default/web", told_to=OWNER)
    run(performer.perform([Together((gone, other, right))]))
    assert api.all(PODS) == []
    assert recorder.told == [("web", "Normal", "SuccessfulDelete", "Deleted pod: a")]
    assert not expectations.satisfied("default/web")
    expectations.deletion_observed("default/web", right.uid)
    assert expectations.satisfied("default/web")


def test_the_first_failure_ends_the_list():
    api = FakeApi()
    performer, recorder, _ = made(api)
    stale = {"metadata": {"name": "a", "namespace": "default"}, "status": {}}
    with pytest.raises(ApiError):
        run(performer.perform([UpdateStatus(PODS, stale), Event(OWNER, "Normal", "Done", "never said")]))
    assert recorder.told == []
