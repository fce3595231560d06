"""The wall clock of the leader jumps an hour ahead and a follower's an hour back. Nothing may come of it.

The machine's clock is not touched: only these two processes believe it (see drills/wall_clock.py). What a jump would break are leases that count
wall time: they would all end at once, or not at all for an hour.
"""

import asyncio
import time
import urllib.request
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from keelson.drills import wall_clock
from keelson.drills.cluster import Cluster, Member
from keelson.drills.fault import Fault, Impossible, Tell, Verdict
from keelson.drills.program import Program
from keelson.drills.wall_clock import WallClock
from kvstore.client.client import StoreError

if TYPE_CHECKING:
    from keelson.drills.trial import Trial

JUMP_S = 3600
LONG_S, SHORT_S = 60, 2
"""Leases: one that is to be there afterwards, and one that is to end meanwhile."""
PATIENCE_S = 10.0
"""A lease may end late: the leader looks every half second, and a revocation is a write."""
KEYS = {LONG_S: b"drill/clock-jump/long", SHORT_S: b"drill/clock-jump/short"}


class ClockJump(Fault):
    name = "clock-jump"
    what = "the leader's wall clock jumps an hour ahead, a follower's an hour back"

    _clocks: list[WallClock]
    _verdicts: list[Verdict]

    def why_not(self, program: Program) -> str | None:
        return wall_clock.why_not()

    async def inject(self, cluster: Cluster, tell: Tell) -> None:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        self._clocks = []
        term = await _term(leader)
        for ttl_s, key in KEYS.items():
            lease = await follower.client.lease_grant(ttl_s)
            await follower.client.put(key, b"", lease=lease.ID)
        granted_s = time.monotonic()
        tell(f"{leader.name}, the leader, believes it is an hour later, {follower.name} an hour earlier")
        for member, seconds in ((leader, JUMP_S), (follower, -JUMP_S)):
            assert member.process is not None
            clock = WallClock(member.process.pid)
            clock.shift(seconds)
            self._clocks.append(clock)
        await asyncio.to_thread(_has_jumped, leader, JUMP_S)
        await asyncio.to_thread(_has_jumped, follower, -JUMP_S)
        self._verdicts = [await _short_ends(follower), await _long_goes_on(follower, granted_s), await _no_election(leader, term)]

    async def heal(self, cluster: Cluster, tell: Tell) -> None:
        tell("both clocks set right")
        for clock in self._clocks:
            clock.shift(0)

    def judge(self, trial: "Trial") -> Sequence[Verdict]:
        return self._verdicts


def _has_jumped(member: Member, seconds: int) -> None:
    """By the date in the head of its answers over HTTP, if it has one and is not behind TLS. Raises Impossible if the process has not noticed."""
    if member.scheme != "http":
        return
    with urllib.request.urlopen(f"{member.client_url}/version", timeout=5) as answer:
        date = answer.headers.get("date")
    if date is not None and abs(parsedate_to_datetime(date).timestamp() - time.time() - seconds) > JUMP_S / 2:
        raise Impossible(f"{member} goes by another clock than the one that was moved: it says {date}")


async def _term(member: Member) -> int:
    answer = await member.status()
    if answer is None:
        raise Impossible(f"{member} does not tell its term")
    return int(answer.raftTerm)


async def _short_ends(member: Member) -> Verdict:
    promise = "a lease ends when its time is over, though clocks were set back"
    began_s = time.monotonic()
    while time.monotonic() < began_s + PATIENCE_S:
        try:
            if not (await member.client.get(KEYS[SHORT_S])).kvs:
                return Verdict(promise, True, f"{SHORT_S} s granted, gone after {time.monotonic() - began_s:.1f} s")
        except StoreError:
            pass
        await asyncio.sleep(0.1)
    return Verdict(promise, False, f"{SHORT_S} s granted, still there after {PATIENCE_S:g} s")


async def _long_goes_on(member: Member, granted_s: float) -> Verdict:
    promise = "a lease does not end before its time, though clocks were set ahead"
    found = await member.client.get(KEYS[LONG_S])
    detail = f"{LONG_S} s granted, looked at after {time.monotonic() - granted_s:.1f} s"
    if not found.kvs:
        return Verdict(promise, False, detail)
    left_s = (await member.client.lease_time_to_live(found.kvs[0].lease)).TTL
    return Verdict(promise, 0 < left_s <= LONG_S, f"{detail}: {left_s} s left")


async def _no_election(leader: Member, before: int) -> Verdict:
    after = await _term(leader)
    return Verdict("a jump of wall clocks causes no election", after == before, f"term {before} before, {after} after")
