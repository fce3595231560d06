"""Who leads, as the members say of themselves: asked all the time, each by itself."""

import asyncio
import time
from collections.abc import Iterable, Sequence

from msgspec import Struct

from keelson.drills.cluster import Cluster, Member
from kvstore.client.client import Client, StoreError

POLL_S = 0.05
PATIENCE_S = 0.25
"""A member that does not say within this time that it leads does not lead for anybody."""


class Answer(Struct, frozen=True):
    """What one member said when asked at `at_s`; `itself` 0: nothing."""

    at_s: float
    member: str
    itself: int = 0
    leader: int = 0


class Leadership:
    """`answers` as they were asked for, while `run` runs."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.answers: list[Answer] = []

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            asked: set[str] = set()
            while True:
                for member in self.cluster.members:
                    if member.name not in asked:
                        asked.add(member.name)
                        group.create_task(self._ask(member), name=f"leadership {member.name}")
                await asyncio.sleep(1)

    async def _ask(self, member: Member) -> None:
        async with Client([member.client_url], tls=member.tls, timeout_s=PATIENCE_S) as client:
            while True:
                at_s = time.monotonic()
                try:
                    answer = await client.status()
                except StoreError:
                    self.answers.append(Answer(at_s, member.name))
                else:
                    self.answers.append(Answer(at_s, member.name, answer.header.member_id, answer.leader))
                await asyncio.sleep(max(at_s + POLL_S - time.monotonic(), 0.005))

    def leader_now(self) -> str | None:
        return leaders(self.answers[-50:], len(self.cluster.members))[-1][1] if self.answers else None


def leaders(answers: Iterable[Answer], members: int) -> list[tuple[float, str | None]]:
    """Changes: from when on which member led: it said so itself, and a majority of `members` named it; None: nobody did."""
    newest: dict[str, Answer] = {}
    changes: list[tuple[float, str | None]] = []
    for answer in sorted(answers, key=lambda answer: answer.at_s):
        newest[answer.member] = answer
        named = [each.leader for each in newest.values() if each.leader]
        leader = next(
            (each.member for each in newest.values() if each.itself and each.leader == each.itself and 2 * named.count(each.itself) > members), None
        )
        if not changes or changes[-1][1] != leader:
            changes.append((answer.at_s, leader))
    return changes


def longest_without_s(changes: Sequence[tuple[float, str | None]], begin_s: float, end_s: float) -> float:
    """The longest time between the two in which nobody led."""
    longest = 0.0
    for number, (at_s, leader) in enumerate(changes):
        until_s = changes[number + 1][0] if number + 1 < len(changes) else end_s
        if leader is None:
            longest = max(longest, min(until_s, end_s) - max(at_s, begin_s))
    return longest
