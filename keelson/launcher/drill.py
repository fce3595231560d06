"""`keelson drill --running`: break the cluster of `keelson up` on purpose, and measure what clients notice. (Drills with a cluster of their own, and
more faults, are in keelson/drills.)

Writers put keys of their own, one after the other, each try with a time-out, and go to the next member when one fails, as any client would.
Meanwhile a fault happens: a member is killed with SIGKILL (the supervisor starts it again) or paused with SIGSTOP. Told are, for each fault, the
longest time in which no write at all was acknowledged, the tries that failed, and when the member was healthy again; at the end every acknowledged
key is read back.

Everything goes through the JSON gateway on the client ports, or through gRPC where authentication is on (see calls.py), so the same drill runs
against etcd itself (KEELSON_MEMBER_COMMAND).
"""

import base64
import http.client
import itertools
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from keelson.launcher import processes
from keelson.launcher.calls import Caller, NoAnswer
from keelson.launcher.cluster import Cluster, MemberSpec, Refused
from keelson.launcher.status import Row, observe

if TYPE_CHECKING:
    from keelson.launcher.rpc import Line

TRY_TIMEOUT_S = 1.0
CALM_S = 2.0
"""Writing without a fault before each one, so that its pause has something to be compared with."""
AFTERMATH_S = 3.0
"""Writing after the member is back: its return may disturb, too."""
PAUSE_S = 5.0
BACK_TIMEOUT_S = 60.0
PAGE = 10_000

FAULTS = ("leader-kill", "follower-kill", "leader-pause", "follower-pause")


class Outcome(Struct, frozen=True):
    """What one fault did. `pause_s`: the longest time without an acknowledged write; `calm_pause_s`: the same before the fault."""

    fault: str
    member: str
    pause_s: float
    calm_pause_s: float
    failed_tries: int
    acknowledged: int
    back_after_s: float


def longest_pause_s(acknowledged_s: Sequence[float], begin_s: float, end_s: float) -> float:
    """The longest time within [begin, end] in which nothing was acknowledged. The ends count: a pause may reach over either."""
    inside = sorted(at for at in acknowledged_s if begin_s <= at <= end_s)
    marks = [begin_s, *inside, end_s]
    return max(later - earlier for earlier, later in itertools.pairwise(marks))


class Writes(Protocol):
    def run(self, stop: threading.Event) -> None: ...


