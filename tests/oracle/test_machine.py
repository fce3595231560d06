"""Hypothesis drives the duel: what it finds, it makes small.

Each example starts from emptied state. The random steps are those of the long runs, in groups that hypothesis can leave out.
"""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.oracle import steps
from tests.oracle.arena import Arena
from tests.oracle.choosing import Drawn
from tests.oracle.duel import Duel

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

EXAMPLES = 40
STEPS = 40


def machine(arena: Arena) -> type[RuleBasedStateMachine]:
    class SameAsEtcd(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.duel: Duel = arena.enter()
            self.duel.reset()

        @rule(data=st.data())
        def write(self, data: st.DataObject) -> None:
            steps.write(self.duel, Drawn(data))

        @rule(data=st.data())
        def write_again(self, data: st.DataObject) -> None:
            steps.write(self.duel, Drawn(data))

        @rule(data=st.data())
        def read(self, data: st.DataObject) -> None:
            steps.read(self.duel, Drawn(data))

        @rule(data=st.data())
        def transact(self, data: st.DataObject) -> None:
            steps.transact(self.duel, Drawn(data))

        @rule(data=st.data())
        def lease(self, data: st.DataObject) -> None:
            steps.lease_step(self.duel, Drawn(data))

        @rule(data=st.data())
        def compact(self, data: st.DataObject) -> None:
            steps.compact(self.duel, Drawn(data))

        @rule(data=st.data())
        def watch(self, data: st.DataObject) -> None:
            steps.watch_step(self.duel, Drawn(data))

        @rule(data=st.data())
        def odd(self, data: st.DataObject) -> None:
            steps.odd(self.duel, Drawn(data))

        def teardown(self) -> None:
            if not self.duel.spent:
                self.duel.finish()

    return SameAsEtcd


def test_any_sequence_of_operations_has_the_answers_of_etcd(arena: Arena) -> None:
    shortly = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        print_blob=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine(arena), settings=shortly)
