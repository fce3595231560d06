"""`keelson drill backup`: a backup of the running cluster becomes another cluster, and the two are compared.

While clients write, one member's state is saved. What was acknowledged before must be in it. It is restored to as many members on ports and
certificates of their own, they are started, and every member of both clusters must give the same HashKV at the backup's revision. Then the new
cluster is taken down and removed again. Saving and restoring are done by `kvctl`, as an operator would.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from keelson.cogs import output
from keelson.launcher import cluster as clusters
from keelson.launcher import down, up
from keelson.launcher.calls import Caller, NoAnswer
from keelson.launcher.cluster import HOST, Cluster, ClusterSpec, MemberSpec, Refused
from keelson.launcher.drill import Writer, after, encoded, longest_pause_s, writing

Tell = Callable[[str], None]

CALM_S = 2.0
"""Writing before the backup, so that its pause has something to be compared with."""
HEALTHY_S = 60.0
FOLDER = "backup-drill"

HEADERS = ("STEP", "TOOK", "RESULT")


class Outcome(Struct, frozen=True):
    """`pause_s`: the longest time without an acknowledged write while the backup was taken, `calm_pause_s` before. `missing`: keys that
    were acknowledged before the backup began and are not in it; `hashes`: what the members of both clusters say, by name."""

    bytes: int
    revision: int
    save_s: float
    pause_s: float
    calm_pause_s: float
    restore_s: float
    start_s: float
    acknowledged: int
    missing: list[str]
    hashes: dict[str, str]

    @property
    def passed(self) -> bool:
        return not self.missing and len(set(self.hashes.values())) == 1


class BackupDrill:
    def __init__(self, cluster: Cluster, writers: int, tell: Tell) -> None:
        self.cluster = cluster
        self.tell = tell
        self.prefix = f"keelson-drill/{time.time_ns()}/"
        self.folder = cluster.folder / FOLDER
        self._caller = Caller(cluster)
        self._writers = [Writer(self._caller, self.prefix, number) for number in range(writers)]

    def run(self) -> Outcome:
        """Raises Refused, up.NotHealthy. What it made is gone afterwards."""
        if self.folder.exists():
            raise Refused(
                f"{self.folder} is there already: another drill runs, or one was killed; `keelson down --data-dir {self.folder}`, then remove it"
            )
        self.folder.mkdir(mode=0o700)
        try:
            return self._run(self.folder / "backup.db")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            _ask_any(self._caller, "/v3/kv/deleterange", {"key": encoded(self.prefix), "range_end": encoded(after(self.prefix))})

    def _run(self, backup: Path) -> Outcome:
        source = self.cluster.members[-1]
        with writing(self._writers):
            calm_s = time.monotonic()
            time.sleep(CALM_S)
            before = [key for writer in self._writers for _, key in list(writer.acknowledged)]
            self.tell(f"saving the state of {source.name} while {len(self._writers)} clients write")
            began_s = time.monotonic()
            _kvctl(self._environment(source), "snapshot", "save", str(backup))
            saved_s = time.monotonic()
        acknowledged_s = [at for writer in self._writers for at, _ in writer.acknowledged]
        revision = int(json.loads(_kvctl({}, "snapshot", "status", str(backup), "-w", "json"))["revision"])
        restored = self._plan()
        self.tell(f"restoring {output.size(backup.stat().st_size)} to {len(restored.members)} members")
        restore_s = self._restore(backup, restored)
        started_s = time.monotonic()
        try:
            up.up(restored.folder, up.Wanted(), HEALTHY_S, self.tell)
            start_s = time.monotonic() - started_s
            there = _keys(Caller(restored), self.prefix)
            hashes = {
                f"{which} {member.name}": _hash(Caller(cluster), member, revision)
                for which, cluster in (("running", self.cluster), ("restored", restored))
                for member in cluster.members
            }
        finally:
            down.stop(restored)
        return Outcome(
            bytes=backup.stat().st_size,
            revision=revision,
            save_s=saved_s - began_s,
            pause_s=longest_pause_s(acknowledged_s, began_s, saved_s),
            calm_pause_s=longest_pause_s(acknowledged_s, calm_s, began_s),
            restore_s=restore_s,
            start_s=start_s,
            acknowledged=len(before),
            missing=[key for key in before if key not in there],
            hashes=hashes,
        )

    def _environment(self, member: MemberSpec) -> dict[str, str]:
        return self.cluster.client_environment() | {"ETCDCTL_ENDPOINTS": self.cluster.client_url(member)}

    def _plan(self) -> Cluster:
        members = self.cluster.members
        ports = _free_ports(2 * len(members))
        specs = [MemberSpec(f"r{number}", ports[2 * number - 2], ports[2 * number - 1]) for number in range(1, len(members) + 1)]
        return Cluster(self.folder / "cluster", ClusterSpec(tuple(specs), self.cluster.spec.insecure, token=f"restored-{time.time_ns()}"))

    def _restore(self, backup: Path, restored: Cluster) -> float:
        """Every member's directory; how long one took, in the mean."""
        clusters.save(restored)
        began_s = time.monotonic()
        for member in restored.members:
            flags = [flag for flag in restored.command(member) if flag.startswith(("--name=", "--data-dir=", "--initial-"))]
            flags = [flag for flag in flags if not flag.startswith("--initial-cluster-state")]
            _kvctl({}, "snapshot", "restore", str(backup), *flags)
        return (time.monotonic() - began_s) / len(restored.members)


