from agents.kit.expectations import Expectations


def test_satisfied_when_all_that_was_asked_for_has_been_seen():
    expectations = Expectations(lambda: 0.0)
    assert expectations.satisfied("a")
    expectations.expect_creations("a", 2)
    expectations.creation_observed("a")
    assert not expectations.satisfied("a")
    expectations.creation_observed("a")
    assert expectations.satisfied("a")


def test_a_deletion_is_seen_once_however_often_it_is_told():
    expectations = Expectations(lambda: 0.0)
    expectations.expect_deletions("a", ["u1", "u2"])
    expectations.deletion_observed("a", "u1")
    expectations.deletion_observed("a", "u1")
    assert not expectations.satisfied("a")
    expectations.deletion_observed("a", "u2")
    assert expectations.satisfied("a")


def test_an_event_that_never_comes_holds_nobody_up_for_good():
    now = [0.0]
    expectations = Expectations(lambda: now[0])
    expectations.expect_creations("a", 1)
    now[0] = 301.0
    assert expectations.satisfied("a")
    expectations.expect_creations("a", 1)
    assert not expectations.satisfied("a"), "what was expected before does not count any more, the new does"
    expectations.creation_observed("a")
    assert expectations.satisfied("a")
