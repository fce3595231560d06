"""Backups of a store at work, and what comes of them: a prefix of history, restored to another cluster that agrees with the old one about it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from kvstore.wire import messages as pb
from tests.support import kinds
from tests.support.calls import OPTIONS, Wire, path
from tests.support.http import Http
from tests.support.members import Cluster, Member, NotReady, wait_until
from tests.support.watching import WatchStream

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

BUMP = 1_000_000_000
"""What the documentation of etcd recommends: more than a cluster writes between two backups."""


@pytest.fixture(autouse=True)
def only_keelson() -> None:
    if kinds.subject().name != kinds.KEELSON:
        pytest.skip("the tools for files are Keelson's own")


def kvctl(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("kvctl"))
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def saved(member: Member, path: Path) -> Path:
    done = kvctl("--endpoints", member.endpoint, "snapshot", "save", path)
    assert done.returncode == 0, done.stderr
    return path


def restored(snapshot: Path, folder: Path, size: int, *flags: str) -> Cluster:
    """A cluster whose members were all restored from one file; not started."""
    cluster = Cluster(kinds.subject(), folder, size)
    for member in cluster:
        done = kvctl(
            "snapshot",
            "restore",
            snapshot,
            f"--data-dir={member.data}",
            f"--name={member.name}",
            f"--initial-cluster={member.initial_cluster}",
            f"--initial-cluster-token={member.initial_cluster_token}",
            f"--initial-advertise-peer-urls={member.peer_url}",
            *flags,
        )
        assert done.returncode == 0, done.stderr
    return cluster


def hash_at(member: Member, revision: int) -> tuple[int, int]:
    wire = Wire(member.endpoint)
    answer = wire.ask(pb.HashKVRequest(revision=revision))
    wire.close()
    return answer.hash, answer.compact_revision  # type: ignore[attr-defined]


class Writers:
    """Clients that write pairs of keys in transactions; `acknowledged` has (number, revision) of each that was answered."""

    def __init__(self, member: Member, count: int = 4) -> None:
        self.acknowledged: list[tuple[int, int]] = []
        self._member, self._stop = member, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        self._count = count

    def _run(self, number: int) -> None:
        wire = Wire(self._member.endpoint)
        while not self._stop.is_set():
            puts = [pb.PutRequest(key=b"%s/%d" % (side, number), value=b"%d" % number + b"." * 500) for side in (b"left", b"right")]
            answer = wire.ask(pb.TxnRequest(success=[pb.RequestOp(request_put=put) for put in puts]))
            self.acknowledged.append((number, answer.header.revision))  # type: ignore[attr-defined]
            number += self._count
        wire.close()

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def wait_for(self, more: int) -> None:
        goal, deadline = len(self.acknowledged) + more, time.monotonic() + 30
        while len(self.acknowledged) < goal:
            assert time.monotonic() < deadline, "the writers stand still"
            time.sleep(0.01)


def test_a_backup_under_load_is_a_prefix_of_history(tmp_path: Path) -> None:
    with Cluster(kinds.subject(), tmp_path / "old", 1) as old:
        old_id = old[0].member_id()
        with Writers(old[0]) as writers:
            writers.wait_for(500)
            before = list(writers.acknowledged)
            saved(old[0], tmp_path / "s.db")
            writers.wait_for(100)
        with restored(tmp_path / "s.db", tmp_path / "new", 3) as new:
            wire = Wire(new.leader().endpoint)
            everything = wire.ask(pb.RangeRequest(key=b"\x00", range_end=b"\x00", keys_only=True))
            found = {kv.key: kv.mod_revision for kv in everything.kvs}  # type: ignore[attr-defined]
            revision = everything.header.revision  # type: ignore[attr-defined]
            wire.close()
            assert revision >= max(at for _, at in before), "a write acknowledged before the backup began is missing"
            expected = {b"%s/%d" % (side, number): at for number, at in writers.acknowledged if at <= revision for side in (b"left", b"right")}
            assert found == expected, "the backup is not what history was at its revision"
            assert len(found) < 2 * len(writers.acknowledged), "nothing was written meanwhile: the test shows nothing"
            hashes = {hash_at(member, revision) for member in [old[0], *new]}
            assert len(hashes) == 1, "the restored members differ from what was backed up"
            assert old_id not in {member.member_id() for member in new}
            wire = Wire(new[2].endpoint)
            answer = wire.ask(pb.PutRequest(key=b"after", value=b"x"))
            assert answer.header.revision == revision + 1  # type: ignore[attr-defined]
            assert answer.header.cluster_id != cluster_id(old[0])  # type: ignore[attr-defined]
            wire.close()


def cluster_id(member: Member) -> int:
    wire = Wire(member.endpoint)
    answer = wire.ask(pb.StatusRequest())
    wire.close()
    return int(answer.header.cluster_id)  # type: ignore[attr-defined]


def test_watchers_of_before_are_told_after_a_bump_that_their_past_is_gone(tmp_path: Path) -> None:
    """Kubernetes' informers, for example, must list again: revisions that the backup did not hold are given out a second time otherwise."""
    with Cluster(kinds.subject(), tmp_path / "old", 1) as old:
        wire = Wire(old[0].endpoint)
        for number in range(20):
            wire.ask(pb.PutRequest(key=b"k", value=b"%d" % number))
        saved(old[0], tmp_path / "s.db")
        seen = wire.ask(pb.PutRequest(key=b"k", value=b"lost")).header.revision  # type: ignore[attr-defined]
        wire.close()
    assert kvctl("snapshot", "restore", tmp_path / "s.db", "--bump-revision=5", f"--data-dir={tmp_path / 'x'}").returncode == 128
    with restored(tmp_path / "s.db", tmp_path / "new", 1, f"--bump-revision={BUMP}", "--mark-compacted") as new:
        wire = Wire(new[0].endpoint)
        now = wire.ask(pb.RangeRequest(key=b"k"))
        assert now.header.revision == seen - 1 + BUMP  # type: ignore[attr-defined]
        assert (now.kvs[0].value, now.kvs[0].mod_revision) == (b"19", seen - 1)  # type: ignore[attr-defined]
        watch = WatchStream(wire.channel)
        watch.create(key=b"k", start_revision=seen + 1)
        assert watch.wait_for(lambda responses: any(response.canceled for response in responses))
        assert watch.responses[-1].compact_revision == seen - 1 + BUMP  # type: ignore[attr-defined]
        watch.close()
        assert wire.call("KV/Range", pb.RangeRequest(key=b"k", revision=seen - 1)).text == "etcdserver: mvcc: required revision has been compacted"
        assert wire.ask(pb.PutRequest(key=b"k")).header.revision == seen + BUMP  # type: ignore[attr-defined]
        wire.close()
        grows(new, tmp_path / "new")


