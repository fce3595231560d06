"""The lock and election services beside etcd's, in random schedules of several clients."""

import os
from pathlib import Path

import pytest

from kvstore.wire import messages as pb
from tests.oracle.choosing import Seeded
from tests.oracle.coordination import Contests
from tests.oracle.duel import Mismatch
from tests.support import kinds

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STEPS = int(os.environ.get("KEELSON_ORACLE_COORDINATION_STEPS", "400"))


@pytest.mark.timeout(120 + STEPS)
@pytest.mark.parametrize("seed", [1])
def test_a_seeded_schedule_has_the_answers_of_etcd(tmp_path: Path, seed: int) -> None:
    contests = Contests(kinds.find(kinds.ETCD), kinds.subject(), tmp_path, Seeded(seed))
    try:
        for _ in range(STEPS):
            contests.step()
        contests.finish()
        assert contests.waited > STEPS // 4, "hardly anybody waited: this schedule shows little"
    finally:
        contests.close()


def test_a_lock_that_lets_two_in_is_found(tmp_path: Path) -> None:
    """The comparison can fail: a subject where everybody's key is gone all the time."""
    contests = Contests(kinds.find(kinds.ETCD), kinds.subject(), tmp_path, Seeded(2))
    subject = contests.sides[1]
    try:
        with pytest.raises(Mismatch):
            for _ in range(50):
                contests.step()
                for kv in contests._keys(subject)[:1]:
                    subject.wire.ask(pb.DeleteRangeRequest(key=kv.key))
    finally:
        contests.close()
