"""A snapshot becomes a data directory: what stays, what is new, and that nothing half-made is ever left."""

import random
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from kvstore.errors import Compacted
from kvstore.ids import Index, MemberId
from kvstore.member.changes import new_member_id
from kvstore.model import AlarmAction, AlarmChange, AlarmMember, AlarmType, Put, Range
from kvstore.mvcc.hash import hash_kv
from kvstore.offline import Unusable
from kvstore.offline.restore import FIRST_INDEX, FIRST_TERM, REVISION_MAX, NewCluster, Restored, restore
from kvstore.offline.snapshots import SnapshotRefused
from kvstore.server.bootstrap import ConfigurationError, Opened, continue_as_member, open_data
from kvstore.storage.engine import EngineError
from kvstore.storage.lmdb_engine import LmdbDisk
from tests.unit.offline.made import OLD_MEMBER, make_snapshot

URLS = {name: [f"http://127.0.0.1:{port}"] for name, port in (("m1", 1), ("m2", 2), ("m3", 3))}
TOKEN = "new-token"


def cluster(name: str) -> NewCluster:
    return NewCluster(name, URLS, TOKEN)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    path = tmp_path / "snapshot.db"
    make_snapshot(path)
    return path


def opened(data_dir: Path) -> tuple[LmdbDisk, Opened]:
    """As the server opens it; with a write transaction."""
    disk = LmdbDisk(data_dir / "member")
    found = continue_as_member(open_data(disk))
    found.machine.begin(found.state.begin_write())
    return disk, found


def close(disk: LmdbDisk, found: Opened) -> None:
    found.machine.transaction.abort()
    found.state.close()
    disk.close()


def test_state_stays_and_membership_is_new(tmp_path: Path) -> None:
    source = make_snapshot(tmp_path / "s.db")
    done = {name: restore(tmp_path / "s.db", tmp_path / name, cluster(name)) for name in URLS}
    hashes = set()
    for name in URLS:
        disk, found = opened(tmp_path / name)
        machine = found.machine
        assert not found.is_new
        assert (machine.revision, machine.compacted_revision) == (source.revision, source.compacted_revision) == (205, 100)
        assert machine.leases == {7: 600} and machine.lease_keys(7) == [b"leased"]
        assert machine.alarms == [AlarmMember(OLD_MEMBER, AlarmType.NOSPACE)]
        assert {member.id: (member.name, member.peer_urls, member.client_urls) for member in machine.members.values()} == {
            new_member_id(urls, TOKEN): (known, tuple(urls), ()) for known, urls in URLS.items()
        }
        assert (machine.applied_index, machine.applied_term) == (FIRST_INDEX, FIRST_TERM)
        assert found.log.snapshot().index == FIRST_INDEX and found.log.last_index() == FIRST_INDEX
        assert found.log.hard_state().term == FIRST_TERM
        assert found.identity.member_id == done[name].member_id == new_member_id(URLS[name], TOKEN)
        assert found.identity.cluster_id == done[name].cluster_id
        assert machine.range(Range(b"key/2")).count == 0 and machine.range(Range(b"long/" + b"k" * 600)).count == 1
        hashes.add(hash_kv(machine.transaction, machine.tables, machine.revision, machine.compacted_revision))
        close(disk, found)
    assert len(hashes) == 1
    assert len({one.cluster_id for one in done.values()}) == 1


def ids_of(path: Path, data_dir: Path, **options: int) -> Restored:
    return restore(path, data_dir, cluster("m1"), **options)  # type: ignore[arg-type]


def test_only_members_restored_alike_are_of_one_cluster(tmp_path: Path, snapshot: Path) -> None:
    make_snapshot(tmp_path / "other.db", (Put(b"a", b"b"),))
    found = [
        ids_of(snapshot, tmp_path / "1"),
        ids_of(tmp_path / "other.db", tmp_path / "2"),
        ids_of(snapshot, tmp_path / "3", bump=1000),
        restore(snapshot, tmp_path / "4", NewCluster("m1", URLS, "another-token")),
    ]
    assert len({one.cluster_id for one in found}) == 4
    assert len({one.member_id for one in found}) == 2, "a member's id is of its URLs and the token alone (MB-1)"


