"""The supervisor: a process that starts members and all other programs of a cluster, starts again what dies, and stops them all when it is stopped.

`supervise` decides; here decisions become processes. Members are in process groups of their own, so that a Ctrl-C in a terminal does not reach them
directly, and they live on if the supervisor is killed: the next one finds them by their records and takes over. A pidfd tells when a process ends,
whoever started it.

    python -m keelson.launcher.supervisor FOLDER [--attached]

Attached, it tells what happens on standard error, too, and stops everything when its standard input ends: when whoever started it has ended, in
whatever way.
"""

import argparse
import fcntl
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import BinaryIO

from keelson.cogs import logs
from keelson.cogs.logs import fields
from keelson.launcher import cluster as clusters
from keelson.launcher import network, processes
from keelson.launcher.cluster import Cluster
from keelson.launcher.processes import Identity, Record
from keelson.launcher.programs import STORE
from keelson.launcher.supervise import Action, AskToStop, Kill, Start, Supervision

NAME = "supervisor"
MODULE = "keelson.launcher.supervisor"
LOG_MAX_BYTES = 64 * 1024 * 1024
"""A log file longer than this is put aside, as NAME.log.1, at the next start of its writer."""

log = logging.getLogger(__name__)


class Process:
    """One running member: our child, or one that a supervisor before us started (then its exit status is nobody's to know)."""

    def __init__(self, identity: Identity, child: subprocess.Popen[bytes] | None) -> None:
        self.identity, self.child = identity, child
        self.handle = os.pidfd_open(identity.pid)

    def reap(self) -> int | None:
        os.close(self.handle)
        return None if self.child is None else self.child.wait()


