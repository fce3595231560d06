"""Is there an order of all operations, each somewhere between its call and its return, that one copy of the store could have run?

In the manner of Porcupine (A. Athalye), which follows Wing & Gong with Lowe's memoisation: a depth-first search over "which operation
was next", remembering every (set of operations done, state) already tried. Three things keep it fast:

* P-compositionality: keys that no operation joins are judged apart;
* the set done is kept as "all below `low`" plus a small mask, because only operations that overlap in time can be out of order;
* an operation without an answer may happen at any time after its call or never. So it need only be tried where the next operation looks at
  what it did (it can be moved up to there, and if nobody looked it can be left out); of several equal ones the oldest first. One that only
  writes values which nobody ever saw is left out from the beginning.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from keelson.drills.checkers.history import ANY_MOD, Compare, Delete, Operation, Outcome, Put, Request, Version
from keelson.drills.checkers.violation import Violation

RULE = "linearizability"

STEPS_MAX = 2_000_000
"""Search steps in one partition before giving up: about ten seconds. Giving up is an error, never a pass."""

State = dict[bytes, Version]
Frame = tuple[int, int, int, bool, State]
"""(low, mask, gone, looked_for, state): everything below `low` is done, bit i of `mask` says that done[low + i] is, bit i of `gone` that lost[i]
happened, and `looked_for` that the next operation has to look at what the one before, unanswered, did."""
FrozenState = tuple[tuple[bytes, Version], ...]


def check(history: Iterable[Operation]) -> None:
    """Raise Violation if `history` is not linearizable, and say up to where it was."""
    operations = list(history)
    mods = _learned_mods(operations)
    for part in partitions(_drop_unseen(operations)):
        _check_partition(part, mods)


def partitions(operations: Iterable[Operation]) -> Iterator[list[Operation]]:
    """Operations grouped so that no two groups share a key."""
    parent: dict[bytes, bytes] = {}

    def root(key: bytes) -> bytes:
        while (up := parent.setdefault(key, key)) != key:
            parent[key] = key = parent.setdefault(up, up)
        return key

    operations = list(operations)
    for operation in operations:
        first, *rest = operation.keys()
        for key in rest:
            parent[root(key)] = root(first)
    groups: dict[bytes, list[Operation]] = defaultdict(list)
    for operation in operations:
        groups[root(next(iter(operation.keys())))].append(operation)
    yield from groups.values()


def _seen(operations: Iterable[Operation]) -> Iterator[Version]:
    for operation in operations:
        if operation.outcome is not None:
            yield from (version for version in operation.outcome.results if version is not None)


def _learned_mods(operations: list[Operation]) -> dict[bytes, int]:
    """The mod_revision of each value that somebody read: what an unanswered write of that value must have got."""
    return {version.value: version.mod for version in _seen(operations)}


def _drop_unseen(operations: list[Operation]) -> Iterator[Operation]:
    """Leave out unanswered operations that write nothing, or only values which nobody read or compared with.

    Sound as long as every step that depends on a key's state reports it: a failed compare reads its key, a delete tells what it found.
    (An unanswered operation that depends on one left out is left out itself, or need not happen where it did.)
    """
    seen = {version.value for version in _seen(operations)}
    seen |= {compare.value for operation in operations for compare in operation.request.compares if compare.value is not None}
    for operation in operations:
        request = operation.request
        written = {step.value for step in request.success if isinstance(step, Put)}
        deletes = any(isinstance(step, Delete) for step in (*request.success, *request.failure))
        if operation.outcome is not None or deletes or not written.isdisjoint(seen):
            yield operation


def holds(compare: Compare, state: State) -> bool:
    version = state.get(compare.key)
    if compare.mod is not None:
        return (0 if version is None else version.mod) == compare.mod
    return version is not None and version.value == compare.value


def run(state: State, request: Request, outcome: Outcome | None, mods: dict[bytes, int]) -> State | None:
    """The state after `request`, or None if `outcome` could not have come from `state`."""
    succeeded = all(holds(compare, state) for compare in request.compares)
    if outcome is not None and outcome.succeeded != succeeded:
        return None
    steps = request.success if succeeded else request.failure
    after = state
    for at, step in enumerate(steps):
        if isinstance(step, Put):
            mod = outcome.revision if outcome is not None else mods.get(step.value, ANY_MOD)
            after = {**after, step.key: Version(step.value, mod)}
            continue
        found = after.get(step.key)
        if outcome is not None and not _same(found, outcome.results[at]):
            return None
        if isinstance(step, Delete) and found is not None:
            after = {key: version for key, version in after.items() if key != step.key}
    return after


def _same(held: Version | None, told: Version | None) -> bool:
    if held is None or told is None:
        return held is told
    return held.value == told.value and (held.mod == told.mod or ANY_MOD in (held.mod, told.mod))


def _looks(request: Request) -> bool:
    """Does anything of it depend on the state?"""
    return bool(request.compares) or any(not isinstance(step, Put) for step in request.success)


def _guess(candidate: tuple[int, int, Frame]) -> tuple[int, int]:
    """Revision of the answer, then place in the order of calls."""
    return candidate[0], candidate[1]


def _freeze(state: State) -> FrozenState:
    return tuple(sorted(state.items()))


def _twins(lost: list[Operation]) -> list[int]:
    """For each unanswered operation a mask of the equal ones before it: these are tried first."""
    return [sum(1 << j for j in range(i) if lost[j].request == lost[i].request) for i in range(len(lost))]


def _check_partition(operations: list[Operation], mods: dict[bytes, int]) -> None:
    done = sorted((op for op in operations if op.outcome is not None), key=lambda op: op.called)
    lost = sorted((op for op in operations if op.outcome is None), key=lambda op: op.called)
    twins = _twins(lost)
    total = len(done)
    # An unanswered operation can be moved up to the one that looks at it only if no other one writes a part of what it wrote meanwhile.
    movable = len({frozenset(operation.keys()) for operation in operations}) == 1
    tried: set[tuple[int, int, int, bool, FrozenState]] = set()
    stack: list[Frame] = [(0, 0, 0, False, {})]
    deepest, deepest_state = -1, {}
    steps = 0
    while stack:
        low, mask, gone, looked_for, state = stack.pop()
        while mask & 1:
            low, mask = low + 1, mask >> 1
        if low == total:
            return
        frame = (low, mask, gone, looked_for, _freeze(state))
        if frame in tried:
            continue
        tried.add(frame)
        steps += 1
        if steps > STEPS_MAX:
            raise Violation(RULE, f"undecided after {steps} steps over {total} operations of {sorted(done[0].keys())}")
        if low > deepest:
            deepest, deepest_state = low, state
        # What may come next was called before anything not yet done has returned.
        horizon = None
        frames: list[tuple[int, int, Frame]] = []
        for at in range(low, total):
            if mask >> (at - low) & 1:
                continue
            operation = done[at]
            if horizon is not None and operation.called > horizon:
                break
            after = None if looked_for and not _looks(operation.request) else run(state, operation.request, operation.outcome, mods)
            if after is not None:
                assert operation.outcome is not None
                frames.append((operation.outcome.revision, at, (low, mask | 1 << (at - low), gone, False, after)))
            returned = operation.returned
            assert returned is not None
            if horizon is None or returned < horizon:
                horizon = returned
        assert horizon is not None
        for at, operation in enumerate(lost):
            if operation.called > horizon:
                break
            if gone >> at & 1 or twins[at] & ~gone or (looked_for and not operation.request.compares):
                continue
            after = run(state, operation.request, None, mods)
            if after is not None and after != state:
                stack.append((low, mask, gone | 1 << at, movable, after))
        # Answered ones on top, in the order of their revisions where these are known, else the earliest first: the guess that is mostly right.
        frames.sort(key=_guess, reverse=True)
        stack.extend(frame for _, _, frame in frames)
    _explain(done, deepest, deepest_state)


def _explain(done: list[Operation], deepest: int, state: State) -> None:
    stuck = done[deepest]
    around = [op for op in done[max(0, deepest - 6) :] if op.called <= (stuck.returned or 0)][:14]
    lines = "\n".join(f"  client {op.client} [{op.called}, {op.returned}] {op.request} -> {op.outcome}" for op in around)
    raise Violation(
        RULE, f"no order explains operation {deepest} of {len(done)}; the furthest state reached was {state}; it and its neighbours:\n{lines}"
    )
