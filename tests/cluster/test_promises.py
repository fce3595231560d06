"""The judges can say no: to a stale read, and to members that differ."""

from pathlib import Path

import pytest

from keelson.drills.checkers import linearizability
from keelson.drills.checkers.history import Get, Operation, Outcome, Put, Request
from keelson.drills.checkers.violation import Violation
from kvstore.wire import messages as pb
from tests.cluster.load import ask
from tests.cluster.promises import check_same_everywhere
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.members import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_members_that_differ_are_found(tmp_path: Path) -> None:
    """Two clusters of one pose as two members of one."""
    with Cluster(kinds.subject(), tmp_path / "1", 1) as one, Cluster(kinds.subject(), tmp_path / "2", 1) as other:
        for cluster, value in ((one, b"x"), (other, b"y")):
            wire = Wire(cluster[0].endpoint)
            wire.ask(pb.PutRequest(key=b"a", value=value))
            wire.close()
        check_same_everywhere([one[0]])
        with pytest.raises(AssertionError, match="members differ"):
            check_same_everywhere([one[0], other[0]])


def test_a_recorded_history_is_judged_with_its_revisions(tmp_path: Path) -> None:
    with Cluster(kinds.subject(), tmp_path, 1) as cluster:
        wire = Wire(cluster[0].endpoint)
        requests = [Request((Put(b"a", b"v1"),)), Request((Put(b"a", b"v2"),)), Request((Get(b"a"),))]
        outcomes = [ask(wire, request) for request in requests]
        wire.close()
    told = list(zip(requests, outcomes, strict=True))
    history = [Operation(1, 2 * at, 2 * at + 1, request, outcome) for at, (request, outcome) in enumerate(told)]
    linearizability.check(history)
    first, read = outcomes[0], outcomes[2]
    assert first is not None and read is not None and read.results[0] is not None
    stale = Outcome((read.results[0]._replace(value=b"v1", mod=first.revision),), True, read.revision)
    with pytest.raises(Violation):
        linearizability.check([*history[:2], Operation(1, 4, 5, requests[2], stale)])
