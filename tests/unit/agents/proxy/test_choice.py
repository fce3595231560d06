"""Whose turn it is."""

import random

from agents.proxy import choice
from agents.proxy.choice import SUSPECT_S, Choice
from agents.proxy.rules import Kind, Rule, Target

A, B, C = (Target(f"10.0.0.{number}", 80) for number in (1, 2, 3))
PLAIN, STICKY = Rule("d/s", Kind.CLUSTER_IP, (A, B, C)), Rule("d/s", Kind.CLUSTER_IP, (A, B, C), affinity_s=60)


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


def made():
    clock = Clock()
    return Choice(clock, random.Random(1)), clock


def test_each_has_its_turn_and_the_others_follow():
    chosen, _ = made()
    orders = [chosen.order(PLAIN, PLAIN.targets, "c") for _ in range(3)]
    assert {order[0] for order in orders} == {A, B, C}
    assert all(set(order) == {A, B, C} for order in orders)
    assert chosen.order(PLAIN, (), "c") == []


def test_who_was_silent_is_last_for_a_while():
    chosen, clock = made()
    chosen.silent(A)
    assert all(chosen.order(PLAIN, PLAIN.targets, "c")[-1] == A for _ in range(3))
    clock.now_s += SUSPECT_S + 1
    assert A in {chosen.order(PLAIN, PLAIN.targets, "c")[0] for _ in range(3)}
    chosen.silent(B)
    chosen.answered(PLAIN, B, "c")
    assert B in {chosen.order(PLAIN, PLAIN.targets, "c")[0] for _ in range(3)}


def test_a_client_keeps_its_endpoint_for_the_time_and_while_it_is_there():
    chosen, clock = made()
    chosen.answered(STICKY, B, "c")
    assert all(chosen.order(STICKY, STICKY.targets, "c")[0] == B for _ in range(3))
    assert {chosen.order(STICKY, STICKY.targets, "other")[0] for _ in range(3)} == {A, B, C}
    assert chosen.order(STICKY, (A, C), "c")[0] != B
    clock.now_s += 61
    assert {chosen.order(STICKY, STICKY.targets, "c")[0] for _ in range(3)} == {A, B, C}


def test_not_more_clients_are_remembered_than_the_limit(monkeypatch):
    monkeypatch.setattr(choice, "AFFINE_MAX", 2)
    chosen, _ = made()
    for client in ("x", "y", "z"):
        chosen.answered(STICKY, B, client)
    assert {chosen.order(STICKY, STICKY.targets, "x")[0] for _ in range(3)} == {A, B, C}
    assert {chosen.order(STICKY, STICKY.targets, "z")[0] for _ in range(3)} == {B}


def test_those_farther_away_come_after_the_near_ones_and_never_for_who_may_not():
    chosen, _ = made()
    rule = Rule("d/s", Kind.CLUSTER_IP, (A,), others=(B, C))
    assert chosen.order(rule, rule.targets, "c") == [A, B, C]
    assert chosen.order(rule, (), "c") == []
    chosen.silent(A)
    assert chosen.order(rule, rule.targets, "c") == [B, C, A]
