"""One process told from another, through /proc.

A process id alone names nobody: it is given again. With its start time (in clock ticks since boot, field 22 of proc(5)'s stat) and the boot it does,
so a stale file can never lead to a signal for a stranger.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from certs.files import write_atomically

PROC = Path("/proc")
POLL_S = 0.02


class Identity(Struct, frozen=True):
    pid: int
    start_ticks: int
    boot: str


class Record(Struct, frozen=True):
    """What run/NAME.json says of a process: its newest incarnation, which may have ended meanwhile (None: it could not even be started)."""

    identity: Identity | None
    restarts: int = 0
    last_end: str = ""


def identify(pid: int) -> Identity | None:
    """Who `pid` is now; None if nobody, or a zombie, which only waits to be forgotten."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    after_name = stat.rpartition(")")[2].split()  # the name may hold blanks and brackets
    state, start_ticks = after_name[0], int(after_name[19])
    return None if state in "ZX" else Identity(pid, start_ticks, boot())


def boot() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def alive(identity: Identity) -> bool:
    return identify(identity.pid) == identity


def running_for_s(identity: Identity) -> float:
    uptime_s = float((PROC / "uptime").read_text().split()[0])
    return uptime_s - identity.start_ticks / os.sysconf("SC_CLK_TCK")


def send(identity: Identity, number: signal.Signals) -> bool:
    """Signal exactly this process; whether it was still there.

    The pidfd holds on to whoever has the id now; only after that is it asked who that is, so it cannot become another in between.
    """
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    try:
        if not alive(identity):
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def ask_to_stop(identity: Identity) -> bool:
    """SIGTERM, and SIGCONT so that a paused process hears it, too."""
    return send(identity, signal.SIGTERM) and send(identity, signal.SIGCONT)


def wait_gone(identities: list[Identity], timeout_s: float) -> list[Identity]:
    """Wait until all have ended, at most `timeout_s`; those that still run."""
    deadline = time.monotonic() + timeout_s
    left = [identity for identity in identities if alive(identity)]
    while left and time.monotonic() < deadline:
        time.sleep(POLL_S)
        left = [identity for identity in left if alive(identity)]
    return left


def with_arguments(*arguments: str) -> list[Identity]:
    """Every process that has exactly these words on its command line: the net for one whose record was never written."""
    wanted, found = {argument.encode() for argument in arguments}, []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile, or is none of our business
            if wanted <= set((entry / "cmdline").read_bytes().split(b"\0")) and (identity := identify(int(entry.name))):
                found.append(identity)
    return found


def record_path(folder: Path, name: str) -> Path:
    return folder / "run" / f"{name}.json"


def write_record(folder: Path, name: str, record: Record) -> None:
    write_atomically(record_path(folder, name), msgspec.json.encode(record), 0o644)


def read_record(folder: Path, name: str) -> Record | None:
    """None if there is none, or none that can be read: then the process is looked for in other ways."""
    try:
        return msgspec.json.decode(record_path(folder, name).read_bytes(), type=Record)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def running(folder: Path, name: str) -> Identity | None:
    """The process that the record of `name` tells of, if it runs."""
    record = read_record(folder, name)
    return record.identity if record is not None and record.identity is not None and alive(record.identity) else None


def find(folder: Path, name: str, *arguments: str) -> Identity | None:
    """The running process of `name`: by its record, else by the `arguments` that only it has.

    A process that was started a moment ago, or whose supervisor was killed at that moment, has no record.
    """
    if identity := running(folder, name):
        return identity
    strays = with_arguments(*arguments)
    return strays[0] if strays else None


def remove_record(folder: Path, name: str) -> None:
    record_path(folder, name).unlink(missing_ok=True)


def how_ended(status: int | None) -> str:
    """An exit status (negative: by that signal; None: unknown, it was not our child) in words."""
    if status is None:
        return "ended"
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exit status {status}"
