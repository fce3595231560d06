"""The checkers must be able to fail: known mistakes are built into the core, and each has to be found within a few seeds.

Each mutation is a patch of one function for the time of a test. The first list is what every Raft has to get right; the second is what is wrong
with pysyncobj 0.3.17 (found by trying it), which our core must be shown not to share.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kvstore.errors import MemberNotFound
from kvstore.ids import NO_TERM, NOBODY, Index
from kvstore.member import driver
from kvstore.member.member import Member
from kvstore.member.reads import Reads
from kvstore.raft import candidate, core, follower, leader
from kvstore.raft.log import Log
from kvstore.raft.messages import AppendReply, ConfState
from kvstore.statemachine.machine import Machine
from kvstore.statemachine.members import Action
from kvstore.storage import journal
from kvstore.storage.engine import DiskFull
from kvstore.storage.journal import Journal, Mark
from kvstore.storage.raftlog import RaftLog, _row
from tests.simulation.options import Options
from tests.simulation.run import FLAVOURS

pytestmark = pytest.mark.slow

Patch = Callable[[pytest.MonkeyPatch], None]


def old_terms_are_committed_by_counting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leader, "may_commit", lambda raft, index: index > raft.log.commit)


def votes_are_forgotten_in_memory(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(candidate, "may_vote_for", lambda raft, request: raft.log.is_up_to_date(request.last_log_index, request.last_log_term))


def votes_are_forgotten_in_a_crash(patch: pytest.MonkeyPatch) -> None:
    original = core.Raft.ready

    def without_vote(raft: core.Raft) -> Any:
        taken = original(raft)
        if taken is None or taken.hard_state is None:
            return taken
        return msgspec.structs.replace(taken, hard_state=msgspec.structs.replace(taken.hard_state, vote=NOBODY))

    patch.setattr(core.Raft, "ready", without_vote)


def votes_go_to_shorter_logs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Log, "is_up_to_date", lambda log, last_index, last_term: True)


def acknowledged_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    original = core.Raft.ready

    def ready(raft: core.Raft) -> Any:
        raft.messages += raft.messages_after_persist
        raft.messages_after_persist = []
        return original(raft)

    patch.setattr(core.Raft, "ready", ready)


def leader_counts_itself_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    original = leader.append

    def append(raft: Any, *args: Any) -> None:
        original(raft, *args)
        own = raft.progress.get(raft.id)
        if own is not None and own.acknowledged(raft.log.last_index):
            leader.maybe_commit(raft)

    patch.setattr(leader, "append", append)


def reads_without_a_quorum(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leader, "request_read", lambda raft, requester, context: raft.answer_read(requester, context, raft.log.commit))


def reads_confirmed_by_old_answers(patch: pytest.MonkeyPatch) -> None:
    """A round is taken to be confirmed by any answer to any heartbeat, as if one quorum, once heard, lasted for ever."""
    patch.setattr(leader, "confirmed_round", lambda raft: raft.rounds.last_number)


def read_before_it_is_applied(patch: pytest.MonkeyPatch) -> None:
    original = Reads.confirmed
    patch.setattr(Reads, "confirmed", lambda reads, context, index: original(reads, context, Index(0)))


def conflicts_are_not_truncated(patch: pytest.MonkeyPatch) -> None:
    def accept(log: Log, prev_index: Index, prev_term: Any, entries: Any) -> Index | None:
        if log.term_at(prev_index) != prev_term:
            return None
        new = [entry for entry in entries if entry.index > log.last_index]
        if new:
            log.append(new)
        return Index(prev_index + len(entries))

    patch.setattr(Log, "accept", accept)


def applied_index_is_not_stored_with_the_state(patch: pytest.MonkeyPatch) -> None:
    """After a restart entries are applied again which the state has already."""
    original = Machine.seal

    def seal(machine: Machine) -> None:
        applied = machine.applied_index
        machine.applied_index = Index(max(1, applied - 3))
        original(machine)
        machine.applied_index = applied

    patch.setattr(Machine, "seal", seal)


def state_is_committed_lazily_but_the_log_is_cut_at_once(patch: pytest.MonkeyPatch) -> None:
    original = Member._maybe_cut_log

    def cut(member: Member) -> None:
        durable = member._durable
        member._durable = type(durable)(member.machine.applied_index, member.machine.applied_term, durable.conf)
        original(member)
        member._durable = durable

    patch.setattr(Member, "_maybe_cut_log", cut)


def writes_are_reported_before_they_are_done(patch: pytest.MonkeyPatch) -> None:
    """The driver's version of acknowledging before the sync."""
    original = driver.LogWriter.start

    def start(writer: driver.LogWriter) -> Any:
        work = original(writer)
        if isinstance(work, driver.Persist):
            writer.early = writer._writing  # type: ignore[attr-defined]
            for ready in writer._writing:
                ready.messages.extend(ready.messages_after_persist)
        return work

    patch.setattr(driver.LogWriter, "start", start)
    patch.setattr(core.Raft, "ready", _released_early(core.Raft.ready))


