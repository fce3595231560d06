"""What a supervisor decides, told as events and times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelson.launcher.supervise import AskToStop, Kill, Phase, Policy, Start, Supervision

POLICY = Policy(first_delay_s=0.1, delay_max_s=1.0, steady_s=30, stop_timeout_s=15)


def supervision(*names: str) -> Supervision:
    return Supervision(dict.fromkeys(names or ["m1"], 0.0), POLICY)


def running(*names: str) -> Supervision:
    sup = supervision(*names)
    for action in sup.decide(0):
        assert isinstance(action, Start)
        sup.started(action.member, 0)
    return sup


def test_every_member_is_started_once() -> None:
    sup = supervision("m1", "m2")
    assert sup.decide(0) == [Start("m1"), Start("m2")]
    assert sup.decide(0) == []
    assert sup.next_deadline_s() is None


def test_a_member_found_running_is_not_started() -> None:
    sup = supervision("m1", "m2")
    sup.started("m1", 0)
    assert sup.decide(0) == [Start("m2")]


def test_a_dead_member_is_started_again_after_its_delay() -> None:
    sup = running("m1", "m2")
    assert sup.exited("m1", -9, 50) == 0.1
    assert sup.next_deadline_s() == 50.1
    assert sup.decide(50.05) == []
    assert sup.decide(50.1) == [Start("m1")]
    assert sup.members["m1"].restarts == 1
    assert sup.members["m2"].phase is Phase.RUNNING


def test_who_keeps_dying_waits_longer_and_longer_up_to_a_limit() -> None:
    sup, now_s, delays = running(), 0.0, []
    for _ in range(6):
        delay_s = sup.exited("m1", 1, now_s)
        assert delay_s is not None
        delays.append(delay_s)
        now_s += delay_s
        assert sup.decide(now_s) == [Start("m1")]
        sup.started("m1", now_s)
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_steady_run_forgives_what_was_before() -> None:
    sup = running()
    sup.exited("m1", 1, 1)
    sup.decide(2)
    sup.started("m1", 2)
    assert sup.exited("m1", 1, 31.9) == 0.2
    sup.decide(33)
    sup.started("m1", 33)
    assert sup.exited("m1", 1, 63) == 0.1


def test_a_member_that_cannot_be_started_is_tried_again() -> None:
    sup = supervision()
    assert sup.decide(0) == [Start("m1")]
    assert sup.exited("m1", 127, 0) == 0.1
    assert sup.decide(0.1) == [Start("m1")]


def test_a_member_that_left_stays_away() -> None:
    sup = running("m1", "m2")
    assert sup.exited("m1", 0, 50) is None
    assert sup.decide(100) == []
    assert not sup.finished
    sup.exited("m2", 0, 60)
    assert sup.finished


def test_an_unknown_status_is_no_farewell() -> None:
    assert running().exited("m1", None, 50) == 0.1


def test_stopping_asks_each_once_and_kills_who_takes_too_long() -> None:
    sup = running("m1", "m2")
    sup.stop()
    assert sup.decide(100) == [AskToStop("m1"), AskToStop("m2")]
    assert sup.decide(101) == []
    sup.exited("m1", -15, 102)
    assert sup.next_deadline_s() == 115
    assert sup.decide(115) == [Kill("m2")]
    assert sup.decide(200) == []
    assert not sup.finished
    sup.exited("m2", -9, 201)
    assert sup.finished


def test_stopping_goes_stage_by_stage() -> None:
    sup = Supervision(dict.fromkeys(["store", "api", "agent", "left"], 0.0), POLICY, {"store": 2, "api": 1})
    for action in sup.decide(0):
        sup.started(action.member, 0)
    sup.exited("left", 0, 50)
    sup.stop()
    assert sup.decide(100) == [AskToStop("agent")]
    assert sup.decide(115) == [Kill("agent")]
    assert sup.decide(116) == []
    sup.exited("agent", -9, 117)
    assert sup.decide(117) == [AskToStop("api")]
    sup.exited("store", -9, 118)
    assert sup.decide(118) == []
    sup.exited("api", 0, 119)
    assert sup.finished


def test_stopping_starts_nobody_any_more() -> None:
    sup = running("m1", "m2")
    sup.exited("m1", -9, 10)
    sup.stop()
    assert sup.decide(100) == [AskToStop("m2")]
    assert sup.exited("m2", -15, 101) is None
    assert sup.finished


def test_stopping_before_anything_was_started_is_the_end() -> None:
    sup = supervision("m1", "m2")
    sup.stop()
    assert sup.finished
    assert sup.decide(0) == []


def test_a_start_of_somebody_who_is_gone_is_a_mistake_of_ours() -> None:
    sup = running()
    sup.exited("m1", 0, 1)
    with pytest.raises(AssertionError, match="m1 started while"):
        sup.started("m1", 2)


@given(st.lists(st.tuples(st.sampled_from(["wait", "die", "leave", "stop"]), st.floats(0, 20)), max_size=40))
def test_whatever_happens_nobody_runs_twice_and_a_stop_comes_to_an_end(story: list[tuple[str, float]]) -> None:
    """The shell's loop in short; `alive` is the world."""
    sup, alive, now_s, left = supervision("m1", "m2"), set[str](), 0.0, set[str]()

    def act() -> None:
        for action in sup.decide(now_s):
            match action:
                case Start(name):
                    assert name not in alive
                    assert name not in left
                    assert not sup.stopping
                    alive.add(name)
                    sup.started(name, now_s)
                case AskToStop(name) | Kill(name):
                    assert name in alive

    for event, later_s in story:
        act()
        now_s += later_s
        if event == "stop":
            sup.stop()
        elif event in ("die", "leave") and alive:
            name = min(alive)
            alive.discard(name)
            if event == "leave" or sup.stopping:
                left.add(name)
            sup.exited(name, 0 if event == "leave" else -9, now_s)
    assert all((sup.members[name].phase is Phase.GONE) >= (name in left) for name in ("m1", "m2"))
    sup.stop()
    act()
    for name in sorted(alive):
        sup.exited(name, -15, now_s)
    assert sup.finished
    assert sup.next_deadline_s() is None


def test_a_first_start_may_wait_and_a_restart_does_not_wait_again() -> None:
    supervision = Supervision({"store": 0.0, "agent": 1.2})
    assert supervision.decide(10) == [Start("store")]
    assert supervision.next_deadline_s() == 11.2
    assert supervision.decide(11.2) == [Start("agent")]
    supervision.started("agent", 11.2)
    assert supervision.exited("agent", 1, 11.3) == 0.1
    assert supervision.decide(11.5) == [Start("agent")]


def test_a_member_may_leave_and_other_programs_may_not() -> None:
    supervision = Supervision({"m1": 0.0, "agent": 0.0}, faithful=["agent"])
    supervision.decide(0)
    for name in ("m1", "agent"):
        supervision.started(name, 0)
    assert supervision.exited("m1", 0, 1) is None
    assert supervision.exited("agent", 0, 1) == 0.1
