import pytest

from agents.kit.owners import claim, owner_reference, settle
from apiserver.machinery.objects import labels_of, name_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run

PODS = resource("pods")
SETS = resource("replicasets.apps")


def cluster():
    api = FakeApi()
    owner = api.put(SETS, {"metadata": {"name": "web", "namespace": "default"}})
    other = api.put(SETS, {"metadata": {"name": "other", "namespace": "default"}})
    for name, app, controller in (
        ("mine", "web", owner),
        ("left", "x", owner),
        ("free", "web", None),
        ("theirs", "web", other),
        ("stranger", "x", None),
    ):
        references = {"ownerReferences": [owner_reference(controller, SETS)]} if controller else {}
        api.put(PODS, {"metadata": {"name": name, "namespace": "default", "labels": {"app": app}, **references}})
    return api, owner


def names(objects):
    return sorted(map(name_of, objects))


def matches(obj):
    return labels_of(obj).get("app") == "web"


def test_what_matches_and_is_free_is_taken_what_no_longer_matches_is_let_go():
    api, owner = cluster()
    claimed = claim(owner, api.all(PODS), matches)
    assert (names(claimed.owned), names(claimed.adopt), names(claimed.release)) == (["mine"], ["free"], ["left"])
    assert names(run(settle(api, SETS, owner, PODS, claimed))) == ["free", "mine"]
    assert names(claim(owner, api.all(PODS), matches).owned) == ["free", "mine"]
    assert not api.objects["pods"]["default", "left"]["metadata"].get("ownerReferences")


def test_whoever_is_being_deleted_adopts_nothing():
    api, owner = cluster()
    leaving = {**owner, "metadata": {**owner["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    claimed = claim(leaving, api.all(PODS), matches)
    assert (names(claimed.owned), claimed.adopt, claimed.release) == (["mine"], [], [])


def test_before_adopting_the_owner_is_looked_at_afresh():
    api, owner = cluster()
    claimed = claim(owner, api.all(PODS), matches)
    api.remove(SETS, "default", "web")
    api.put(SETS, {"metadata": {"name": "web", "namespace": "default"}})
    with pytest.raises(ApiError, match="is gone: got uid"):
        run(settle(api, SETS, owner, PODS, claimed))