def _released_early(original: Callable[[core.Raft], Any]) -> Callable[[core.Raft], Any]:
    def ready(raft: core.Raft) -> Any:
        taken = original(raft)
        if taken is not None and taken.entries:
            taken.messages.extend(taken.messages_after_persist)
        return taken

    return ready


def a_write_without_room_counts_as_done(patch: pytest.MonkeyPatch) -> None:
    original = RaftLog.append

    def append(log: RaftLog, entries: Any, hard_state: Any) -> None:
        with contextlib.suppress(DiskFull):
            original(log, entries, hard_state)

    patch.setattr(RaftLog, "append", append)


def the_journal_is_written_and_not_flushed(patch: pytest.MonkeyPatch) -> None:
    def append(written: Journal, content: bytes) -> int:
        record = written._record(content)
        written._file.write(written._offset, record)
        written._went(record)
        return len(record)

    patch.setattr(Journal, "append", append)


def what_the_journal_was_found_to_hold_is_not_flushed(patch: pytest.MonkeyPatch) -> None:
    """The process ended between write and flush, the next one counts the record, and then the power goes."""
    original = Journal.recover

    def recover(found: Journal, mark: Mark) -> list[bytes]:
        found._file.readonly = True
        try:
            return original(found, mark)
        finally:
            found._file.readonly = False

    patch.setattr(Journal, "recover", recover)


def the_journals_checksums_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal, "_checksum", lambda mark, checked, content: 0)


def the_journals_epochs_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Records of before the last checkpoint count as long as nothing is written over them."""
    patch.setattr(Journal, "following", lambda present: present.mark)


def the_journal_is_used_again_before_the_checkpoint_is_done(patch: pytest.MonkeyPatch) -> None:
    """The mark is not in the transaction that it belongs to: power goes between the two."""
    original = RaftLog._checkpoint

    def checkpoint(log: RaftLog, *args: Any) -> None:
        before = log._journal.mark if log._journal is not None else None
        original(log, *args)
        if before is not None:
            txn = log._engine.begin_write()
            txn.put(b"journal", _row(msgspec.msgpack.encode(before)), db=log._tables.meta)
            txn.commit()

    patch.setattr(RaftLog, "_checkpoint", checkpoint)


def appends_that_overlap_delete_the_rest(patch: pytest.MonkeyPatch) -> None:
    """pysyncobj: a follower that gets an append which overlaps its log drops everything behind it, acknowledged or not."""

    def accept(log: Log, prev_index: Index, prev_term: Any, entries: Any) -> Index | None:
        if log.term_at(prev_index) != prev_term:
            return None
        if entries:
            if log.last_index > prev_index and prev_index >= log.commit:
                log.truncate_from(Index(prev_index + 1))
            fresh = [entry for entry in entries if entry.index > log.last_index]
            if fresh:
                log.append(fresh)
        return Index(prev_index + len(entries))

    patch.setattr(Log, "accept", accept)


def acknowledgements_count_in_any_term(patch: pytest.MonkeyPatch) -> None:
    """pysyncobj: acknowledgements carry no term, so one for an earlier leader's log counts for a later one's."""
    original = core.Raft.step

    def step(raft: core.Raft, message: Any) -> None:
        if isinstance(message, AppendReply) and message.success and message.term < raft.term:
            message = AppendReply(message.sender, message.receiver, raft.term, True, message.match_index)
        original(raft, message)

    patch.setattr(core.Raft, "step", step)


def two_membership_changes_at_once(patch: pytest.MonkeyPatch) -> None:
    """pysyncobj: a change of the membership may begin while another is under way."""
    patch.setattr(leader, "may_change_membership", lambda raft: True)


def campaigns_by_an_outdated_configuration(patch: pytest.MonkeyPatch) -> None:
    """Our own second mistake: a member campaigned though it knew of a committed change of membership that it had not applied yet."""
    patch.setattr(candidate, "awaits_change", lambda raft: False)


def learners_count_in_the_quorum(patch: pytest.MonkeyPatch) -> None:
    original = leader.committed_index

    def counted(voters: Any, durable: Any) -> Any:
        return original(tuple(voters) + tuple(member for member in durable if member not in voters), durable)

    patch.setattr(leader, "committed_index", counted)


def whoever_joins_counts_itself(patch: pytest.MonkeyPatch) -> None:
    """Our own fourth mistake: a joiner took entries from the beginning, made a configuration up out of changes, and was its only voter."""

    def takes_entries(raft: Any, request: Any) -> None:
        if not raft.conf.voters:
            raft.conf = ConfState((raft.id,))
        original(raft, request)

    original = follower.on_append
    patch.setitem(follower.HANDLERS, follower.AppendRequest, takes_entries)


def a_removed_leader_goes_on(patch: pytest.MonkeyPatch) -> None:
    original = leader.conf_changed

    def goes_on(raft: Any) -> None:
        if raft.progress and raft.id not in raft.conf.voters:
            raft.conf = ConfState((*raft.conf.voters, raft.id), raft.conf.learners)
        original(raft)

    patch.setattr(leader, "conf_changed", goes_on)


def removed_ids_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Who is removed may come back under its old id where nobody has restarted since, and nowhere else."""
    original = Machine.remove_member

    def remove(machine: Machine, member_id: Any) -> None:
        original(machine, member_id)
        machine.removed_members.discard(member_id)

    patch.setattr(Machine, "remove_member", remove)