class Supervisor:
    def __init__(self, cluster: Cluster, attached: bool = False) -> None:
        self.cluster = cluster
        self.attached = attached
        self._programs = {program.name: program for program in cluster.programs()}
        self.supervision = Supervision(
            {program.name: program.first_start_s for program in self._programs.values()},
            stop_stages={program.name: program.stop_stage for program in self._programs.values()},
            faithful=[program.name for program in self._programs.values() if program.stop_stage != STORE],
        )
        self._running: dict[str, Process] = {}
        self._last_end: dict[str, str] = {}
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Until a stop signal came and every member has ended, or every member has left."""
        signals = _signals_as_bytes()
        self._selector.register(signals, selectors.EVENT_READ)
        if self.attached:
            self._selector.register(sys.stdin, selectors.EVENT_READ)
        self._adopt()
        while True:
            for action in self.supervision.decide(time.monotonic()):
                self._perform(action)
            if self.supervision.finished:
                return
            deadline_s = self.supervision.next_deadline_s()
            timeout_s = None if deadline_s is None else max(deadline_s - time.monotonic(), 0)
            for key, _ in self._selector.select(timeout_s):
                if key.fileobj == signals:
                    self._stop("asked to stop", signal=signal.Signals(os.read(signals, 1)[0]).name)
                elif key.fileobj is sys.stdin:
                    self._selector.unregister(sys.stdin)
                    self._stop("whoever started this has ended")
                else:
                    self._exited(key.data)

    def _adopt(self) -> None:
        """Take over members that run already: whoever supervised them was killed."""
        for name, program in self._programs.items():
            identity = processes.find(self.cluster.folder, name, program.mark)
            if identity is None:
                continue
            try:
                self._watch(name, Process(identity, None))
            except ProcessLookupError:
                continue  # it ended since
            if record := processes.read_record(self.cluster.folder, name):
                self.supervision.members[name].restarts = record.restarts
                self._last_end[name] = record.last_end
            self.supervision.started(name, time.monotonic())
            self._record(name, identity)
            log.info("found member running", extra=fields(member=name, pid=identity.pid))

    def _perform(self, action: Action) -> None:
        match action:
            case Start(name):
                self._start(name)
            case AskToStop(name):
                log.info("stopping member", extra=fields(member=name))
                processes.ask_to_stop(self._running[name].identity)
            case Kill(name):
                log.warning("member did not stop in time; killing it", extra=fields(member=name))
                processes.send(self._running[name].identity, signal.SIGKILL)

    def _start(self, name: str) -> None:
        try:
            child = self._spawn(name)
        except (OSError, subprocess.SubprocessError) as error:  # the latter: its node's network could not be entered
            self._ended(name, 127, str(error))
            return
        identity = processes.identify(child.pid)
        if identity is None:  # it died before we could look
            self._ended(name, child.wait())
            return
        self._watch(name, Process(identity, child))
        self.supervision.started(name, time.monotonic())
        self._record(name, identity)
        log.info("started member", extra=fields(member=name, pid=child.pid, restarts=self.supervision.members[name].restarts))

    def _record(self, name: str, identity: Identity | None) -> None:
        record = Record(identity, self.supervision.members[name].restarts, self._last_end.get(name, ""))
        try:
            processes.write_record(self.cluster.folder, name, record)
        except OSError as error:
            # A full disk must not end who watches over everything; `down` and the next supervisor find programs by their command lines, too.
            log.error("cannot write down who runs", extra=fields(member=name, error=str(error)))

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        # etcd refuses to start when a variable and a flag set the same thing.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD_")}
        program = self._programs[name]
        with open_log(self.cluster.log(name)) as output:
            return subprocess.Popen(
                program.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self.cluster.folder,
                process_group=0,
                preexec_fn=partial(network.enter, program.namespace) if program.namespace else None,
            )

    def _watch(self, name: str, process: Process) -> None:
        self._running[name] = process
        self._selector.register(process.handle, selectors.EVENT_READ, name)

    def _exited(self, name: str) -> None:
        process = self._running.pop(name)
        self._selector.unregister(process.handle)
        self._ended(name, process.reap())

    def _ended(self, name: str, status: int | None, why: str = "") -> None:
        how = why or processes.how_ended(status)
        self._last_end[name] = how
        delay_s = self.supervision.exited(name, status, time.monotonic())
        self._record(name, None)
        if delay_s is not None:
            log.warning("member died; starting it again", extra=fields(member=name, how=how, delay_ms=round(delay_s * 1000)))
        elif self.supervision.stopping:
            log.info("member stopped", extra=fields(member=name, how=how))
        else:
            log.warning("member has left by itself; it is not started again", extra=fields(member=name, how=how))

    def _stop(self, why: str, **details: object) -> None:
        log.info(why, extra=fields(**details))
        self.supervision.stop()


def _signals_as_bytes() -> int:
    """A file descriptor from which each SIGTERM and SIGINT can be read as a byte: so a signal is one more event to wait for."""
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writable)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return readable


def open_log(path: Path) -> BinaryIO:
    """Append to `path`; one that has grown too long is put aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_MAX_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def lock(folder: Path) -> int | None:
    """Be the only supervisor of `folder` as long as this process lives; None if there is one. The kernel frees it however the holder ends."""
    (folder / "run").mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "run" / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def main() -> int:
    parser = argparse.ArgumentParser(prog="keelson-supervisor")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--attached", action="store_true", help="tell what happens on standard error; stop when standard input ends")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    cluster = clusters.load(folder)
    if cluster is None:
        print(f"{folder} holds no cluster", file=sys.stderr)
        return 2
    if lock(folder) is None:
        print(f"{folder} has a supervisor already", file=sys.stderr)
        return 3
    with open_log(cluster.log(NAME)) as raw:
        stream = os.fdopen(os.dup(raw.fileno()), "a", buffering=1)
    logs.configure(stream=stream)
    if arguments.attached:
        handler = logging.StreamHandler()
        handler.setFormatter(logs.ConsoleFormatter())
        logging.getLogger().addHandler(handler)
    own = processes.identify(os.getpid())
    assert own is not None
    processes.write_record(folder, NAME, Record(own))
    try:
        Supervisor(cluster, arguments.attached).run()
    except BaseException:
        log.exception("supervisor failed; members that run are left running")
        raise
    processes.remove_record(folder, NAME)
    log.info("all members have ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
