"""A pod's status from what is seen of it."""

import asyncio
from typing import Any

import pytest

from agents.kubelet.runtime.base import EXITED, RUNNING
from agents.kubelet.status import Seen, Waiting, patch, pod_status
from apiserver.client.rest import STRATEGIC
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import resource
from tests.support.fake_api import FakeApi
from tests.support.pods import pod, seen

PODS = resource("pods")
A, B, INIT = {"name": "a"}, {"name": "b"}, {"name": "i"}


def conditions(status: Object) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each.get("reason", "")) for each in status["conditions"]}


def one(wanted: Object, *containers: Any, **more: Any) -> Object:
    history: dict[str, list[Any]] = {}
    for each in containers:
        history.setdefault(each.name, []).append(each)
    return pod_status(wanted, Seen(history=history, now_s=1000.0, sandbox_ready=True, **more))


def test_before_anything_has_begun() -> None:
    status = one(pod(A, inits=(INIT,)))
    assert status["phase"] == "Pending"
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert one(pod(A))["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert conditions(status)["Initialized"] == ("False", "ContainersNotInitialized")


def test_running_and_ready() -> None:
    everybody = frozenset(("a", "b"))
    status = one(pod(A, B), seen("a"), seen("b"), started=everybody, ready=everybody, pod_ip="10.0.0.2", host_ip="10.1.0.1")
    assert (status["phase"], status["podIP"], status["hostIPs"]) == ("Running", "10.0.0.2", [{"ip": "10.1.0.1"}])
    assert [(each["ready"], each["started"], each["containerID"]) for each in status["containerStatuses"]] == [
        (True, True, "keelson://a-0"),
        (True, True, "keelson://b-0"),
    ]
    assert {value for value, _ in conditions(status).values()} == {"True"}


def test_one_unready_container_makes_the_pod_unready() -> None:
    status = one(pod(A, B), seen("a"), seen("b"), started=frozenset("ab"), ready=frozenset("a"))
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "ContainersNotReady", "containers with unready status: [b]")


def test_readiness_gates() -> None:
    wanted = pod(A, readinessGates=[{"conditionType": "example.com/gate"}])
    status = one(wanted, seen("a"), started=frozenset("a"), ready=frozenset("a"))
    assert conditions(status)["Ready"] == ("False", "ReadinessGatesNotReady")
    assert conditions(status)["ContainersReady"][0] == "True"
    wanted["status"] = {"conditions": [{"type": "example.com/gate", "status": "True"}]}
    assert conditions(one(wanted, seen("a"), started=frozenset("a"), ready=frozenset("a")))["Ready"][0] == "True"


def test_a_crash_loop_runs_as_far_as_the_phase_is_concerned() -> None:
    waiting = {"a": Waiting("CrashLoopBackOff", "back-off 10s")}
    status = one(pod(A), seen("a", EXITED, code=3), waiting=waiting, messages={"a-0": "because"})
    container = status["containerStatuses"][0]
    assert status["phase"] == "Running"
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert (container["lastState"]["terminated"]["exitCode"], container["lastState"]["terminated"]["message"]) == (3, "because")


def test_restarts_are_counted_and_the_last_end_is_shown() -> None:
    container = one(pod(A), seen("a", EXITED, code=1), seen("a", RUNNING, attempt=1))["containerStatuses"][0]
    assert container["restartCount"] == 1 and "running" in container["state"] and container["lastState"]["terminated"]["exitCode"] == 1


@pytest.mark.parametrize(
    ("policy", "codes", "phase"),
    [("Never", (0, 0), "Succeeded"), ("Never", (0, 1), "Failed"), ("OnFailure", (0, 1), "Running"), ("Always", (0, 0), "Running")],
)
def test_phases_of_what_has_ended(policy: str, codes: tuple[int, int], phase: str) -> None:
    status = one(pod(A, B, restartPolicy=policy), seen("a", EXITED, code=codes[0]), seen("b", EXITED, code=codes[1]))
    assert status["phase"] == phase


def test_completed() -> None:
    found = conditions(one(pod(A, restartPolicy="Never"), seen("a", EXITED)))
    assert (found["Ready"], found["Initialized"]) == (("False", "PodCompleted"), ("True", "PodCompleted"))


def test_a_failed_init_container() -> None:
    wanted = pod(A, inits=(INIT,), restartPolicy="Never")
    assert one(wanted, seen("i", EXITED, code=1))["phase"] == "Failed"
    wanted["spec"]["restartPolicy"] = "Always"
    assert one(wanted, seen("i", EXITED, code=1))["phase"] == "Pending"


def test_conditions_keep_the_time_of_their_change_and_those_of_others_stay() -> None:
    wanted = pod(A)
    wanted["status"] = {
        "conditions": [
            {"type": "Initialized", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
            {"type": "DisruptionTarget", "status": "True"},
        ]
    }
    found = {each["type"]: each for each in one(wanted, seen("a"))["conditions"]}
    assert found["Initialized"]["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert found["Ready"]["lastTransitionTime"] == "1970-01-01T00:16:40Z"
    assert found["DisruptionTarget"]["status"] == "True"


def test_a_patch_says_only_what_changed() -> None:
    wanted = pod(A)
    status = one(wanted, seen("a"), started=frozenset("a"), ready=frozenset("a"))
    first = patch(wanted, status)
    assert first is not None and first["metadata"] == {"uid": "u1"}
    wanted["status"] = status
    assert patch(wanted, one(wanted, seen("a"), started=frozenset("a"), ready=frozenset("a"))) is None
    later = patch(wanted, one(wanted, seen("a"), started=frozenset("a")))
    assert later is not None and set(later["status"]) == {"containerStatuses", "conditions"}
    assert [each["type"] for each in later["status"]["conditions"]] == ["Ready", "ContainersReady"]


def test_a_pod_with_a_new_address_has_the_old_one_no_more() -> None:
    wanted = pod(A)
    wanted["status"] = one(wanted, seen("a"), pod_ip="10.0.0.2", host_ip="10.1.0.1")
    status = one(wanted, seen("a"), pod_ip="10.0.0.3", host_ip="10.1.0.1")
    change = patch(wanted, status)
    assert change is not None
    api = FakeApi()
    api.put(PODS, {"metadata": {"name": "web", "namespace": "default"}, "status": wanted["status"]})
    answer = asyncio.run(api.patch(PODS, "web", {"status": change["status"]}, "default", kind=STRATEGIC, subresource="status"))
    assert (answer["status"]["podIP"], answer["status"]["podIPs"]) == ("10.0.0.3", [{"ip": "10.0.0.3"}])
    assert answer["status"]["hostIPs"] == [{"ip": "10.1.0.1"}]


def test_what_was_told_of_a_container_of_which_nothing_is_left_stays() -> None:
    wanted = pod(A, inits=(INIT,), restartPolicy="Never")
    over = one(wanted, seen("i", EXITED), seen("a", EXITED, code=3), terminating=True, phase="Failed", messages={"a-0": "because"})
    wanted["status"] = over
    later = pod_status(wanted, Seen(now_s=2000.0, sandbox_ready=True, terminating=True, phase="Failed"))
    assert patch(wanted, later) is None and later["containerStatuses"] == over["containerStatuses"]
    wanted["status"] = one(pod(A), seen("a", EXITED, code=1), seen("a", attempt=1))
    assert one(wanted, seen("a", attempt=1))["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1
