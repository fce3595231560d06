"""The beginning of a member: who it is, from which data it starts, and the order in which a first start writes that down.

Ids are etcd's (semantics MB-1): a member's is the first 8 bytes of SHA-1 over its sorted peer URLs and the cluster token, the cluster's that over all
initial members' ids; so every member computes the same without asking. A data directory that was started once keeps its ids whatever
the flags say later.
"""

from collections.abc import Sequence
from hashlib import sha1

import msgspec

from kvstore.ids import NO_INDEX, ClusterId, MemberId
from kvstore.member.member import decode_conf, encode_conf
from kvstore.model import Member
from kvstore.raft.messages import ConfState, SnapshotMeta
from kvstore.statemachine.machine import Machine
from kvstore.storage.engine import Corrupted
from kvstore.storage.lmdb_engine import LmdbDisk, LmdbEngine
from kvstore.storage.raftlog import RaftLog


class ConfigurationError(Exception):
    """The flags do not fit each other, or not the data directory. Says which and what to change."""


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


def member_id(peer_urls: Sequence[str], token: str) -> MemberId:
    digest = sha1("".join(sorted(peer_urls)).encode() + token.encode(), usedforsecurity=False).digest()
    return MemberId(int.from_bytes(digest[:8], "big"))


def cluster_id(members: Sequence[MemberId]) -> ClusterId:
    digest = sha1(b"".join(known.to_bytes(8, "big") for known in sorted(members)), usedforsecurity=False).digest()
    return ClusterId(int.from_bytes(digest[:8], "big"))


def open_member(disk: LmdbDisk, name: str, initial_cluster: dict[str, list[str]], token: str, *, existing: bool) -> Opened:
    """Open the data directory, beginning it if it is new. Raises ConfigurationError, EngineError.

    First the state with its members is committed, then the log with the identity: a crash in between leaves a directory without
    identity, which the next start begins again.
    """
    log_engine, state = disk.open_log(), disk.open_state()
    log = RaftLog(log_engine)
    machine = Machine(state)
    stored = log.identity()
    is_new = stored is None
    if stored is None:
        if existing:
            raise ConfigurationError(
                "--initial-cluster-state=existing with an empty data directory: joining a running cluster needs member changes, "
                "which this release does not have yet; start with --initial-cluster-state=new"
            )
        if machine.applied_index != NO_INDEX:
            raise Corrupted(
                f"{disk.directory}: the state holds data but the log has no identity: the log was removed; restore both, or remove the data directory"
            )
        identity = _begin(log, state, machine, name, initial_cluster, token)
    else:
        try:
            identity = msgspec.msgpack.decode(stored, type=Identity)
        except msgspec.MsgspecError as error:
            raise Corrupted(f"the log's identity is damaged: {error}") from error
        if not machine.conf:
            raise Corrupted(
                f"{disk.directory}: the log belongs to a member but the state is empty: it was removed; restore it, or remove the data directory"
            )
        _repair(log, machine)
    return Opened(identity, log, state, machine, is_new)


def _begin(log: RaftLog, state: LmdbEngine, machine: Machine, name: str, initial_cluster: dict[str, list[str]], token: str) -> Identity:
    ids = {known: member_id(urls, token) for known, urls in initial_cluster.items()}
    if name not in ids:
        raise ConfigurationError(f'couldn\'t find local name "{name}" in the initial cluster configuration')
    if len(set(ids.values())) != len(ids):
        raise ConfigurationError("two members of --initial-cluster have the same peer URLs")
    conf = ConfState(tuple(sorted(ids.values())))
    machine.begin(state.begin_write())
    for known, urls in initial_cluster.items():
        # Names other than ours are published by their members; etcd, too, knows them from the flag until then.
        machine.put_member(Member(ids[known], known, tuple(urls), ()))
    machine.conf = encode_conf(conf)
    machine.seal()
    machine.transaction.commit()
    identity = Identity(cluster_id(list(ids.values())), ids[name])
    log.bootstrap(conf, msgspec.msgpack.encode(identity))
    return identity


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
