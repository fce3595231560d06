"""Claims and volumes: found, bound, released, protected, and made in directories of a node."""

import asyncio

import pytest

from agents.controllers.local_path import LocalPath, refusal, removable, remove_tree
from agents.controllers.persistent_volumes import Binder, ClaimProtection, EphemeralVolumes, VolumeProtection
from agents.kit.volumes import BIND_COMPLETED, BOUND_BY_CONTROLLER, CLAIMS, CLASSES, SELECTED_NODE, STORAGE_PROVISIONER, VOLUMES, fits, smallest
from apiserver.machinery.resources import resource
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, pod

NODES = resource("nodes")


def claim(name="data", size="1Gi", class_="", modes=("ReadWriteOnce",), **spec):
    resources = {"requests": {"storage": size}}
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": {"accessModes": list(modes), "resources": resources, "storageClassName": class_, **spec}}


def volume(name="pv", size="1Gi", class_="", modes=("ReadWriteOnce",), phase="Available", **spec):
    found = {"capacity": {"storage": size}, "accessModes": list(modes), "storageClassName": class_, **spec}
    return {"metadata": {"name": name}, "spec": found, "status": {"phase": phase}}


def storage_class(name="fast", mode="Immediate", provisioner="example.com/fast"):
    return {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode, "reclaimPolicy": "Delete"}


@pytest.mark.parametrize(
    ("one", "other", "fit"),
    [
        (volume(), claim(), True),
        (volume(size="512Mi"), claim(), False),
        (volume(class_="fast"), claim(), False),
        (volume(modes=("ReadOnlyMany",)), claim(), False),
        (volume(volumeMode="Block"), claim(), False),
        (volume(phase="Released"), claim(), False),
        (volume(claimRef={"namespace": "default", "name": "data"}), claim(), True),
        (volume(claimRef={"namespace": "default", "name": "data", "uid": "old"}), claim(), False),
        (volume(), claim(selector={"matchLabels": {"a": "b"}}), False),
    ],
)
def test_which_volume_can_serve_a_claim(one, other, fit):
    assert fits(one, other) is fit


def test_the_smallest_that_fits_unless_one_is_meant_for_it():
    volumes = [volume("large", "9Gi"), volume("small", "2Gi"), volume("taken", "1Gi", claimRef={"namespace": "x", "name": "y"})]
    assert smallest(volumes, claim())["metadata"]["name"] == "small"
    meant = volume("meant", "5Gi", claimRef={"namespace": "default", "name": "data"})
    assert smallest([*volumes, meant], claim())["metadata"]["name"] == "meant"