def test_a_bump_leaves_no_old_revision_readable(tmp_path: Path, snapshot: Path) -> None:
    done = restore(snapshot, tmp_path / "m1", cluster("m1"), bump=1_000_000)
    assert done.revision == done.compacted_revision == 1_000_205
    disk, found = opened(tmp_path / "m1")
    machine = found.machine
    for revision in (150, 205, 1_000_204):
        with pytest.raises(Compacted):
            machine.range(Range(b"key/1", revision=revision))
    [kv] = machine.range(Range(b"key/1", revision=1_000_205)).kvs
    assert machine.range(Range(b"key/1")).kvs == [kv]
    while machine.compaction_step(50):
        pass
    assert machine.range(Range(b"key/", b"key0")).count == 199
    lift = AlarmChange(AlarmAction.DEACTIVATE, OLD_MEMBER, AlarmType.NOSPACE)
    for index, command in enumerate((lift, Put(b"key/1", b"after")), FIRST_INDEX + 1):
        machine.apply(Index(index), FIRST_TERM, command)
    assert machine.revision == 1_000_206
    close(disk, found)


def test_a_bump_beyond_what_clients_can_read_is_refused(tmp_path: Path, snapshot: Path) -> None:
    for bump in (REVISION_MAX - 204, (1 << 63) - 1):
        with pytest.raises(ConfigurationError, match="revision above"):
            restore(snapshot, tmp_path / "m1", cluster("m1"), bump=bump)
        assert not (tmp_path / "m1").exists()
        assert str(tmp_path / "m1") not in Path("/proc/self/maps").read_text(), "what was begun is ended, not left to the garbage collector"
    assert restore(snapshot, tmp_path / "m1", cluster("m1"), bump=REVISION_MAX - 205).revision == REVISION_MAX


def _with_checksum(content: bytes) -> bytes:
    return content + sha256(content).digest()


def damage(at: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (damage(9000), "damaged: expected sha256"),
        (damage(-5), "damaged: expected sha256"),
        (lambda content: content[:-4096], "damaged: expected sha256"),
        (lambda content: content[:-32], "snapshot missing hash but --skip-hash-check=false"),
        (lambda content: content[:-3000], "snapshot missing hash but --skip-hash-check=false"),
        (lambda _: b"", "not a snapshot"),
        (lambda _: b"hello " * 1000, "not a snapshot"),
        (lambda _: _with_checksum(bytes(16) + 0xED0CDAED.to_bytes(4, "little") + bytes(4076)), "neither of its two beginnings is whole"),
    ],
    ids=["a bit", "a bit of the checksum", "a page", "the checksum", "a torn end", "everything", "text", "etcd"],
)
def test_what_is_damaged_or_foreign_is_refused_and_leaves_nothing(
    tmp_path: Path, snapshot: Path, change: Callable[[bytes], bytes], text: str
) -> None:
    snapshot.write_bytes(change(snapshot.read_bytes()))
    with pytest.raises(Unusable, match=text):
        restore(snapshot, tmp_path / "m1", cluster("m1"))
    assert not (tmp_path / "m1").exists()


