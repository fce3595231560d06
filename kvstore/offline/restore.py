"""A snapshot becomes the data directory of a member of a new cluster (etcdutl's `snapshot restore`).

Keys, leases, users, alarms and the compacted revision stay; members, ids and the log are new. The log begins behind entry FIRST_INDEX, which
stands for everything restored: so a member that joins later with empty disks is sent the state and not only what came after it.

The new cluster's id is etcd's (MB-1) with the snapshot mixed in. Members restored from the same file with the same options form a cluster; one
that was restored from another file, or started without restoring, has another cluster id and is refused by the others, where it could
otherwise vote and then differ from them for ever.

etcd's own backups (bbolt) are taken, too: `migration` reads them into an empty state.

Everything is built in `member.restoring` and renamed to `member` at the end: a restore that was killed leaves a directory that no member
starts in, and that the next restore clears away.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha1, sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from kvstore.ids import ClusterId, Index, MemberId, Revision, Term
from kvstore.member.changes import new_member_id
from kvstore.member.member import encode_conf
from kvstore.model import Member
from kvstore.offline.migration import adopt
from kvstore.offline.snapshots import Kind, SnapshotFile, SnapshotRefused, examine
from kvstore.raft.messages import ConfState, HardState, SnapshotMeta
from kvstore.server import inspector
from kvstore.server.bootstrap import ConfigurationError, Identity
from kvstore.server.config import initial_cluster, urls
from kvstore.statemachine.machine import Machine
from kvstore.storage.engine import EngineError
from kvstore.storage.engine_errors import EngineErrors
from kvstore.storage.lmdb_engine import LmdbDisk, LmdbEngine, restoring
from kvstore.storage.raftlog import RaftLog

FIRST_INDEX, FIRST_TERM = Index(1), Term(1)

REVISION_MAX = 1 << 62
"""Revisions have 63 bits, and a cluster needs some to go on from."""


class Restored(Struct, frozen=True):
    """Who the restored member is, and where its keys stand."""

    cluster_id: ClusterId
    member_id: MemberId
    revision: Revision
    compacted_revision: Revision


class NewCluster(Struct, frozen=True):
    """The cluster to found: `name` is ours in `members` (name to peer URLs)."""

    name: str
    members: Mapping[str, Sequence[str]]
    token: str

    @classmethod
    def parse(cls, name: str, initial_cluster_text: str, advertised_text: str, token: str) -> "NewCluster":
        """From the flags that etcd knows by these names, under its rules. Raises ConfigurationError."""
        advertised = urls(advertised_text, "initial-advertise-peer-urls")
        return cls(name, initial_cluster(initial_cluster_text, name, advertised), token)

    def ids(self) -> dict[str, MemberId]:
        ids = {known: new_member_id(urls, self.token) for known, urls in self.members.items()}
        if len(set(ids.values())) != len(ids):
            raise ConfigurationError("two members of --initial-cluster have the same peer URLs")
        return ids


def restored_cluster_id(members: Sequence[MemberId], snapshot_digest: bytes, bump: int) -> ClusterId:
    """The same for all who restore the same file with the same options."""
    digest = sha1(b"".join(known.to_bytes(8, "big") for known in sorted(members)), usedforsecurity=False)
    digest.update(b"restored" + snapshot_digest + bump.to_bytes(8, "big"))
    return ClusterId(int.from_bytes(digest.digest()[:8], "big"))


def restore(path: Path, data_dir: Path, cluster: NewCluster, *, skip_hash_check: bool = False, bump: int = 0) -> Restored:
    """Build `data_dir` from the snapshot in `path`. `bump` raises the revision by so much and marks everything before as compacted.

    Raises OSError, SnapshotRefused, ConfigurationError, EngineError; then `data_dir` is as it was before.
    """
    snapshot = examine(path)
    if snapshot.checksum is None and not skip_hash_check:
        raise SnapshotRefused("snapshot missing hash but --skip-hash-check=false")
    with _building(data_dir) as disk:
        if snapshot.kind is Kind.ETCD:
            digest = _digest(snapshot, check=not skip_hash_check)
            with contextlib.closing(disk.open_state()) as state:
                return _found(disk, adopt(snapshot, state), cluster, digest, bump)
        copy = disk.directory / "state.mdb"
        digest = _copy(snapshot, copy, check=not skip_hash_check)
        if skip_hash_check and (damage := inspector.run(copy, 0, thorough=True).damage):
            raise SnapshotRefused(f"{path}: damaged: {damage.removeprefix(f'{copy}: ').removeprefix('damaged, ')}")
        with contextlib.closing(disk.open_state()) as state:
            return _found(disk, _begun(state), cluster, digest, bump)


@contextlib.contextmanager
def _building(data_dir: Path) -> Iterator[LmdbDisk]:
    """A disk to build the member in, which is in its place afterwards, or gone if building it failed."""
    member = data_dir / "member"
    building = restoring(member)
    was_there = data_dir.exists()
    if was_there and any(found != building for found in data_dir.iterdir()):
        raise ConfigurationError(f'data-dir "{data_dir}" not empty or could not be read')
    if building.exists():
        LmdbDisk(building).close()  # refuses if another restore is at work in it
        shutil.rmtree(building)
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        disk = LmdbDisk(building)
        try:
            yield disk
            for lock in building.glob("*.mdb-lock"):
                lock.unlink()
            _sync_directory(building)
            building.rename(member)
            _sync_directory(data_dir)
        finally:
            disk.close()
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        if not was_there:
            with contextlib.suppress(OSError):
                data_dir.rmdir()
        raise


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(snapshot: SnapshotFile, *, check: bool) -> bytes:
    digest = sha256()
    for chunk in snapshot.chunks():
        digest.update(chunk)
    if check:
        snapshot.check(digest.digest())
    return digest.digest()


def _copy(snapshot: SnapshotFile, target: Path, *, check: bool) -> bytes:
    """Copy the content and sync it; returns its SHA-256, which must be the one behind it if `check`."""
    digest = sha256()
    with EngineErrors(target), os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for chunk in snapshot.chunks():
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if check:
        snapshot.check(digest.digest())
    return digest.digest()


def _begun(state: LmdbEngine) -> Machine:
    """The copied state with a write transaction."""
    machine = Machine(state)
    if not machine.conf:
        raise EngineError(f"{state.path}: the state never belonged to a member: not a snapshot")
    machine.begin(state.begin_write())
    return machine


def _found(disk: LmdbDisk, machine: Machine, cluster: NewCluster, digest: bytes, bump: int) -> Restored:
    """Make this state that of the new cluster's first moment, and begin its log."""
    ids = cluster.ids()
    ours = ids[cluster.name]
    conf = ConfState(tuple(sorted(ids.values())))
    machine.found_cluster(
        [Member(ids[known], known, tuple(urls), ()) for known, urls in cluster.members.items()], encode_conf(conf), FIRST_INDEX, FIRST_TERM
    )
    if bump > REVISION_MAX - machine.revision:
        raise ConfigurationError(f"--bump-revision {bump} would lead to a revision above {REVISION_MAX}: clients could not read it")
    if bump:
        machine.bump_revision(bump)
    machine.seal()
    with EngineErrors(disk.directory / "state.mdb"):
        machine.transaction.commit()
    identity = Identity(restored_cluster_id(list(ids.values()), digest, bump), ours)
    with contextlib.closing(disk.open_log()) as log_engine:
        log = RaftLog(log_engine)
        log.bootstrap(conf, msgspec.msgpack.encode(identity))
        log.reset(SnapshotMeta(FIRST_INDEX, FIRST_TERM, conf))
        log.append([], HardState(FIRST_TERM, commit=FIRST_INDEX))
    return Restored(ClusterId(identity.cluster_id), ours, machine.revision, machine.compacted_revision)
