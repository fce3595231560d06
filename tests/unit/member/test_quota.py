"""The quota: etcd's costs, what counts as full, and a member that raises its alarm, refuses, and goes on when the alarm is lifted."""

from typing import Any

import pytest

from kvstore.errors import NoSpace, Stopped
from kvstore.ids import LeaseId, MemberId
from kvstore.member.quota import NEAR_BYTES, Quota, cost
from kvstore.member.raising import Raising
from kvstore.model import (
    AlarmAction,
    AlarmChange,
    AlarmMember,
    AlarmType,
    Compact,
    DeleteRange,
    LeaseGrant,
    LeaseRevoke,
    Put,
    PutResult,
    Range,
    Txn,
)
from tests.unit.member.test_member import Alone

LIMIT = 1 << 20
NOSPACE = AlarmMember(MemberId(1), AlarmType.NOSPACE)
DISARM = AlarmChange(AlarmAction.DEACTIVATE, 1, AlarmType.NOSPACE)


def txn(success: list[Any], failure: list[Any]) -> Txn:
    return Txn((), tuple(success), tuple(failure))


PUT_20 = Put(b"key", b"x" * 17)
"""Costs 276."""


@pytest.mark.parametrize(
    ("command", "bytes_more"),
    [
        (PUT_20, 256 + 20),
        (LeaseGrant(1, 10), 64),
        (DeleteRange(b"key"), 0),
        (LeaseRevoke(1), 0),
        (Compact(5), 0),
        (txn([], []), 0),
        (txn([DeleteRange(b"key"), Range(b"key")], []), 0),
        (txn([PUT_20], [PUT_20, PUT_20, DeleteRange(b"key")]), 2 * 276),
        (txn([txn([PUT_20], [PUT_20, PUT_20]), PUT_20], []), 3 * 276),
    ],
)
def test_costs_are_etcds(command: Any, bytes_more: int) -> None:
    assert cost(command) == bytes_more


def test_a_write_needs_room_below_the_limit_and_a_delete_needs_none() -> None:
    quota = Quota(LIMIT)
    quota.measured(LIMIT - 277, 0)
    assert quota.allows(PUT_20)
    quota.measured(LIMIT - 276, 0)
    assert not quota.allows(PUT_20)
    assert quota.allows(DeleteRange(b"key"))
    quota.measured(10 * LIMIT, 0)
    assert quota.allows(DeleteRange(b"key"))


def test_no_limit_is_no_limit() -> None:
    quota = Quota(0)
    quota.measured(1 << 50, 1 << 50)
    assert not quota.near
    assert quota.allows(PUT_20)


def test_far_below_the_limit_nobody_asks() -> None:
    quota = Quota(2 * NEAR_BYTES)
    quota.measured(NEAR_BYTES - 1, 0)
    assert not quota.near
    quota.measured(NEAR_BYTES, 0)
    assert quota.near