def grows(cluster: Cluster, folder: Path) -> None:
    """Who joins a restored cluster with empty disks gets everything that was restored, not only what came afterwards."""
    joining = Member(kinds.subject(), "joining", folder)
    added = kvctl("--endpoints", cluster[0].endpoint, "member", "add", "joining", f"--peer-urls={joining.peer_url}")
    assert added.returncode == 0, added.stderr
    joining.initial_cluster = f"{cluster[0].initial_cluster},joining={joining.peer_url}"
    joining.initial_cluster_state = "existing"
    try:
        joining.start()
        joining.wait_ready()
        assert hash_at(joining, 0) == hash_at(cluster[0], 0)
    finally:
        joining.stop()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Path]]:
    """A running member with some 30 MB, and its backup: enough to be killed in the middle of it."""
    folder = tmp_path_factory.mktemp("large")
    with Cluster(kinds.subject(), folder, 1) as cluster:
        wire = Wire(cluster[0].endpoint)
        for number in range(30):
            wire.ask(pb.PutRequest(key=b"large/%d" % number, value=os.urandom(500_000)))
        wire.close()
        yield cluster[0], saved(cluster[0], folder / "s.db")


def test_a_member_that_was_not_restored_is_kept_out(large: tuple[Member, Path], tmp_path: Path) -> None:
    """It would vote, know nothing, and differ for ever."""
    new = restored(large[1], tmp_path, 3)
    stranger = new[2]
    shutil.rmtree(stranger.data)
    try:
        for member in new:
            member.start()
        for member in new.members[:2]:
            member.wait_ready()
        wire = Wire(new[0].endpoint)
        assert wire.ask(pb.RangeRequest(key=b"large/1", count_only=True)).count == 1  # type: ignore[attr-defined]
        wire.close()
        with contextlib.suppress(NotReady):
            stranger.wait_ready(2)
            raise AssertionError("a member that was not restored serves")
        assert "cluster" in stranger.log()
    finally:
        new.stop()


