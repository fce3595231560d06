"""Inspects a member's files in a process of its own: `python -m kvstore.server.inspector STATE REVISION THOROUGH [LOG]`.

A process, because reading everything takes seconds of Python that the member's clients need, and because LMDB trusts its pages: a flipped byte
in the wrong place ends whoever reads it, and that must not be the member. LMDB lets processes share a file; what this one sees is the last
commit.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import msgspec

from kvstore.mvcc.inspection import Inspection, damaged, inspect
from kvstore.storage.engine import EngineError
from kvstore.storage.file import SystemFile
from kvstore.storage.lmdb_engine import JOURNAL_FILE, UNLIMITED_MAP_BYTES, LmdbEngine
from kvstore.storage.raftlog import RaftLog
from kvstore.storage.tables import open_state_tables

NICENESS = 10
"""Whoever serves clients goes first."""

_decode = msgspec.json.Decoder(Inspection).decode


def run(state: Path, revision: int, *, thorough: bool, log: Path | None = None, started: "list[subprocess.Popen[bytes]] | None" = None) -> Inspection:
    """Inspect in a new process and wait for it. Raises EngineError if it could not be done at all; damage is no error here.

    `started` gets the process, for who wants to end it from another thread.
    """
    command = [sys.executable, "-P", "-m", __name__, str(state), str(revision), str(int(thorough)), *([] if log is None else [str(log)])]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if started is not None:
            started.append(process)
        output, errors = process.communicate()
        if started is not None:
            started.remove(process)
    code = process.returncode
    if code == 0:
        return _decode(output)
    if code in (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGFPE, -signal.SIGILL):
        return damaged(f"{state}{'' if log is None else f' or {log}'}: damaged, reading it ends in {signal.Signals(-code).name}")
    said = errors.decode(errors="replace").strip().splitlines()
    raise EngineError(f"{state}: could not be inspected (status {code}): {said[-1] if said else 'it said nothing'}")


def _inspect(state: Path, revision: int, thorough: bool, log: Path | None) -> Inspection:
    if log is not None:
        try:
            journal = log.with_name(JOURNAL_FILE)
            file = SystemFile(journal, readonly=True) if journal.exists() else None
            RaftLog(LmdbEngine(log, UNLIMITED_MAP_BYTES, readonly=True), file).check()
        except EngineError as error:
            return damaged(_named(error, log))
    try:
        engine = LmdbEngine(state, UNLIMITED_MAP_BYTES, readonly=True)
        with engine.errors():
            tables = open_state_tables(engine)
            found = inspect(engine.begin_read(), tables, revision, thorough=thorough)
    except EngineError as error:
        return damaged(_named(error, state))
    return msgspec.structs.replace(found, damage=f"{state}: {found.damage}") if found.damage else found


def _named(error: EngineError, path: Path) -> str:
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def main() -> None:
    state, revision, thorough, *log = sys.argv[1:]
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    try:
        found = _inspect(Path(state), int(revision), thorough == "1", Path(log[0]) if log else None)
    except (EngineError, lmdb.Error) as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
