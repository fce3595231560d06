"""What must hold after any fault: the history is linearizable, every member holds the same."""

from collections.abc import Iterable

from keelson.drills.checkers import linearizability
from kvstore.wire import messages as pb
from tests.cluster.load import Load
from tests.support.calls import Wire
from tests.support.members import Cluster, Member, wait_until

CATCH_UP_TIMEOUT_S = 40.0


def check_history(load: Load, cluster: Cluster) -> None:
    """Read all that was written once more, then judge the whole history."""
    wire = Wire(cluster.leader().endpoint, cluster.tls)
    load.read_everything(wire)
    wire.close()
    answered = sum(operation.outcome is not None for operation in load.operations)
    assert answered > 100, f"{answered} answers are too few to judge by"
    linearizability.check(load.operations)


def check_same_everywhere(members: Iterable[Member]) -> int:
    """All members reach one revision and hash alike there; that revision."""
    wires = {member.endpoint: Wire(member.endpoint, member.tls) for member in members}

    def revisions() -> set[int]:
        answers = [wire.call("KV/Range", pb.RangeRequest(key=b"\0", serializable=True), 5).message for wire in wires.values()]
        return {0 if answer is None else answer.header.revision for answer in answers}

    wait_until(lambda: len(seen := revisions()) == 1 and 0 not in seen, CATCH_UP_TIMEOUT_S, f"one revision at all of {sorted(wires)}", 0.1)
    (revision,) = revisions()
    hashes = {}
    for name, wire in wires.items():
        answer = wire.ask(pb.HashKVRequest(revision=revision))
        hashes[name] = (answer.hash, answer.compact_revision)
        wire.close()
    assert len(set(hashes.values())) == 1, f"members differ at revision {revision}: {hashes}"
    return revision
