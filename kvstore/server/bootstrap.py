"""The beginning of a member: who it is, from which data it starts, and the order in which a first start writes that down.

Ids are etcd's (semantics MB-1): a member's is the first 8 bytes of SHA-1 over its sorted peer URLs and the cluster token, the cluster's that over all
initial members' ids; so every member computes the same without asking. A data directory that was started once keeps its ids whatever
the flags say later.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha1
from pathlib import Path

import msgspec

from kvstore.ids import NO_INDEX, ClusterId, Index, MemberId, RequestId
from kvstore.member.changes import new_member_id
from kvstore.member.member import decode_conf, encode_conf
from kvstore.model import Member
from kvstore.raft.membership import Change, ChangeKind, changed, decode_change, encode_change
from kvstore.raft.messages import ConfState, Entry, EntryKind, HardState, SnapshotMeta
from kvstore.statemachine.machine import Machine
from kvstore.statemachine.members import ChangeDetails, encode_details
from kvstore.storage.engine import Corrupted
from kvstore.storage.lmdb_engine import LmdbDisk, LmdbEngine
from kvstore.storage.raftlog import RaftLog

READ_BYTES = 4 << 20


class ConfigurationError(Exception):
    """The flags do not fit each other, or not the data directory. Says which and what to change."""


class Removed(Exception):
    """This member was removed from its cluster: it ends by itself, and its data directory is of no use any more."""


class Identity(msgspec.Struct, frozen=True):
    """Written once into the log environment, when a member is new."""

    cluster_id: int
    member_id: int


class Opened(msgspec.Struct):
    """A member's data, consistent and ready to run from. The machine has no write transaction yet: the thread that will commit must begin it."""

    identity: Identity
    log: RaftLog
    state: LmdbEngine
    machine: Machine
    is_new: bool


class Data(msgspec.Struct):
    """The files of a data directory, opened. `identity` None: it is empty, nothing was ever begun here."""

    directory: Path
    log: RaftLog
    state: LmdbEngine
    machine: Machine
    identity: Identity | None

    def opened(self, identity: Identity) -> Opened:
        return Opened(identity, self.log, self.state, self.machine, self.identity is None)


def cluster_id(members: Sequence[MemberId]) -> ClusterId:
    digest = sha1(b"".join(known.to_bytes(8, "big") for known in sorted(members)), usedforsecurity=False).digest()
    return ClusterId(int.from_bytes(digest[:8], "big"))


def open_data(disk: LmdbDisk) -> Data:
    """Raises EngineError: unreadable, or parts of different times."""
    log_engine, state = disk.open_log(), disk.open_state()
    log = RaftLog(log_engine, disk.open_journal())
    machine = Machine(state)
    stored = log.identity()
    if stored is None:
        if machine.applied_index != NO_INDEX:
            raise Corrupted(
                f"{disk.directory}: the state holds data but the log has no identity: the log was removed; restore both, or remove the data directory"
            )
        return Data(disk.directory, log, state, machine, None)
    try:
        identity = msgspec.msgpack.decode(stored, type=Identity)
    except msgspec.MsgspecError as error:
        raise Corrupted(f"the log's identity is damaged: {error}") from error
    if not machine.conf:
        raise Corrupted(
            f"{disk.directory}: the log belongs to a member but the state is empty: it was removed; restore it, or remove the data directory"
        )
    _repair(log, machine)
    return Data(disk.directory, log, state, machine, identity)


def own_founder_id(name: str, initial_cluster: Mapping[str, Sequence[str]], token: str) -> MemberId:
    """Raises ConfigurationError if `name` is none of the founders."""
    if name not in initial_cluster:
        raise ConfigurationError(f'couldn\'t find local name "{name}" in the initial cluster configuration')
    return new_member_id(initial_cluster[name], token)


def begin_cluster(data: Data, name: str, initial_cluster: Mapping[str, Sequence[str]], token: str) -> Opened:
    """One of the founders of a new cluster. Raises ConfigurationError."""
    own_id = own_founder_id(name, initial_cluster, token)
    ids = {known: new_member_id(urls, token) for known, urls in initial_cluster.items()}
    if len(set(ids.values())) != len(ids):
        raise ConfigurationError("two members of --initial-cluster have the same peer URLs")
    # Names other than ours are published by their members; etcd, too, knows them from the flag until then.
    members = [Member(ids[known], known, tuple(urls), ()) for known, urls in initial_cluster.items()]
    return _begin(data, Identity(cluster_id(list(ids.values())), own_id), members, ConfState(tuple(sorted(ids.values()))))


