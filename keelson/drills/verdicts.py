"""What every drill promises, whatever the fault: one verdict each, over all that clients asked and were told."""

from collections.abc import Callable, Mapping, Sequence

from keelson.drills.checkers import linearizability, watch_guarantees
from keelson.drills.checkers.history import ANY_MOD, Delete, Get, Operation, Put
from keelson.drills.checkers.reference import Change, Reference
from keelson.drills.checkers.violation import Violation
from keelson.drills.checkers.watch_guarantees import WatchRecord
from keelson.drills.fault import Verdict
from keelson.drills.watchers import Watch
from kvstore.encoding import KeyValue

LINEARIZABLE = "requests are linearizable"
ACKNOWLEDGED = "every acknowledged write is there"
READS = "a read tells what its revision held"
SAME = "all members tell the same history"
ORDERED = "watches are in order"
COMPLETE = "watches have no gap"
UNIQUE = "watches repeat nothing"
ATOMIC = "watches tell each revision at once"
FUTURE = "watches tell nothing from the future"
CAUGHT_UP = "every watch goes on after the fault"


def verdict(promise: str, looked_at: str, check: Callable[[], None]) -> Verdict:
    try:
        check()
    except Violation as violation:
        return Verdict(promise, False, str(violation))
    return Verdict(promise, True, looked_at)


def of_history(operations: Sequence[Operation]) -> Verdict:
    answered = sum(operation.outcome is not None for operation in operations)
    return verdict(LINEARIZABLE, f"{len(operations)} requests, {answered} answered", lambda: linearizability.check(operations))


def of_members(first: int, histories: Mapping[str, Sequence[Change]], last: int) -> tuple[Verdict, Reference]:
    """Whether each member tells all revisions from `first` to `last`, and all the same; and that as the reference for everything else."""
    reference = Reference()
    reference.revision = first - 1

    def check() -> None:
        for name, changes in histories.items():
            missing = set(range(first, last + 1)) - {change.revision for change in changes}
            if missing:
                raise Violation(SAME, f"{name} does not tell of {len(missing)} revisions, the first is {min(missing)}")
            reference.on_changes(list(changes))

    return verdict(SAME, f"{len(histories)} members, {max(last - first + 1, 0)} revisions", check), reference


def of_acknowledged(operations: Sequence[Operation], reference: Reference) -> Verdict:
    """Each acknowledged write is in the history at the revision that its answer named."""
    count = 0

    def check() -> None:
        nonlocal count
        for operation in operations:
            outcome = operation.outcome
            (step,) = operation.request.success
            if outcome is None or not outcome.succeeded or isinstance(step, Get):
                continue
            if isinstance(step, Delete) and outcome.results[0] is None:
                continue
            count += 1
            kept = reference.at(step.key, outcome.revision)
            if isinstance(step, Put):
                if kept is None or kept.value != step.value or kept.mod_revision != outcome.revision:
                    raise Violation(ACKNOWLEDGED, f"{step} was acknowledged at revision {outcome.revision}, where the key is {kept}")
            elif kept is not None or outcome.revision not in reference.changes:
                raise Violation(ACKNOWLEDGED, f"{step} was acknowledged at revision {outcome.revision}, where the key is {kept}")

    result = verdict(ACKNOWLEDGED, "", check)
    return Verdict(ACKNOWLEDGED, True, f"{count} writes") if result.kept else result


def of_reads(operations: Sequence[Operation], reference: Reference) -> Verdict:
    reads = [operation for operation in operations if operation.outcome is not None and isinstance(operation.request.success[0], Get)]

    def check() -> None:
        for operation in reads:
            outcome = operation.outcome
            assert outcome is not None
            if outcome.revision == ANY_MOD:
                continue
            told, held = outcome.results[0], reference.at(operation.request.success[0].key, outcome.revision)
            if (told and tuple(told)) != (held and (held.value, held.mod_revision)):
                raise Violation(READS, f"{operation.request.success[0]} at revision {outcome.revision} told {told}, where {_short(held)} was")

    return verdict(READS, f"{len(reads)} reads", check)


def of_watches(watches: Sequence[Watch], reference: Reference, began_at: Mapping[bytes, float]) -> list[Verdict]:
    """`began_at`: when the write of each value was called."""
    records = [watch.record for watch in watches]
    events = sum(len(update.events) for record in records for update in record.updates)
    looked_at = f"{len(records)} watches, {events} events"

    def of_each(check: Callable[[WatchRecord], None]) -> Callable[[], None]:
        def run() -> None:
            for record in records:
                check(record)

        return run

    def check_future() -> None:
        for watch in watches:
            for value, heard_s in watch.heard_at.items():
                if value and heard_s < began_at.get(value, heard_s):
                    raise Violation(FUTURE, f"watch {watch.record.chain} heard of {value!r} {began_at[value] - heard_s:.6f} s before it was written")
            for update in watch.record.updates:
                if update.events and watch_guarantees.revision_of(update.events[-1]) > update.revision:
                    raise Violation(FUTURE, f"watch {watch.record.chain} was told of a revision behind the header's {update.revision}")

    def check_caught_up() -> None:
        for watch in watches:
            if watch.ended:
                raise Violation(CAUGHT_UP, f"watch {watch.record.chain} was ended: {watch.ended}")
        for record in records:
            if watch_guarantees.is_missing(record, reference.changes, reference.revision):
                raise Violation(
                    CAUGHT_UP, f"watch {record.chain} is at revision {record.told} and was never told what is between it and {reference.revision}"
                )

    return [
        verdict(ORDERED, looked_at, of_each(watch_guarantees.ordered)),
        verdict(COMPLETE, looked_at, of_each(lambda record: watch_guarantees.reliable(record, reference.changes))),
        verdict(UNIQUE, looked_at, of_each(watch_guarantees.unique)),
        verdict(ATOMIC, looked_at, of_each(watch_guarantees.atomic)),
        verdict(FUTURE, looked_at, check_future),
        verdict(CAUGHT_UP, f"{sum(watch.resumed for watch in watches)} times opened anew", check_caught_up),
    ]


def _short(held: KeyValue | None) -> str:
    return "nothing" if held is None else f"{held.value!r} of revision {held.mod_revision}"
