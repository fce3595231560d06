"""What a deletion makes of an object."""

from datetime import UTC, datetime

import pytest

from apiserver.handlers.deleting import Options, decide, options
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from apiserver.registry.registry import Served
from apiserver.registry.strategy import Strategy

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


class Graceful(Strategy):
    def grace_period_s(self, obj, asked_s):
        return 30 if asked_s is None else asked_s


PODS = Served(resource=resource("pods"), prefix="/registry/pods/", storage_version="v1", strategy=Graceful())
SETS = Served(resource=resource("replicasets.apps"), prefix="/registry/replicasets/", storage_version="apps/v1")
SPACES = Served(resource=resource("namespaces"), prefix="/registry/namespaces/", storage_version="v1")


def obj(**meta):
    return {"metadata": {"name": "x", "generation": 1, **meta}}


def test_what_nothing_holds_goes_at_once():
    assert decide(SETS, obj(), Options(), NOW).obj is None
    assert decide(PODS, obj(), Options(grace_s=0), NOW).obj is None


def test_a_pod_is_given_its_time():
    meta = decide(PODS, obj(), Options(), NOW).obj["metadata"]
    assert (meta["deletionTimestamp"], meta["deletionGracePeriodSeconds"], meta["generation"]) == ("2026-11-21T12:00:30Z", 30, 2)


@pytest.mark.parametrize(
    ("asked", "left"),
    [(None, ("2026-11-21T12:00:30Z", 30)), (60, ("2026-11-21T12:00:30Z", 30)), (10, ("2026-11-21T12:00:10Z", 10))],
)
def test_the_time_may_only_become_shorter(asked, left):
    pod = obj(deletionTimestamp="2026-11-21T12:00:30Z", deletionGracePeriodSeconds=30)
    meta = decide(PODS, pod, Options(grace_s=asked), NOW).obj["metadata"]
    assert (meta["deletionTimestamp"], meta["deletionGracePeriodSeconds"]) == left


def test_no_time_at_all_is_the_end():
    pod = obj(deletionTimestamp="2026-11-21T12:00:30Z", deletionGracePeriodSeconds=30)
    assert decide(PODS, pod, Options(grace_s=0), NOW).obj is None
    held = {**pod, "metadata": {**pod["metadata"], "finalizers": ["a/b"]}}
    assert decide(PODS, held, Options(grace_s=0), NOW).obj["metadata"]["deletionGracePeriodSeconds"] == 0


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        ("Foreground", [], ["foregroundDeletion"]),
        ("Orphan", ["a/b"], ["a/b", "orphan"]),
        ("Orphan", ["foregroundDeletion"], ["orphan"]),
        ("Background", ["a/b", "orphan"], ["a/b"]),
        ("", ["foregroundDeletion"], ["foregroundDeletion"]),
    ],
)
def test_propagation_is_kept_in_finalizers(policy, before, after):
    outcome = decide(SETS, obj(finalizers=before), Options(propagation=policy), NOW)
    assert outcome.obj["metadata"]["finalizers"] == after
    assert outcome.obj["metadata"]["deletionGracePeriodSeconds"] == 0


def test_a_namespace_waits_for_its_content():
    space = {**obj(), "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    marked = decide(SPACES, space, Options(), NOW).obj
    assert marked["status"]["phase"] == "Terminating"
    assert space["status"]["phase"] == "Active"
    assert decide(SPACES, {**marked, "spec": {}}, Options(), NOW).obj is None


def test_options_that_contradict_each_other():
    for given in ({"propagationPolicy": "Foreground", "orphanDependents": True}, {"propagationPolicy": "x"}, {"gracePeriodSeconds": "1"}):
        with pytest.raises(ApiError):
            options(given)
    assert options({"gracePeriodSeconds": -5}).grace_s == 1