def begin_joining(data: Data, known_cluster: int, members: Sequence[Member], own_id: MemberId) -> Opened:
    """One who was added to a running cluster. It knows whom to talk to, but no configuration: its state, and with it who votes, comes as a snapshot,
    and until then it neither votes for itself nor takes an entry (`raft.follower.on_append`)."""
    return _begin(data, Identity(known_cluster, own_id), members, ConfState())


def _begin(data: Data, identity: Identity, members: Sequence[Member], conf: ConfState) -> Opened:
    """First the state with its members is committed, then the log with the identity: a crash in between leaves a directory without identity, which
    the next start begins again."""
    machine = data.machine
    machine.begin(data.state.begin_write())
    for stale in [known for known in machine.members if known not in {member.id for member in members}]:
        machine.forget_member(stale)
    for member in members:
        machine.put_member(member)
    machine.conf = encode_conf(conf)
    machine.seal()
    machine.transaction.commit()
    data.log.bootstrap(conf, msgspec.msgpack.encode(identity))
    return data.opened(identity)


def continue_as_member(data: Data) -> Opened:
    """A directory that was begun before. Raises Removed, or ConfigurationError if it belongs to nobody in its own cluster."""
    identity, machine = data.identity, data.machine
    assert identity is not None, "somebody began it"
    own_id = MemberId(identity.member_id)
    if own_id in machine.removed_members:
        raise Removed
    if own_id not in machine.members:
        raise ConfigurationError(
            f"{data.directory}: its data are of a cluster in which member {own_id:x}, whose directory it is, does not exist: "
            "remove the directory and add this member anew, or restore the directory that belongs here"
        )
    return data.opened(identity)


def force_new_cluster(data: Data) -> list[MemberId]:
    """Before a start: from now on this member is the only one of its cluster; returns whom it left behind. Data, ids and log stay.

    As etcd does it, removals of all others are put into the log as if they had been committed. But where etcd drops what it does not know to be
    committed, everything in the log is kept: it may have been acknowledged, and there is nobody left who knows better. Raises
    ConfigurationError if the state of the cluster never arrived here.
    """
    log, identity = data.log, data.identity
    assert identity is not None, "somebody began it"
    own_id, hard_state = MemberId(identity.member_id), log.hard_state()
    conf = decode_conf(data.machine.conf)
    if not conf.voters:
        raise ConfigurationError(f"{data.directory}: this member had joined but not received the state yet: there is nothing to make a cluster of")
    for entry in _entries_after(log, data.machine.applied_index):
        if entry.kind == EntryKind.MEMBERSHIP:
            conf = changed(conf, decode_change(entry.data))
    left = [member for member in conf.voters + conf.learners if member != own_id]
    kinds = [(ChangeKind.PROMOTE, own_id)] if own_id in conf.learners else []
    kinds += [(ChangeKind.REMOVE, member) for member in left]
    nobody_waits = encode_details(ChangeDetails(RequestId(0)))
    entries = [
        Entry(hard_state.term, Index(log.last_index() + number), encode_change(Change(kind, member, nobody_waits)), EntryKind.MEMBERSHIP)
        for number, (kind, member) in enumerate(kinds, 1)
    ]
    log.append(entries, HardState(hard_state.term, hard_state.vote, Index(log.last_index() + len(entries))))
    return left


def _entries_after(log: RaftLog, applied: Index) -> Iterator[Entry]:
    first = applied + 1
    while first <= log.last_index():
        entries = log.entries(Index(first), log.last_index(), READ_BYTES)
        yield from entries
        first = entries[-1].index + 1


def _repair(log: RaftLog, machine: Machine) -> None:
    """A crash between the two steps of installing a snapshot leaves a state that the log does not lead to: the log then begins behind the state.

    The log may end before it, or, longer, hold another entry there: one that was never committed, and nothing behind it counts either.
    """
    if machine.applied_index < log.snapshot().index:
        raise Corrupted(
            f"the state ends at entry {machine.applied_index} but the log begins behind {log.snapshot().index}: "
            "one of the two files is of another time; remove the data directory and let this member join again"
        )
    if log.term_at(machine.applied_index) != machine.applied_term:
        log.reset(SnapshotMeta(machine.applied_index, machine.applied_term, decode_conf(machine.conf)))