def test_a_claim_is_bound_and_its_volume_released_when_it_goes():
    async def work():
        api = FakeApi()
        api.put(VOLUMES, volume())
        async with running(api, Binder):
            api.put(CLAIMS, claim())
            await settle(200)
            (one,), (other,) = api.all(CLAIMS), api.all(VOLUMES)
            assert (one["spec"]["volumeName"], one["status"]["phase"], one["status"]["capacity"]) == ("pv", "Bound", {"storage": "1Gi"})
            assert (other["spec"]["claimRef"]["uid"], other["status"]["phase"]) == ("uid-data", "Bound")
            assert one["metadata"]["annotations"] == {BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"}
            api.remove(CLAIMS, "default", "data")
            await settle(200)
            assert api.all(VOLUMES)[0]["status"]["phase"] == "Released"
            # The same name again is another claim: it does not get the data of the first.
            api.put(CLAIMS, {**claim(), "metadata": {"name": "data", "namespace": "default", "uid": "second"}})
            await settle(200)
            assert api.all(CLAIMS)[0]["status"]["phase"] == "Pending"

    run(work())


def test_two_claims_and_one_volume():
    async def work():
        api = FakeApi()
        api.put(VOLUMES, volume())
        api.put(CLAIMS, claim("a"))
        api.put(CLAIMS, claim("b"))
        async with running(api, Binder) as (_, recorder):
            await asyncio.sleep(5)
            assert sorted(each["status"]["phase"] for each in api.all(CLAIMS)) == ["Bound", "Pending"]
            assert "FailedBinding" in recorder.reasons()
            api.put(VOLUMES, volume("second"))
            await asyncio.sleep(5)
            assert sorted(each["status"]["phase"] for each in api.all(CLAIMS)) == ["Bound", "Bound"]

    run(work())


def test_a_bound_claim_that_lost_its_volume():
    async def work():
        api = FakeApi()
        bound = claim(volumeName="gone")
        bound["metadata"]["annotations"] = {BIND_COMPLETED: "yes"}
        api.put(CLAIMS, bound)
        async with running(api, Binder) as (_, recorder):
            await settle(100)
            assert api.all(CLAIMS)[0]["status"]["phase"] == "Lost"
            assert recorder.reasons() == ["ClaimLost"]

    run(work())


def test_who_makes_the_volume_is_told_and_when_the_pod_is_waited_for():
    async def work():
        api = FakeApi()
        api.put(CLASSES, storage_class())
        api.put(CLASSES, storage_class("later", "WaitForFirstConsumer"))
        api.put(CLAIMS, claim("now", class_="fast"))
        api.put(CLAIMS, claim("then", class_="later"))
        async with running(api, Binder) as (_, recorder):
            await settle(200)
            now, then = api.all(CLAIMS)
            assert now["metadata"]["annotations"][STORAGE_PROVISIONER] == "example.com/fast"
            assert STORAGE_PROVISIONER not in then["metadata"].get("annotations", {})
            assert ("then", "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding") in recorder.told
            api.touch(CLAIMS, "default", "then", lambda found: found["metadata"].setdefault("annotations", {}).update({SELECTED_NODE: "n1"}))
            await settle(200)
            assert api.all(CLAIMS)[1]["metadata"]["annotations"][STORAGE_PROVISIONER] == "example.com/fast"

    run(work())


def test_a_directory_of_the_chosen_node_from_claim_to_deletion():
    async def work():
        api = FakeApi()
        removed = []

        async def remove(path):
            removed.append(path)

        api.put(NODES, {"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}}})
        async with running(api, Binder, lambda context: LocalPath(context, "/r", remove)) as (_, recorder):
            await settle(100)
            (made,) = api.all(CLASSES)
            assert (made["metadata"]["name"], made["provisioner"]) == ("local-path", "keelson.io/local-path")
            api.put(CLAIMS, claim(class_="local-path"))
            await settle(100)
            assert api.all(VOLUMES) == []
            api.touch(CLAIMS, "default", "data", lambda found: found["metadata"].setdefault("annotations", {}).update({SELECTED_NODE: "n1"}))
            await settle(400)
            (found,) = api.all(VOLUMES)
            path = "/r/n1/pvc-uid-data_default_data"
            assert found["spec"]["hostPath"] == {"path": path, "type": "DirectoryOrCreate"}
            assert api.all(CLAIMS)[0]["status"]["phase"] == "Bound"
            assert "ProvisioningSucceeded" in recorder.reasons()
            api.remove(CLAIMS, "default", "data")
            await settle(400)
            assert removed == [path]
            assert api.all(VOLUMES) == []

    run(work())


def test_what_a_directory_cannot_be():
    assert refusal(claim(modes=("ReadWriteMany",)))
    assert refusal(claim(volumeMode="Block"))
    assert not refusal(claim())


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("/r/n1/pvc-1_d_x", True),
        ("/r/n1/other", False),
        ("/r/pvc-1", False),
        ("/etc/n1/pvc-1", False),
        ("/r/../pvc-1", False),
        ("/r/n1/a/pvc-1", False),
    ],
)
def test_only_its_own_directories_are_removed(path, may):
    assert removable(path, "/r") is may


def test_a_claim_in_use_stays_until_its_pod_is_gone():
    async def work():
        api = FakeApi()
        api.put(CLAIMS, claim())
        user = pod("user")
        user["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
        api.put(PODS, user)
        async with running(api, ClaimProtection, VolumeProtection):
            await settle(100)
            assert api.all(CLAIMS)[0]["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
            await api.delete(CLAIMS, "data", "default")
            await settle(100)
            assert api.all(CLAIMS)[0]["metadata"]["deletionTimestamp"]
            api.remove(PODS, "default", "user")
            await settle(100)
            assert api.all(CLAIMS) == []
            api.put(VOLUMES, volume(phase="Bound"))
            await settle(100)
            await api.delete(VOLUMES, "pv")
            await settle(100)
            assert len(api.all(VOLUMES)) == 1
            api.touch(VOLUMES, "", "pv", lambda found: found["status"].update(phase="Released"))
            await settle(100)
            assert api.all(VOLUMES) == []

    run(work())


def test_claims_of_ephemeral_volumes():
    async def work():
        api = FakeApi()
        user = pod("user", node="")
        template = {"metadata": {"labels": {"a": "b"}}, "spec": claim()["spec"]}
        user["spec"]["volumes"] = [{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]
        api.put(PODS, user)
        async with running(api, EphemeralVolumes) as (_, recorder):
            await settle(100)
            (made,) = api.all(CLAIMS)
            assert (made["metadata"]["name"], made["metadata"]["labels"]) == ("user-v", {"a": "b"})
            assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-user"
            other = pod("foreign", node="")
            other["spec"]["volumes"] = [{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]
            api.put(CLAIMS, claim("foreign-v"))
            api.put(PODS, other)
            await settle(100)
            assert recorder.reasons() == ["FailedBinding"]

    run(work())


def test_a_directory_with_what_is_in_it(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    asyncio.run(remove_tree(str(tmp_path / "a")))
    asyncio.run(remove_tree(str(tmp_path / "a")))
    assert list(tmp_path.iterdir()) == []
