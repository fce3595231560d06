"""What a pod needs next: a line per situation."""

from collections.abc import Iterable

import pytest

from agents.kubelet.plan import Crashes, Kill, Observed, Plan, next_crash, plan
from agents.kubelet.runtime.base import CREATED, EXITED, RUNNING, Container
from apiserver.machinery.objects import Object
from tests.support.pods import pod, seen

A, B = {"name": "a"}, {"name": "b"}
SIDECAR = {"name": "side", "restartPolicy": "Always"}


def planned(
    wanted: Object, latest: Iterable[Container] = (), *, ready: bool = True, started: Iterable[str] = (), now_s: float = 1000.0, **more: object
) -> Plan:
    return plan(wanted, Observed({each.name: each for each in latest}, "s1", ready, frozenset(started), now_s=now_s, **more))  # type: ignore[arg-type]


def test_a_pod_without_a_sandbox_gets_one_before_all_else() -> None:
    assert planned(pod(A), ready=False) == Plan(sandbox=True)


def test_a_sandbox_that_is_gone_is_made_anew_only_for_what_would_start_again() -> None:
    over = [seen("a", EXITED)]
    assert planned(pod(A), over, ready=False).sandbox
    assert planned(pod(A, restartPolicy="Never"), over, ready=False) == Plan(done=True)
    assert planned(pod(A, restartPolicy="OnFailure"), [seen("a", EXITED, code=2)], ready=False).sandbox


def test_all_containers_start_together() -> None:
    assert planned(pod(A, B)).start == ["a", "b"]
    assert planned(pod(A, B), [seen("a")]).start == ["b"]
    assert planned(pod(A, B), [seen("a"), seen("b")]) == Plan()


def test_a_container_that_was_created_and_never_started_is_as_good_as_none() -> None:
    assert planned(pod(A, B), [seen("a"), seen("b", CREATED)]).start == ["b"]
    assert planned(pod(A, restartPolicy="Never"), [seen("a", CREATED)]).start == ["a"]
    assert planned(pod(A, inits=(SIDECAR, {"name": "i1"})), [seen("side", CREATED)]).start == ["side"]
    assert planned(pod(A, inits=({"name": "i1"}, {"name": "i2"})), [seen("i1", EXITED), seen("i2", CREATED)]).start == ["i2"]


def test_init_containers_one_after_the_other() -> None:
    wanted = pod(A, inits=({"name": "i1"}, {"name": "i2"}))
    assert planned(wanted).start == ["i1"]
    assert planned(wanted, [seen("i1")]).start == []
    assert planned(wanted, [seen("i1", EXITED)]).start == ["i2"]
    assert planned(wanted, [seen("i1", EXITED), seen("i2", EXITED)]).start == ["a"]
    assert planned(wanted, [seen("i1", EXITED, code=1)]).start == ["i1"]


def test_an_init_container_that_fails_for_good_ends_the_pod() -> None:
    wanted = pod(A, inits=({"name": "i1"},), restartPolicy="Never")
    assert planned(wanted, [seen("i1", EXITED, code=1)]) == Plan(done=True, failed=True)


def test_a_sidecar_only_has_to_have_started() -> None:
    wanted = pod(A, inits=(SIDECAR, {"name": "i1"}))
    assert planned(wanted).start == ["side"]
    assert planned(wanted, [seen("side")]).start == []
    assert planned(wanted, [seen("side")], started=["side"]).start == ["i1"]
    assert planned(wanted, [seen("side"), seen("i1", EXITED)], started=["side"]).start == ["a"]


def test_a_sidecar_that_ended_starts_again_while_the_pod_runs() -> None:
    wanted = pod(A, inits=(SIDECAR,))
    assert planned(wanted, [seen("side", EXITED), seen("a")]).start == ["side"]


@pytest.mark.parametrize(
    ("policy", "code", "again"), [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)]
)
def test_restart_policies(policy: str, code: int, again: bool) -> None:
    found = planned(pod(A, B, restartPolicy=policy), [seen("a", EXITED, code=code), seen("b")])
    assert found.start == (["a"] if again else [])
    assert not found.done


def test_done_when_nothing_will_start_again() -> None:
    wanted = pod(A, B, restartPolicy="Never")
    assert planned(wanted, [seen("a", EXITED), seen("b", EXITED)]) == Plan(done=True)
    assert planned(wanted, [seen("a", EXITED), seen("b", EXITED, code=3)]) == Plan(done=True, failed=True)


def test_a_container_that_keeps_failing_waits_longer_each_time() -> None:
    ended = seen("a", EXITED, code=1, finished=200)
    pauses: Crashes | None = None
    lengths = []
    for _ in range(7):
        pauses = next_crash(pauses, ended)
        lengths.append(pauses.pause_s)
    assert lengths == [10, 20, 40, 80, 160, 300, 300]
    found = planned(pod(A), [ended], pauses={"a": Crashes(40.0)}, now_s=215.0)
    assert (found.start, found.waiting) == ([], {"a": 25.0})
    assert planned(pod(A), [ended], pauses={"a": Crashes(40.0)}, now_s=240.0).start == ["a"]


def test_one_that_cannot_be_started_has_not_run_for_long() -> None:
    ended = seen("a", EXITED, code=128, started=0, finished=1_000_000)
    assert next_crash(Crashes(10.0), ended).pause_s == 20.0
    assert planned(pod(A), [ended], pauses={"a": Crashes(20.0)}, now_s=1_000_005.0).waiting == {"a": 15.0}


def test_a_long_run_is_forgiven() -> None:
    ended = seen("a", EXITED, code=1, started=100, finished=800)
    assert next_crash(Crashes(300.0), ended).pause_s == 10.0
    assert planned(pod(A), [ended], pauses={"a": Crashes(300.0)}, now_s=801.0).start == ["a"]


def test_what_is_unhealthy_is_killed_if_it_runs() -> None:
    why = {"a": "Container a failed liveness probe, will be restarted"}
    assert planned(pod(A, B), [seen("a"), seen("b")], unhealthy=why).kill == [Kill("a-0", "a", why["a"])]
    assert planned(pod(A), [seen("a", EXITED)], unhealthy=why).kill == []


def test_containers_of_an_older_sandbox_do_not_count_as_running() -> None:
    found = planned(pod(A, inits=({"name": "i1"},)), [seen("a", EXITED, sandbox="s0"), seen("i1", EXITED, sandbox="s0")])
    assert found.start == ["i1"]


def test_ephemeral_containers_start_beside_running_ones_and_never_again() -> None:
    wanted = pod(A, ephemeralContainers=[{"name": "debug"}])
    assert planned(wanted).start == ["a"]
    assert planned(wanted, [seen("a", RUNNING)]).start == ["debug"]
    assert planned(wanted, [seen("a", RUNNING), seen("debug", EXITED, code=1)]).start == []