def changes_are_applied_by_what_each_member_happens_to_think(patch: pytest.MonkeyPatch) -> None:
    """A rule that is not in the log, such as --max-learners, is kept when applying: members with other settings come to differ."""
    original = Machine.change_members

    def change(machine: Machine, action: int, subject: Any, peer_urls: Any) -> Any:
        if action == Action.ADD_LEARNER and len(machine.members) >= machine.observer.id:  # type: ignore[attr-defined]
            return MemberNotFound()
        return original(machine, action, subject, peer_urls)

    patch.setattr(Machine, "change_members", change)


def snapshots_replace_what_was_acknowledged(patch: pytest.MonkeyPatch) -> None:
    """Our own first mistake (bare 36): a snapshot is installed though the log holds its last entry, and more."""
    original = follower.on_install_snapshot

    def install(raft: Any, request: Any) -> None:
        if request.meta.index <= raft.log.commit:
            original(raft, request)
            return
        term_at = raft.log.term_at
        raft.log.term_at = lambda index: NO_TERM if index == request.meta.index else term_at(index)
        try:
            original(raft, request)
        finally:
            del raft.log.term_at

    patch.setitem(follower.HANDLERS, follower.InstallSnapshot, install)


STORMY = {
    "members": 5, "crash_every_s": 1.0, "down_s": 0.3, "partition_every_s": 2.0, "partition_lasts_s": 2.0, "loss": 0.1, "jitter_s": 0.1,
    "think_s": 0.1, "disk_s": 0.05, "inflight_appends_max": 8, "election_ticks": 5,
}  # fmt: skip

SPLIT = {
    "members": 5, "partition_every_s": 2.0, "partition_lasts_s": 6.0, "think_s": 0.1, "election_ticks": 10, "skew": 0.3, "disk_s": 0.005,
}  # fmt: skip

LATE = {
    "members": 3, "hurt_s": 100.0, "transfer_every_s": 2.0, "duplicate": 0.5, "jitter_s": 10.0, "latency_s": 0.01, "crash_every_s": 4.0,
    "crash_all": 0.5, "down_s": 0.2, "inflight_appends_max": 8, "election_ticks": 5, "think_s": 0.1, "pre_vote": False,
}  # fmt: skip

CHANGING = {
    "members": 3, "change_every_s": 0.5, "apply_lag_s": 3.0, "crash_every_s": 2.0, "down_s": 0.3, "partition_every_s": 1.5,
    "partition_lasts_s": 2.0, "loss": 0.05, "jitter_s": 0.05, "election_ticks": 5, "think_s": 0.1, "inflight_appends_max": 8,
}  # fmt: skip

RESTARTING = {
    "members": 3, "crash_every_s": 1.0, "down_s": 0.1, "jitter_s": 1.5, "duplicate": 0.3, "think_s": 0.02, "clients": 8, "keys": 1,
    "disk_s": 0.001, "inflight_appends_max": 8,
}  # fmt: skip

POWERLESS = {**STORMY, "members": 3, "crash_all": 0.5, "disk_s": 0.02, "journal_bytes": 8 << 10, "value_bytes": 600}

DYING = {**STORMY, "crash_every_s": 0.3, "crash_all": 0.3, "down_s": 0.1, "disk_s": 0.3, "partition_every_s": 0.0, "think_s": 0.2}