def test_what_is_not_committed_counts_as_far_as_it_does_not_fit_the_free_pages() -> None:
    quota = Quota(LIMIT)
    quota.measured(LIMIT - 1000, in_use_bytes=LIMIT // 4)
    quota.written(LIMIT // 4)
    assert quota.allows(PUT_20)
    quota.written(LIMIT // 8)
    assert not quota.allows(PUT_20)
    assert quota.is_guess
    quota.looked(LIMIT - 500)
    assert quota.allows(PUT_20)
    quota.looked(LIMIT)
    assert not quota.allows(PUT_20)
    assert not quota.is_guess


def test_an_alarm_is_proposed_once_and_tells_everybody() -> None:
    raising = Raising(timeout_s=5)
    assert raising.wanted(1, 1, "first", 0.0)
    assert not raising.wanted(1, 1, "second", 1.0)
    assert raising.wanted(2, 1, None, 1.0)
    assert raising.stands(1, 1) == ["first", "second"]
    assert raising.stands(1, 1) == []
    assert raising.expire(5.9) == []
    assert raising.wanted(1, 1, "third", 5.9)
    assert raising.expire(11.0) == ["third"]
    assert raising.wanted(1, 1, "fourth", 11.0)
    assert raising.drain() == ["fourth"]


def turn(alone: Alone) -> None:
    """Everything that was asked is done, the state's commits included."""
    for _ in range(3):
        alone.pump()
        alone.do_state_work()


def full() -> Alone:
    alone = Alone(quota_bytes=LIMIT).lead()
    alone.member.state_measured(LIMIT, LIMIT)
    return alone


def test_a_full_member_raises_its_alarm_and_refuses() -> None:
    alone = full()
    for token, command in (("put", PUT_20), ("grant", LeaseGrant(1, 10)), ("txn", txn([], [PUT_20]))):
        alone.member.propose(command, token)
    turn(alone)
    assert [type(alone.answers[token]) for token in ("put", "grant", "txn")] == [NoSpace] * 3
    assert alone.member.machine.alarms == [NOSPACE]
    assert alone.member.machine.revision == 1, "nothing was written"
    applied = alone.member.machine.applied_index
    alone.member.propose(PUT_20, "again")
    assert ("again", NoSpace) in [(token, type(outcome)) for token, outcome in alone.member.take_effects().replies]
    turn(alone)
    assert alone.member.machine.applied_index == applied, "an alarm that stands is not proposed again"


def test_a_full_member_still_deletes_reads_compacts_revokes() -> None:
    alone = Alone(quota_bytes=LIMIT).lead()
    member = alone.member
    member.propose(PUT_20, "before")
    member.propose(LeaseGrant(7, 10), "lease")
    turn(alone)
    member.state_measured(LIMIT, LIMIT)
    member.propose(PUT_20, "refused")
    turn(alone)
    commands = {"delete": DeleteRange(b"key"), "compact": Compact(2), "revoke": LeaseRevoke(7), "txn": txn([DeleteRange(b"x")], [])}
    for token, command in commands.items():
        member.propose(command, token)
    member.read(Range(b"key"), "read")
    turn(alone)
    failed = {token: alone.answers[token] for token in [*commands, "read"] if isinstance(alone.answers[token], Exception)}
    assert failed == {}


def test_what_was_let_in_is_applied_but_its_client_hears_that_there_is_no_room() -> None:
    """A-3: the state must not differ between a full member and one that has room."""
    alone = Alone(quota_bytes=LIMIT).lead()
    alone.member.propose(PUT_20, "put")
    alone.member.state_measured(LIMIT, LIMIT)
    turn(alone)
    assert isinstance(alone.answers["put"], NoSpace)
    assert alone.member.machine.alarms == [NOSPACE]
    assert alone.member.machine.revision == 2
    assert alone.member.machine.range(Range(b"key")).count == 1


def test_a_lease_let_in_at_the_last_moment_exists_and_ends() -> None:
    alone = Alone(quota_bytes=LIMIT).lead()
    alone.member.grant_lease(LeaseId(7), 5, "grant")
    alone.member.state_measured(LIMIT, LIMIT)
    turn(alone)
    assert isinstance(alone.answers["grant"], NoSpace)
    assert 7 in alone.member.machine.leases
    alone.tick(80, lambda: turn(alone))
    assert 7 not in alone.member.machine.leases


def test_lifting_the_alarm_lets_writes_in_when_there_is_room_and_raises_it_again_when_not() -> None:
    alone = full()
    member = alone.member
    member.propose(PUT_20, "refused")
    turn(alone)
    member.propose(DISARM, "disarm")
    turn(alone)
    assert alone.answers["disarm"].alarms == [NOSPACE]
    assert member.machine.alarms == []
    member.propose(PUT_20, "still full")
    turn(alone)
    assert isinstance(alone.answers["still full"], NoSpace)
    assert member.machine.alarms == [NOSPACE]
    member.state_measured(LIMIT // 2, LIMIT // 2)
    member.propose(PUT_20, "room but alarm")
    member.propose(DISARM, "disarm again")
    member.propose(PUT_20, "fine")
    turn(alone)
    assert isinstance(alone.answers["room but alarm"], NoSpace)
    assert isinstance(alone.answers["fine"], PutResult)


def test_another_members_alarm_refuses_here_too() -> None:
    alone = Alone(quota_bytes=LIMIT).lead()
    alone.member.propose(AlarmChange(AlarmAction.ACTIVATE, 2, AlarmType.NOSPACE), "alarm")
    alone.member.propose(PUT_20, "put")
    turn(alone)
    assert isinstance(alone.answers["put"], NoSpace)
    assert alone.member.machine.range(Range(b"key")).count == 0


def test_without_a_leader_the_refusal_comes_in_time_all_the_same() -> None:
    alone = Alone(voters=3, quota_bytes=LIMIT)
    alone.member.state_measured(LIMIT, LIMIT)
    alone.tick(1, lambda: alone.member.propose(PUT_20, "put"))
    alone.tick(int(alone.member.config.request_timeout_s / alone.member.config.tick_s) + 2)
    assert isinstance(alone.answers["put"], NoSpace)
    alone.member.propose(PUT_20, "waiting")
    alone.member.stop()
    turn(alone)
    assert isinstance(dict(alone.member.take_effects().replies).get("waiting", alone.answers.get("waiting")), Stopped)
