"""snapshot save, status, restore: etcdctl's first, etcdutl's others."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_ARGUMENTS, ERROR, INTERRUPTED, Failure, told
from kvstore.ctl.flags import Flag, Given
from kvstore.ctl.offline import tried
from kvstore.ctl.output import Printer, go_json, human_bytes, quoted, table
from kvstore.errors import StoreError

if TYPE_CHECKING:
    from kvstore.client.client import Client

RESTORE_FLAGS = (
    Flag("bump-revision", 0, "How much to increase the latest revision after restore"),
    Flag("data-dir", "", "Path to the output data directory"),
    Flag("initial-advertise-peer-urls", "http://localhost:2380", "List of this member's peer URLs to advertise to the rest of the cluster"),
    Flag("initial-cluster", "default=http://localhost:2380", "Initial cluster configuration for restore bootstrap"),
    Flag("initial-cluster-token", "etcd-cluster", "Initial cluster token for the etcd cluster during restore bootstrap"),
    Flag("initial-memory-map-size", 0, "Accepted for etcdutl's sake: LMDB's map needs no tuning"),
    Flag(
        "mark-compacted",
        False,
        "Mark the latest revision after restore as the point of scheduled compaction (required if --bump-revision > 0, disallowed otherwise)",
    ),
    Flag("name", "default", "Human-readable name for this member"),
    Flag("skip-hash-check", False, "Ignore snapshot integrity hash value (required if copied from data directory)"),
    Flag("wal-dir", "", "Refused: the log lives in the data directory here"),
)


@contextlib.contextmanager
def _whole_or_not(target: str) -> Iterator[BinaryIO]:
    """A file to write that gets its name when all of it is on disk, and is gone if that fails."""
    part = Path(f"{target}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise Failure(INTERRUPTED, f"could not open {part} (open {part}: {_lower(error)})") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise Failure(INTERRUPTED, f"could not write {target} ({_lower(error)})") from error
    finally:
        part.unlink(missing_ok=True)


async def save(client: "Client", given: Given, printer: Printer) -> None:
    """One member's state into FILE, which is whole or not there."""
    [target] = given.exactly(1, "snapshot save expects one argument")
    endpoints = given.flags["endpoints"]
    if len(endpoints) != 1:
        raise Failure(INTERRUPTED, f"snapshot must be requested to one selected node, not multiple [{' '.join(endpoints)}]")
    with _whole_or_not(target) as file:
        try:
            version = await _receive(client, file)
        except StoreError as error:
            raise Failure(INTERRUPTED, told(error)) from error
    printer.line(f"Snapshot saved at {target}")
    if version:
        printer.line(f"Server version {version}")


async def _receive(client: "Client", file: BinaryIO) -> str:
    version = ""
    async for response in client.snapshot():
        file.write(response.blob)
        version = response.version
    return version


def _lower(error: OSError) -> str:
    """As Go says it."""
    return (error.strerror or str(error)).lower()


def status(given: Given, printer: Printer) -> None:
    [name] = given.exactly(1, "snapshot status requires exactly one argument")
    from kvstore.offline.status import status as status_of

    path = Path(name)
    if not path.exists():
        raise Failure(ERROR, f"stat {path}: no such file or directory")
    found = tried(lambda: status_of(path))
    row = [f"{found.hash:x}", str(found.revision), str(found.total_keys), human_bytes(found.total_size_bytes), found.version]
    headers = ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"]
    as_json = {
        "hash": found.hash,
        "revision": found.revision,
        "totalKey": found.total_keys,
        "totalSize": found.total_size_bytes,
        "version": found.version,
    }

    def fields() -> None:
        printer.line(f'"Hash" : {found.hash}')
        printer.line(f'"Revision" : {found.revision}')
        printer.line(f'"Keys" : {found.total_keys}')
        printer.line(f'"Size" : {found.total_size_bytes}')
        printer.line(f'"Version" : {quoted(found.version)}')

    printer.list(
        {
            "simple": lambda: printer.line(", ".join(row)),
            "fields": fields,
            "json": lambda: printer.line(go_json(as_json)),
            "table": lambda: printer.write(table(headers, [row])),
        }
    )


def restore(given: Given, _printer: Printer) -> None:
    """Without a member and without a network: a data directory out of a file."""
    flags = given.flags
    [snapshot] = given.exactly(1, "snapshot restore requires exactly one argument")
    bump = flags["bump-revision"]
    if (bump > 0) != flags["mark-compacted"] or bump < 0:
        raise Failure(BAD_ARGUMENTS, "--mark-compacted required if --revision-bump > 0")
    if flags["wal-dir"]:
        raise Failure(BAD_ARGUMENTS, "--wal-dir: Keelson keeps its log in the data directory; leave it out")
    from kvstore.offline.restore import NewCluster
    from kvstore.offline.restore import restore as restore_to

    def work() -> None:
        name, token = flags["name"], flags["initial-cluster-token"]
        cluster = NewCluster.parse(name, flags["initial-cluster"], flags["initial-advertise-peer-urls"], token)
        data_dir = Path(flags["data-dir"] or f"{name}.etcd")
        done = restore_to(Path(snapshot), data_dir, cluster, skip_hash_check=flags["skip-hash-check"], bump=bump)
        compacted = f", compacted at {done.compacted_revision}" if done.compacted_revision else ""
        print(
            f"restored snapshot {snapshot} to {data_dir}: member {done.member_id:x} of cluster {done.cluster_id:x}, "
            f"revision {done.revision}{compacted}",
            file=sys.stderr,
        )

    tried(work)


COMMANDS = {
    "snapshot save": Command(save, (), "Stores an etcd node backend snapshot to a given file", endless=True, use="<filename>"),
    "snapshot status": Command(
        status,
        (),
        "Gets backend snapshot status of a given file",
        local=True,
        use="<filename>",
        description="When --write-out is set to simple, this command prints out comma-separated status lists.\n"
        "The items in the lists are hash, revision, total keys, total size, version.\n",
    ),
    "snapshot restore": Command(
        restore,
        RESTORE_FLAGS,
        "Restores an etcd member snapshot to an etcd directory",
        local=True,
        use="<filename> --data-dir {output dir} [options]",
    ),
}
