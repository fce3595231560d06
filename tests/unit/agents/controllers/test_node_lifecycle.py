"""Nodes that fall silent, what is written of them, and how fast their pods have to go."""

import asyncio

import pytest

from agents.controllers.node_health import (
    NOT_READY,
    UNREACHABLE,
    Limits,
    Pace,
    ZoneState,
    eviction_rates,
    silent_conditions,
    with_taints,
    zone_state,
)
from agents.controllers.node_lifecycle import LEASES, NODES, NodeLifecycle
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, pod

LIMITS = Limits()
NOW = "2026-01-01T00:00:00Z"


def node(name="n1", ready="True", taints=(), **spec):
    condition = {"type": "Ready", "status": ready, "reason": "KubeletReady", "lastHeartbeatTime": NOW, "lastTransitionTime": NOW}
    return {"metadata": {"name": name}, "spec": {"taints": list(taints), **spec}, "status": {"conditions": [condition] if ready else []}}


def keys(taints):
    return [(each["key"], each["effect"]) for each in taints]


def test_a_node_may_be_silent_for_its_grace():
    assert silent_conditions(node(), 50.0, LIMITS, NOW) == []
    found = silent_conditions(node(), 50.1, LIMITS, NOW)
    assert [(each["type"], each["status"], each["reason"]) for each in found] == [
        ("Ready", "Unknown", "NodeStatusUnknown"),
        ("MemoryPressure", "Unknown", "NodeStatusNeverUpdated"),
        ("DiskPressure", "Unknown", "NodeStatusNeverUpdated"),
        ("PIDPressure", "Unknown", "NodeStatusNeverUpdated"),
    ]
    assert found[0]["message"] == "Kubelet stopped posting node status."
    assert silent_conditions(node(ready=""), 59.0, LIMITS, NOW) == []


def test_what_is_unknown_already_is_not_written_again():
    silent = node(ready="Unknown")
    silent["status"]["conditions"] += [{"type": type_, "status": "Unknown"} for type_ in ("MemoryPressure", "DiskPressure", "PIDPressure")]
    assert silent_conditions(silent, 1000.0, LIMITS, NOW) == []


def test_taints_follow_conditions_and_leave_those_of_others():
    mine = {"key": "mine", "effect": "NoSchedule"}
    assert keys(with_taints(node(ready="Unknown", taints=[mine]), UNREACHABLE, NOW)) == [
        ("mine", "NoSchedule"),
        (UNREACHABLE, "NoSchedule"),
        (UNREACHABLE, "NoExecute"),
    ]
    assert with_taints(node(), "", NOW) is None
    assert keys(with_taints(node(unschedulable=True), "", NOW)) == [("node.kubernetes.io/unschedulable", "NoSchedule")]


def test_one_silence_turns_into_another():
    before = [{"key": UNREACHABLE, "effect": effect} for effect in ("NoSchedule", "NoExecute")]
    assert keys(with_taints(node(ready="False", taints=before), NOT_READY, NOW)) == [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]
    assert with_taints(node(taints=before), "", NOW) == []


def test_an_eviction_that_has_to_wait_touches_no_noexecute_taint():
    assert keys(with_taints(node(ready="Unknown"), None, NOW)) == [(UNREACHABLE, "NoSchedule")]


@pytest.mark.parametrize(
    ("ready", "state"),
    [
        ([True, True, False], ZoneState.NORMAL),
        ([False], ZoneState.FULL_DISRUPTION),
        ([True, False, False], ZoneState.NORMAL),
        ([True, True, False, False, False], ZoneState.PARTIAL_DISRUPTION),
        ([], ZoneState.NORMAL),
    ],
)
def test_states_of_a_zone(ready, state):
    assert zone_state(ready, LIMITS) is state


def test_rates():
    assert eviction_rates({"a": [False], "b": [False]}, LIMITS) == {"a": 0.0, "b": 0.0}
    assert eviction_rates({"a": [False], "b": [True]}, LIMITS) == {"a": 0.1, "b": 0.1}
    assert eviction_rates({"a": [True, False, False, False]}, LIMITS) == {"a": 0.0}
    assert eviction_rates({"a": [True] * 20 + [False] * 40}, LIMITS) == {"a": 0.01}


def test_one_node_in_ten_seconds():
    pace = Pace()
    assert [pace.take("z", 0.1, now) for now in (0.0, 0.0, 4.0, 10.0)] == [0.0, 10.0, 6.0, 0.0]
    assert pace.take("other", 0.1, 0.0) == 0.0
    assert pace.take("z", 0.0, 100.0) == 10.0


def test_a_node_whose_lease_is_renewed_no_more():
    async def work():
        api = FakeApi()
        api.put(NODES, node("n1"))
        api.put(NODES, node("n2"))
        for name in ("n1", "n2"):
            api.put(LEASES, {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": "0"}})
        api.put(PODS, pod("p", node="n1"))

        async def renew():
            for beat in range(100):
                await asyncio.sleep(10)
                api.touch(LEASES, "kube-node-lease", "n2", lambda lease, beat=beat: lease["spec"].update(renewTime=str(beat + 1)))

        async with running(api, NodeLifecycle) as (_, recorder), asyncio.TaskGroup() as group:
            renewing = group.create_task(renew())
            await asyncio.sleep(49)
            assert [each["spec"]["taints"] for each in api.all(NODES)] == [[], []]
            await asyncio.sleep(8)
            silent, alive = api.all(NODES)
            assert keys(silent["spec"]["taints"]) == [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
            assert alive["spec"]["taints"] == []
            (ready,) = [each for each in api.all(PODS)[0]["status"]["conditions"] if each["type"] == "Ready"]
            assert ready["status"] == "False"
            assert recorder.reasons().count("NodeNotReady") == 2
            # It comes back: the kubelet writes its status, and the taints go.
            api.touch(NODES, "", "n1", lambda found: found["status"].update(conditions=[{"type": "Ready", "status": "True"}]))
            await settle()
            assert api.all(NODES)[0]["spec"]["taints"] == []
            renewing.cancel()

    run(work())


def test_when_all_nodes_fall_silent_nobody_is_evicted():
    async def work():
        api = FakeApi()
        for name in ("n1", "n2", "n3"):
            api.put(NODES, node(name))
        async with running(api, NodeLifecycle):
            await asyncio.sleep(100)
            found = api.all(NODES)
            assert [each["status"]["conditions"][0]["status"] for each in found] == ["Unknown"] * 3
            assert [keys(each["spec"]["taints"]) for each in found] == [[(UNREACHABLE, "NoSchedule")]] * 3

    run(work())
