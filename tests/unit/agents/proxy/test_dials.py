"""Dials in virtual time: an endpoint that is gone costs nobody an error, and an overloaded machine gets no more work from our impatience."""

import asyncio
import random

import pytest

from agents.proxy import dials
from agents.proxy.choice import Choice
from agents.proxy.dials import CONNECT_S, DIALS_PER_HEDGE, HEDGE_S, HEDGES_BURST, HEDGES_PER_S, Budget, Counters, Dials
from agents.proxy.rules import Kind, Rule, Target
from tests.support import virtual_loop

TARGETS = A, B, C, D = tuple(Target(f"10.0.0.{number}", 80) for number in range(1, 5))


class Made:
    def __init__(self, target):
        self.target, self.aborted = target, False

    def abort(self):
        self.aborted = True


class Processor:
    """Makes connections one after the other, in the order in which they were asked for, those that nobody waits for any more as well: a SYN that is
    sent is sent, and an endpoint that has it takes its time for it. `gone` never answer, and cost nothing."""

    def __init__(self, cost_s=0.0, gone=()):
        self.cost_s, self.gone, self.free_s, self.asked = cost_s, gone, 0.0, 0

    def stall(self, for_s):
        """Something else has the processor."""
        self.free_s = max(self.free_s, asyncio.get_running_loop().time()) + for_s

    async def dial(self, target):
        now_s = asyncio.get_running_loop().time()
        self.asked += 1
        if target in self.gone:
            await asyncio.Event().wait()
        self.free_s = max(self.free_s, now_s) + self.cost_s
        await asyncio.sleep(self.free_s - now_s)
        return Made(target)


def played(processor, rate_per_s, for_s, targets=TARGETS, stall_s=0.0):
    """Clients at even intervals, a stall after a second: how long each waited, None for one that was refused; and what was counted."""
    counters = Counters()
    rule = Rule("d/s", Kind.CLUSTER_IP, targets)

    async def run():
        loop = asyncio.get_running_loop()
        choice = Choice(loop.time, random.Random(1))
        service = Dials(processor.dial, choice, counters, loop.time())

        async def client():
            began_s = loop.time()
            found = await service.first_to_answer(choice.order(rule, targets, "c"))
            if found is not None:
                choice.answered(rule, found[0], "c")
            return None if found is None else loop.time() - began_s

        async with asyncio.TaskGroup() as group:
            clients = []
            for number in range(int(rate_per_s * for_s)):
                if number == rate_per_s:
                    processor.stall(stall_s)
                clients.append(group.create_task(client()))
                await asyncio.sleep(1 / rate_per_s)
        return [each.result() for each in clients]

    return virtual_loop.run(run()), counters


def test_a_budget_is_a_share_of_dials_beside_a_small_rate_and_holds_a_burst():
    budget = Budget(100.0)
    assert [budget.withdraw(100.0) for _ in range(HEDGES_BURST + 1)] == [True] * HEDGES_BURST + [False]
    for _ in range(DIALS_PER_HEDGE):
        assert not budget.withdraw(100.0)
        budget.deposit(100.0)
    assert budget.withdraw(100.0)
    assert not budget.withdraw(100.0)
    assert budget.withdraw(100.0 + 1 / HEDGES_PER_S)
    assert [budget.withdraw(1e6) for _ in range(HEDGES_BURST + 1)] == [True] * HEDGES_BURST + [False]


@pytest.mark.parametrize(("rate_per_s", "gone", "targets"), [(50, (A, B), TARGETS), (1000, (A,), (A, B)), (1, (A,), (A, B))])
def test_endpoints_that_are_gone_cost_nobody_an_error(rate_per_s, gone, targets):
    waited, counters = played(Processor(gone=gone), rate_per_s, 20 if rate_per_s < 1000 else 2, targets)
    assert None not in waited
    assert max(waited) < CONNECT_S / 2
    assert counters.hedges > 0


def test_after_a_stall_a_busy_machine_comes_to_itself():
    """Three quarters of it are in use. All who come during the stall are late; hedges for a tenth of them are what it can bear."""
    processor = Processor(cost_s=0.015)
    waited, counters = played(processor, 50, 20, stall_s=2.0)
    assert None not in waited
    assert max(waited[-50:]) < HEDGE_S
    assert 0 < counters.hedges <= len(waited) / DIALS_PER_HEDGE + HEDGES_BURST + 20 * HEDGES_PER_S
    assert counters.withheld > 0
    assert processor.asked == len(waited) + counters.hedges
    assert counters.under_way == 0


def test_without_a_budget_the_same_stall_is_the_end_of_it(monkeypatch):
    """What hedges are bounded for: each who is late is dialled for everywhere, which makes all others late."""
    monkeypatch.setattr(dials.Budget, "withdraw", lambda *_: True)
    processor = Processor(cost_s=0.015)
    waited, _ = played(processor, 50, 20, stall_s=2.0)
    assert waited.count(None) > len(waited) / 2
    assert processor.asked > 3 * len(waited)


def test_who_is_slow_when_all_are_is_not_passed_over():
    async def run():
        loop = asyncio.get_running_loop()
        choice = Choice(loop.time, random.Random(1))
        service = Dials(Processor(cost_s=2 * HEDGE_S).dial, choice, Counters(), loop.time())
        assert await service.first_to_answer(TARGETS) is not None
        assert not any(choice.is_silent(each) for each in TARGETS)

    virtual_loop.run(run())


def test_who_is_silent_while_another_answers_is_passed_over():
    async def run():
        loop = asyncio.get_running_loop()
        choice = Choice(loop.time, random.Random(1))
        service = Dials(Processor(gone=(A,)).dial, choice, Counters(), loop.time())
        target, made = await service.first_to_answer(TARGETS)
        assert (target, made.aborted) == (B, False)
        assert [choice.is_silent(each) for each in TARGETS] == [True, False, False, False]

    virtual_loop.run(run())


def test_who_refuses_makes_room_for_the_next_at_no_cost():
    counters, asked = Counters(), []

    async def dial(target):
        asked.append(target)
        if target == D:
            return Made(target)
        raise ConnectionRefusedError

    async def run():
        loop = asyncio.get_running_loop()
        choice = Choice(loop.time, random.Random(1))
        service = Dials(dial, choice, counters, loop.time())
        for _ in range(3 * HEDGES_BURST):
            assert (await service.first_to_answer(TARGETS))[0] == D
        assert await service.first_to_answer((A, B)) is None
        assert await service.first_to_answer(()) is None
        assert loop.time() == 0

    virtual_loop.run(run())
    assert counters.hedges == counters.withheld == 0
    assert counters.failed == len(asked) - 3 * HEDGES_BURST
    assert asked[:6] == [A, B, C, D, A, D]  # who has refused is tried last, by those that have begun as well


def test_who_answers_too_late_is_let_go():
    made = []

    async def dial(target):
        await asyncio.sleep(2 * HEDGE_S if target == A else HEDGE_S)  # both at the same moment
        made.append(Made(target))
        return made[-1]

    async def run():
        loop = asyncio.get_running_loop()
        service = Dials(dial, Choice(loop.time, random.Random(1)), Counters(), loop.time())
        _, winner = await service.first_to_answer((A, B))
        await virtual_loop.settle()
        assert [each.aborted for each in made if each is not winner] in ([], [True])
        assert not winner.aborted

    virtual_loop.run(run())