def killed_when(reached: Callable[[], bool], *arguments: object) -> bool:
    """Run kvctl and kill it as soon as `reached`; whether it was still at work then."""
    program = str(Path(sys.executable).with_name("kvctl"))
    process = subprocess.Popen([program, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None:
        if reached():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.0005)
    return False


def holds(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size >= size


def test_a_restore_that_is_killed_leaves_nothing_that_starts(large: tuple[Member, Path], tmp_path: Path) -> None:
    member = Member(kinds.subject(), "default", tmp_path)
    member.initial_cluster = f"default={member.peer_url}"
    command = ["snapshot", "restore", large[1], f"--data-dir={member.data}"]
    command += [f"--initial-cluster={member.initial_cluster}", f"--initial-advertise-peer-urls={member.peer_url}"]
    building = member.data / "member.restoring"
    try:
        for file, size in (("lock", 0), ("state.mdb", 5_000_000), ("log.mdb", 0), ("log.mdb", 1)):
            if not killed_when(lambda at=building / file, enough=size: holds(at, enough), *command) or (member.data / "member").exists():  # type: ignore[misc]
                break  # done before it was killed, so all of it must be there
            if size != 5_000_000:
                continue
            member.start()
            assert member.wait_exit() == 1
            assert "a restore into this directory was not finished" in member.log()
        if not (member.data / "member").exists():
            assert kvctl(*command).returncode == 0
        member.start()
        member.wait_ready()
        wire = Wire(member.endpoint)
        assert wire.ask(pb.RangeRequest(key=b"large/", range_end=b"large0", count_only=True)).count == 30  # type: ignore[attr-defined]
        wire.close()
    finally:
        member.stop()


def test_a_save_that_is_killed_leaves_no_snapshot(large: tuple[Member, Path], tmp_path: Path) -> None:
    member, snapshot = large
    target = tmp_path / "killed.db"
    command = ["--endpoints", member.endpoint, "snapshot", "save", target]
    part = target.with_name("killed.db.part")
    for size in (0, 1, 5_000_000):
        assert killed_when(lambda enough=size: holds(part, enough), *command)  # type: ignore[misc]
        assert not target.exists()
    assert kvctl(*command).returncode == 0
    assert not part.exists()
    assert without_hash(target) == without_hash(snapshot)
    wait_until(lambda: not copies(member), 10, "what killed clients left behind is given back")


def commits(member: Member) -> float:
    http = Http(member.client_port)
    text = http.get("/metrics").text()
    http.close()
    [line] = [line for line in text.splitlines() if line.startswith("etcd_disk_backend_commit_duration_seconds_count")]
    return float(line.split()[1])


def copies(member: Member) -> list[Path]:
    return list(member.data.rglob("*.export-*"))


def test_a_client_that_does_not_read_holds_up_nobody_and_is_cleaned_up_after(large: tuple[Member, Path]) -> None:
    member, _ = large
    # A window that the library widens by itself could take in a whole copy that nobody has read.
    channels = [grpc.insecure_channel(member.endpoint, options=[*OPTIONS, ("grpc.http2.bdp_probe", 0)]) for _ in range(2)]
    calls = []
    for channel in channels:
        stub = channel.unary_stream(path("Maintenance/Snapshot"), pb.SnapshotRequest.SerializeToString, pb.SnapshotResponse.FromString)
        calls.append(stub(pb.SnapshotRequest()))
        first = next(iter(calls[-1]))
        assert first.version == "3.6.0"
        assert first.remaining_bytes > 0
    assert len(copies(member)) == 2, "both were asked for, and neither client has read its own"
    before = commits(member)
    other = Wire(member.endpoint)
    other.ask(pb.PutRequest(key=b"meanwhile"))
    wait_until(lambda: commits(member) > before, 10, "the state is committed while copies of it wait for their clients")
    calls[0].cancel()
    wait_until(lambda: len(copies(member)) == 1, 10, "the copy of a client that left is removed")
    channels[1].close()  # the connection ends without a word
    wait_until(lambda: not copies(member), 10, "the copy of a client that is gone is removed")
    channels[0].close()
    other.close()


def without_hash(snapshot: Path) -> str:
    """Revision, keys and size; the hash covers the applied index, too."""
    done = kvctl("snapshot", "status", snapshot)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition(" ")[2]