@contextmanager
def writing(writers: Sequence[Writes]) -> Iterator[None]:
    """Each in a thread of its own; they have ended when the block has."""
    stop = threading.Event()
    threads = [threading.Thread(target=writer.run, args=(stop,), name=f"drill-writer-{n}") for n, writer in enumerate(writers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class Writer:
    """One client: puts its own keys until told to stop. Lists are only appended to by its thread, so others may read them."""

    def __init__(self, caller: Caller, prefix: str, number: int) -> None:
        self.acknowledged: list[tuple[float, str]] = []
        self.failed_s: list[float] = []
        self._caller = caller
        self._name = f"{prefix}{number:02}/"
        self._home = self._at = number % len(caller.cluster.members)
        self._go_home = False
        self._connection: http.client.HTTPConnection | None = None
        self._line: Line | None = None

    def run(self, stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            key = f"{self._name}{number:08}"
            number += 1
            if self._go_home:
                self._go_home = False
                self._move(self._home)
            if self._try_put(key):
                self.acknowledged.append((time.monotonic(), key))
            else:
                self.failed_s.append(time.monotonic())
                self._move(self._at + 1)
                stop.wait(0.01)  # refused connections fail at once: a client that hammers would measure itself
        self._hang_up()

    def _try_put(self, key: str) -> bool:
        """One put; False also if it is not known whether it happened."""
        member = self._caller.cluster.members[self._at]
        body = {"key": encoded(key), "value": encoded(key)}
        if self._caller.by_grpc:
            return self._try_line(member, body)
        try:
            if self._connection is None:
                self._connection = self._caller.connect(member, TRY_TIMEOUT_S)
            self._connection.request("POST", "/v3/kv/put", json.dumps(body))
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            return False
        if self._caller.refuses_names(response.status, content):
            return self._try_line(member, body)
        return response.status == 200

    def _try_line(self, member: MemberSpec, body: dict[str, str]) -> bool:
        from kvstore.client.client import StoreError

        try:
            if self._line is None:
                self._line = self._caller.line(member, TRY_TIMEOUT_S)
            self._line.call("/v3/kv/put", body)
        except (OSError, StoreError):
            return False
        return True

    def go_home(self) -> None:
        """Back to the member of the beginning, soon: else all writers gather at whichever member was never broken."""
        self._go_home = True

    def _move(self, to: int) -> None:
        self._hang_up()
        self._at = to % len(self._caller.cluster.members)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._line is not None:
            self._line.close()
            self._line = None


class Drill:
    def __init__(self, cluster: Cluster, writers: int, tell: Callable[[str], None]) -> None:
        if len(cluster.members) < 3:
            raise Refused(f"a drill needs at least three members: a cluster of {len(cluster.members)} stands still as soon as one is missing")
        self.cluster = cluster
        self.caller = Caller(cluster)
        self.tell = tell
        self.prefix = f"keelson-drill/{time.time_ns()}/"
        self.writers = [Writer(self.caller, self.prefix, number) for number in range(writers)]

    def run(self, faults: Sequence[str]) -> list[Outcome]:
        self._wait_healthy()
        with writing(self.writers):
            return [self._one(fault) for fault in faults]

    def lost(self) -> list[str]:
        """Acknowledged keys that are not there any more, by a linearizable read. Must be empty."""
        there = self._keys()
        return [key for writer in self.writers for _, key in writer.acknowledged if key not in there]

    def acknowledged(self) -> int:
        return sum(len(writer.acknowledged) for writer in self.writers)

    def clean_up(self) -> None:
        self._ask("/v3/kv/deleterange", {"key": encoded(self.prefix), "range_end": encoded(after(self.prefix))})

    def _one(self, fault: str) -> Outcome:
        whom, _, how = fault.partition("-")
        for writer in self.writers:
            writer.go_home()
        calm_s = time.monotonic()
        time.sleep(CALM_S)
        member = self._choose(whom)
        self.tell(f"{fault}: {member.name}")
        began_s = time.monotonic()
        if how == "kill":
            self._signal(member, signal.SIGKILL)
        else:
            self._signal(member, signal.SIGSTOP)
            try:
                time.sleep(PAUSE_S)
            finally:
                self._signal(member, signal.SIGCONT)
        ended_s = time.monotonic()
        self._wait_healthy()
        back_s = time.monotonic()
        time.sleep(AFTERMATH_S)
        now_s = time.monotonic()
        acknowledged_s = [at for writer in self.writers for at, _ in writer.acknowledged]
        return Outcome(
            fault=fault,
            member=member.name,
            pause_s=longest_pause_s(acknowledged_s, began_s, now_s),
            calm_pause_s=longest_pause_s(acknowledged_s, calm_s, began_s),
            failed_tries=sum(began_s <= at <= now_s for writer in self.writers for at in writer.failed_s),
            acknowledged=sum(began_s <= at <= now_s for at in acknowledged_s),
            back_after_s=back_s - ended_s,
        )

    def _choose(self, whom: str) -> MemberSpec:
        rows = observe(self.cluster, self.caller)
        names = [row.name for row in rows if row.role == whom]
        if not names:
            raise Refused(f"there is no {whom} to break: {_roles(rows)}")
        return next(member for member in self.cluster.members if member.name == names[0])

    def _signal(self, member: MemberSpec, number: signal.Signals) -> None:
        identity = processes.find(self.cluster.folder, member.name, self.cluster.data_flag(member.name))
        if identity is None or not processes.send(identity, number):
            raise Refused(f"{member.name} does not run: `keelson up` starts it")

    def _wait_healthy(self) -> None:
        deadline_s = time.monotonic() + BACK_TIMEOUT_S
        while True:
            rows = observe(self.cluster, self.caller)
            if all(row.healthy for row in rows) and sum(row.role == "leader" for row in rows) == 1:
                return
            if time.monotonic() > deadline_s:
                raise Refused(f"not every member is healthy: {_roles(rows)}")
            time.sleep(0.05)

    def _keys(self) -> set[str]:
        """All keys of this drill, page by page, each page at the revision of the first."""
        keys: set[str] = set()
        start, revision = self.prefix, 0
        while True:
            body = {"key": encoded(start), "range_end": encoded(after(self.prefix)), "keys_only": True, "limit": PAGE, "revision": revision}
            answer = self._ask("/v3/kv/range", body)
            page = [base64.b64decode(pair["key"]).decode() for pair in answer.get("kvs", [])]
            keys.update(page)
            if not answer.get("more"):
                return keys
            start, revision = page[-1] + "\0", revision or int(answer["header"]["revision"])

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        """From the first member that answers."""
        problem: NoAnswer | None = None
        for member in self.cluster.members:
            try:
                return self.caller.request(member, "POST", path, body, timeout_s=30)
            except NoAnswer as error:
                problem = error
        raise Refused(f"no member answers {path}: {problem}")


def _roles(rows: Sequence[Row]) -> str:
    return ", ".join(f"{row.name} is {row.role}" + (f" ({row.problem})" if row.problem else "") for row in rows)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def after(prefix: str) -> str:
    """The end of the range of all keys with an ASCII prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


HEADERS = ("FAULT", "MEMBER", "NO WRITE FOR", "BEFORE IT", "FAILED TRIES", "ACKNOWLEDGED", "BACK AFTER")
