"""Commands for a member's files rather than for members: check data-dir, hashkv, and what defrag --data-dir does (etcdutl's)."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kvstore.ctl.command import Command
from kvstore.ctl.failure import ERROR, Failure
from kvstore.ctl.flags import Flag, Given
from kvstore.ctl.output import Printer, go_json, table

_T = TypeVar("_T")


def tried(work: Callable[[], _T]) -> _T:
    """Do it, and turn what the files' tools raise into a failure of the command."""
    from kvstore.offline import Unusable

    try:
        return work()
    except Unusable as error:
        raise Failure(ERROR, str(error)) from error
    except OSError as error:
        raise Failure(ERROR, f"open {error.filename}: {(error.strerror or str(error)).lower()}") from error


def hash_kv(given: Given, printer: Printer) -> None:
    [path] = given.exactly(1, "hashkv command needs exactly one argument: a snapshot, or the data directory of a stopped member")
    from kvstore.offline.hashing import hash_file

    found = tried(lambda: hash_file(Path(path), given.flags["rev"]))
    row = [str(found.hash), str(found.hash_revision), str(found.compact_revision)]

    def fields() -> None:
        printer.line(f'"Hash" : {found.hash}')
        printer.line(f'"Hash revision" : {found.hash_revision}')
        printer.line(f'"Compact revision" : {found.compact_revision}')

    as_json = {"hash": found.hash, "hashRevision": found.hash_revision, "compactRevision": found.compact_revision}
    printer.list(
        {
            "simple": lambda: printer.line(", ".join(row)),
            "fields": fields,
            "json": lambda: printer.line(go_json(as_json)),
            "table": lambda: printer.write(table(["HASH", "HASH REVISION", "COMPACT REVISION"], [row])),
        }
    )


def defragment(data_dir: str, printer: Printer) -> None:
    """Of a member that does not run."""
    from kvstore.offline.datadir import defragment as defragment_files

    try:
        before, after = tried(lambda: defragment_files(Path(data_dir)))
    except Failure as failure:
        raise Failure(ERROR, f"Failed to defragment etcd data[{data_dir}] ({failure})") from failure
    printer.line(f"Finished defragmenting directory[{data_dir}]: {before} bytes before, {after} after")


def check_data_dir(given: Given, printer: Printer) -> None:
    [path] = given.exactly(1, "check data-dir command needs exactly one argument: the data directory of a stopped member")
    from kvstore.offline.datadir import check

    found = tried(lambda: check(Path(path)))
    as_json = {
        "damage": found.damage,
        "appliedIndex": found.applied,
        "revision": found.revision,
        "compactRevision": found.compacted or -1,
        "hash": found.hash,
    }
    verdict = f"FAIL: {found.damage}" if found.damage else f"PASS: every entry of the log and every row of the state up to revision {found.revision}"
    printer.list({"simple": lambda: printer.line(verdict), "json": lambda: printer.line(go_json(as_json))})
    if found.damage:
        raise Failure(ERROR, "")


COMMANDS = {
    "check data-dir": Command(
        check_data_dir,
        (),
        "Checks the files of a stopped member for damage",
        local=True,
        use="<data directory>",
        description="Reads every entry of the log with its checksum, and holds the tables of the state against each other.\n",
    ),
    "hashkv": Command(
        hash_kv,
        (Flag("rev", 0, "maximum revision to hash (default: latest revision)"),),
        "Prints the KV history hash of a given file",
        local=True,
        use="<filename or data directory>",
    ),
}