def _kvctl(environment: dict[str, str], *words: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ETCDCTL_", "KVCTL_"))}
    command = [sys.executable, "-m", "kvstore.ctl.main", *words]
    done = subprocess.run(command, env=inherited | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(f"kvctl {' '.join(words[:2])} failed: {done.stderr.strip()}")
    return done.stdout


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now; all are held until all are found."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _ask_any(caller: Caller, path: str, body: dict[str, Any]) -> Any:
    problem: NoAnswer | None = None
    for member in caller.cluster.members:
        try:
            return caller.request(member, "POST", path, body, timeout_s=30)
        except NoAnswer as error:
            problem = error
    raise Refused(f"no member answers {path}: {problem}")


def _keys(caller: Caller, prefix: str) -> set[str]:
    from base64 import b64decode

    answer = _ask_any(caller, "/v3/kv/range", {"key": encoded(prefix), "range_end": encoded(after(prefix)), "keys_only": True})
    return {b64decode(pair["key"]).decode() for pair in answer.get("kvs", [])}


def _hash(caller: Caller, member: MemberSpec, revision: int) -> str:
    try:
        answer = caller.request(member, "POST", "/v3/maintenance/hashkv", {"revision": str(revision)}, timeout_s=60)
    except NoAnswer as error:
        raise Refused(f"{member.name} does not tell its hash: {error}") from None
    return f"{int(answer.get('hash', 0)):08x}"


def rows(outcome: Outcome) -> Sequence[Sequence[object]]:
    hashes = sorted(set(outcome.hashes.values()))
    verdict = f"{hashes[0]} on all {len(outcome.hashes)} members" if len(hashes) == 1 else json.dumps(outcome.hashes)
    saved = (
        f"{output.size(outcome.bytes)}, revision {outcome.revision}; "
        f"no write for {output.duration(outcome.pause_s)}, {output.duration(outcome.calm_pause_s)} before"
    )
    missing = f"{len(outcome.missing) or 'none'} of {outcome.acknowledged} writes acknowledged before it missing"
    return [
        ["save", output.duration(outcome.save_s), saved],
        ["restore a member", output.duration(outcome.restore_s), missing],
        ["start", output.duration(outcome.start_s), "all healthy"],
        ["compare", "", verdict],
    ]