FULL = {**STORMY, "members": 3, "disk_full_every_s": 1.0, "disk_full_s": 0.3, "disk_full_all": 0.3, "snapshot_entries": 20, "catchup_entries": 5,
        "journal_bytes": 2 << 10}  # fmt: skip

MUTATIONS: list[tuple[Patch, str, range, dict[str, Any]]] = [
    (old_terms_are_committed_by_counting, "bare", range(1, 201), STORMY),
    (votes_are_forgotten_in_memory, "bare", range(1, 31), {**STORMY, "pre_vote": False}),
    (votes_are_forgotten_in_a_crash, "bare", range(1, 31), STORMY),
    (votes_go_to_shorter_logs, "bare", range(1, 31), STORMY),
    (acknowledged_before_the_sync, "bare", range(1, 31), STORMY),
    (leader_counts_itself_before_the_sync, "bare", range(1, 101), STORMY),
    (reads_without_a_quorum, "bare", range(1, 61), STORMY),
    (reads_confirmed_by_old_answers, "bare", range(1, 61), SPLIT),
    (reads_without_a_quorum, "store", range(1, 61), STORMY),
    (read_before_it_is_applied, "store", range(1, 31), STORMY),
    (conflicts_are_not_truncated, "bare", range(1, 61), STORMY),
    (applied_index_is_not_stored_with_the_state, "store", range(1, 31), {**STORMY, "commit_entries": 10}),
    (state_is_committed_lazily_but_the_log_is_cut_at_once, "store", range(1, 31), {**STORMY, "snapshot_entries": 5, "catchup_entries": 1}),
    (writes_are_reported_before_they_are_done, "store", range(1, 31), STORMY),
    (appends_that_overlap_delete_the_rest, "bare", range(1, 31), {**STORMY, "duplicate": 0.1}),
    (acknowledgements_count_in_any_term, "bare", range(1, 41), {**LATE, "disk_s": 0.2, "duplicate": 0.9}),
    (two_membership_changes_at_once, "bare", range(1, 61), CHANGING),
    (learners_count_in_the_quorum, "bare", range(1, 61), CHANGING),
    (learners_count_in_the_quorum, "store", range(1, 61), CHANGING),
    (whoever_joins_counts_itself, "bare", range(1, 61), CHANGING),
    (whoever_joins_counts_itself, "store", range(1, 61), CHANGING),
    (a_removed_leader_goes_on, "bare", range(1, 61), CHANGING),
    (removed_ids_are_forgotten, "store", range(1, 61), CHANGING),
    (changes_are_applied_by_what_each_member_happens_to_think, "store", range(1, 61), CHANGING),
    (campaigns_by_an_outdated_configuration, "bare", range(1, 61), CHANGING),
    (the_journal_is_written_and_not_flushed, "store", range(1, 31), POWERLESS),
    (what_the_journal_was_found_to_hold_is_not_flushed, "store", range(1, 61), DYING),
    (the_journals_checksums_are_not_looked_at, "store", range(1, 61), POWERLESS),
    (the_journals_epochs_are_not_looked_at, "store", range(1, 31), POWERLESS),
    (the_journal_is_used_again_before_the_checkpoint_is_done, "store", range(1, 31), POWERLESS),
    (a_write_without_room_counts_as_done, "store", range(1, 31), FULL),
    (snapshots_replace_what_was_acknowledged, "bare", range(1, 61), {**STORMY, "snapshot_entries": 5, "catchup_entries": 1, "commit_entries": 2}),
]


def find(flavour: str, seeds: range, options: Options) -> tuple[int, str] | None:
    """The first seed that breaks, and how."""
    for seed in seeds:
        try:
            FLAVOURS[flavour](seed, options).run()
        except Exception as found:
            return seed, f"{type(found).__name__}: {found}"
    return None


@pytest.mark.parametrize(("mutation", "flavour", "seeds", "options"), MUTATIONS, ids=lambda value: getattr(value, "__name__", None))
def test_a_mistake_is_found(
    mutation: Patch, flavour: str, seeds: range, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    mutation(monkeypatch)
    found = find(flavour, seeds, Options(**options))
    assert found is not None, f"{len(seeds)} worlds, and nobody noticed that {mutation.__name__.replace('_', ' ')}"
    record_property("found", f"{found}")
    print(mutation.__name__, found)


@pytest.mark.parametrize(
    "options",
    [STORMY, SPLIT, LATE, CHANGING, RESTARTING, POWERLESS, FULL],
    ids=["stormy", "split", "late", "changing", "restarting", "powerless", "full"],
)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_without_a_mistake_nothing_is_found(flavour: str, options: dict[str, Any]) -> None:
    assert find(flavour, range(1, 9), Options(**options)) is None