@pytest.mark.slow
def test_without_its_checksum_a_file_is_read_to_its_end_first(tmp_path: Path, snapshot: Path) -> None:
    content = snapshot.read_bytes()[:-32]
    (tmp_path / "copied.db").write_bytes(content)
    assert restore(tmp_path / "copied.db", tmp_path / "m1", cluster("m1"), skip_hash_check=True).revision == 205
    (tmp_path / "cut.db").write_bytes(content[: len(content) // 2])
    with pytest.raises(SnapshotRefused, match=r"cut\.db: damaged: "):
        restore(tmp_path / "cut.db", tmp_path / "m2", cluster("m2"), skip_hash_check=True)
    assert not (tmp_path / "m2").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_without_its_checksum_damage_is_found_or_does_no_harm(tmp_path: Path, snapshot: Path, seed: int) -> None:
    """Whatever the pages say, nothing but a refusal or the right keys may come of them."""
    chance = random.Random(seed)
    content = bytearray(snapshot.read_bytes()[:-32])
    for _ in range(8):
        at = chance.randrange(2 * 4096, len(content))
        content[at] ^= 1 << chance.randrange(8)
    (tmp_path / "damaged.db").write_bytes(content)
    try:
        restore(tmp_path / "damaged.db", tmp_path / "m1", cluster("m1"), skip_hash_check=True)
    except Unusable as refused:
        assert "damaged" in str(refused)
        assert not (tmp_path / "m1").exists()
        return
    restore(snapshot, tmp_path / "whole", cluster("m1"))
    everything = []
    for name in ("m1", "whole"):
        disk, found = opened(tmp_path / name)
        everything.append(found.machine.range(Range(b"\0", b"\0")).kvs)
        close(disk, found)
    assert everything[0] == everything[1]


def test_a_directory_with_anything_in_it_is_left_alone(tmp_path: Path, snapshot: Path) -> None:
    target = tmp_path / "m1"
    target.mkdir()
    restore(snapshot, target, cluster("m1"))  # an empty one will do: a mounted volume, for example
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    with pytest.raises(ConfigurationError, match=r'data-dir ".*m1" not empty or could not be read'):
        restore(snapshot, target, cluster("m1"))
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before


def test_a_restore_cut_short_starts_nobody_and_can_be_repeated(tmp_path: Path, snapshot: Path) -> None:
    target = tmp_path / "m1"
    half = LmdbDisk(target / "member.restoring")
    (half.directory / "state.mdb").write_bytes(snapshot.read_bytes()[:8192])
    with pytest.raises(EngineError, match="another process"):
        restore(snapshot, target, cluster("m1"))
    half.close()
    with pytest.raises(EngineError, match="a restore into this directory was not finished"):
        LmdbDisk(target / "member")
    assert not (target / "member").exists()
    restore(snapshot, target, cluster("m1"))
    assert sorted(path.name for path in (target / "member").iterdir()) == ["lock", "log.mdb", "state.mdb"]
    LmdbDisk(target / "member").close()


def test_a_state_that_is_no_members_is_refused(tmp_path: Path) -> None:
    disk = LmdbDisk(tmp_path / "blank")
    engine = disk.open_state()
    export = engine.export()
    content = export.read(0, export.total_bytes)
    (tmp_path / "blank.db").write_bytes(content + sha256(content).digest())
    export.close()
    engine.close()
    disk.close()
    with pytest.raises(EngineError, match="never belonged to a member"):
        restore(tmp_path / "blank.db", tmp_path / "m1", cluster("m1"))
    assert not (tmp_path / "m1").exists()


def test_the_flags_follow_etcds_rules() -> None:
    with pytest.raises(ConfigurationError, match="couldn't find local name"):
        NewCluster.parse("x", "default=http://localhost:2380", "http://localhost:2380", "t")
    with pytest.raises(ConfigurationError, match="missing from --initial-advertise-peer-urls"):
        NewCluster.parse("default", "default=http://localhost:1", "http://localhost:2380", "t")
    with pytest.raises(ConfigurationError, match="same peer URLs"):
        NewCluster("a", {"a": ["http://h:1"], "b": ["http://h:1"]}, "t").ids()
    assert NewCluster.parse("a", "a=http://h:1,b=http://h:2", "http://h:1", "t").ids()["b"] == MemberId(new_member_id(["http://h:2"], "t"))
