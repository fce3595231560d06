"""Scripts of command lines (`scripts/*.txt`), run by etcdctl or kvctl against etcd or Keelson: four worlds that must print the same.

    # a comment
    put a 1                       a command line, as a shell would split it
    * get a                       the same in every output format
        stdin: pw\\npw\\n           what follows belongs to the line above: its standard input
        env: ETCDCTL_HEX=true     its environment
        keep: learner=^(\\w+),     a name for what its output matches, for {learner} in later lines
        formats: simple json      only these
        lines: 4                  it never ends: kill it after so many lines of output

`{endpoint}` is the server, `{dead}` a port where nobody listens, `{member}` the server's id, `{peer_url}` its peers' address, `{folder}` an empty
folder, `{rev+2}` the second revision that the script makes.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from threading import Timer

from msgspec import Struct

from tests.clients.kvctl import Forks
from tests.clients.masking import Masking, unnumbered_leases
from tests.support.http import Http
from tests.support.members import Cluster

FOLDER = Path(__file__).with_name("scripts")
FORMATS = ("simple", "json", "fields", "table", "protobuf")
COMMAND_TIMEOUT_S = 20
DEAD = "127.0.0.1:1"


class Step(Struct):
    """One line of a script, and what stands indented under it."""

    number: int
    text: str
    formats: tuple[str | None, ...] = (None,)
    stdin: str = ""
    env: dict[str, str] = {}
    keep: dict[str, str] = {}
    lines: int = 0


class Outcome(Struct, frozen=True):
    """What a command said, masked."""

    line: str
    code: int
    out: object
    err: tuple[str, ...]


def read(path: Path) -> list[Step]:
    steps: list[Step] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith(" "):
            steps.append(Step(number, line.removeprefix("* "), FORMATS if line.startswith("* ") else (None,)))
            continue
        name, _colon, value = line.strip().partition(": ")
        if name == "stdin":
            steps[-1].stdin = value.encode("latin-1", "backslashreplace").decode("unicode_escape")
        elif name in ("env", "keep"):
            variable, _equals, content = value.partition("=")
            getattr(steps[-1], name)[variable] = content
        elif name == "formats":
            steps[-1].formats = tuple(value.split())
        elif name == "lines":
            steps[-1].lines = int(value)
        else:
            raise AssertionError(f"{path.name}:{number}: stdin, env, keep, formats or lines, not {name!r}")
    return steps


class World:
    """One client with one server of its own."""

    def __init__(self, program: "str | Forks", cluster: Cluster, folder: Path) -> None:
        """`program`: the path of an etcdctl, or kvctl's server."""
        self.program, self.cluster, self.folder = program, cluster, folder
        self.masking = Masking(cluster)
        [self._member] = [number for number, name in self.masking.ids.items() if name != "CLUSTER"]

    def run(self, steps: list[Step]) -> Iterator[Outcome]:
        values = {
            "endpoint": self.cluster[0].endpoint,
            "dead": DEAD,
            "member": f"{self._member:x}",
            "folder": str(self.folder),
            "peer_url": self.cluster[0].peer_url,
            "rev": self._revision(),
        }
        for step in steps:
            for form in step.formats:
                arguments = [_filled(word, values) for word in shlex.split(step.text)]
                environment = {name: _filled(value, values) for name, value in step.env.items()}
                code, out, err = self._do(step, [*arguments, *(["-w", form] if form else [])], environment)
                for name, pattern in step.keep.items():
                    found = re.search(pattern, out.decode(), re.M)
                    assert found, f"line {step.number}: {pattern!r} is not in {out!r}"
                    values[name] = found[1]
                    self.masking.ids[int(found[1], 16)] = name.upper()
                shown = form or next((word for before, word in pairwise(arguments) if before == "-w"), "simple")
                line = f"{step.number}: {step.text}" + (f" -w {form}" if form else "")
                yield Outcome(line, code, self._masked(out, shown, code), self._complaints(err))

    def _revision(self) -> str:
        http = Http(self.cluster[0].client_port, None)  # A connection kept from script to script may have been idle for too long.
        try:
            return str(http.post("/v3/kv/range", {"key": "AA=="}).json()["header"]["revision"])
        finally:
            http.close()

    def _do(self, step: Step, arguments: list[str], environment: Mapping[str, str]) -> tuple[int, bytes, bytes]:
        endpoint = [] if any(word.startswith("--endpoints") for word in arguments) else [f"--endpoints={self.cluster[0].endpoint}"]
        if "ETCDCTL_ENDPOINTS" in environment:
            endpoint = []
        arguments = [*arguments[:1], *endpoint, *arguments[1:]]
        environment = {"ETCDCTL_API": "3", "KVCTL_OUTPUT_VERSION": "3.5", **environment}
        if isinstance(self.program, Forks) and not step.lines:
            return self.program.run(arguments, step.stdin.encode(), environment, str(self.folder))
        program = [sys.executable, "-m", "kvstore.ctl.main"] if isinstance(self.program, Forks) else [self.program]
        with subprocess.Popen(
            [*program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            cwd=self.folder,
        ) as running:
            if not step.lines:
                out, err = running.communicate(step.stdin.encode(), timeout=COMMAND_TIMEOUT_S)
                return running.returncode, out, err
            assert running.stdin is not None and running.stdout is not None
            running.stdin.write(step.stdin.encode())
            running.stdin.flush()
            timer = Timer(COMMAND_TIMEOUT_S, running.kill)
            timer.start()
            out = b"".join(running.stdout.readline() for _ in range(step.lines))
            timer.cancel()
            running.kill()
            return 0, out, b""

    def _masked(self, out: bytes, form: str, code: int) -> object:
        if form == "protobuf" and code == 0 and not out[:1].isalpha():
            return _without_header(out).hex()
        text = out.decode(errors="surrogateescape")
        if text.startswith("NAME:\n"):
            return "usage of " + text.split(" - ")[0].split()[-1].replace("kvctl", "etcdctl")
        if form == "json" and code == 0 and text.startswith(("{", "[")):
            return [_in_order(document) for document in self.masking.parsed(text)]
        text = unnumbered_leases(self.masking.text(text))
        text = re.sub(r"\b([Mm]ember|cluster) +", r"\1 ", text)  # Go's %16x leaves blanks for leading zeros.
        text = re.sub(r"(true|false), (true|false), \d+, \d+, \d+, ", r"\1, \2, TERM, INDEX, INDEX, ", text)
        text = re.sub(r"\| +\d+ \| +\d+ \| +\d+ \|( +)\|", r"| TERM | INDEX | INDEX |\1|", text)
        text = re.sub(r"^(\S+:PORT-\w+), \d+$", r"\1, HASH", text, flags=re.M)
        text = re.sub(r"^(\| \S+:PORT-\w+ \|) +\d+ \|$", r"\1 HASH |", text, flags=re.M)
        text = re.sub(r'"raft_term":\d+', '"raft_term":TERM', re.sub(r" {2,}|-{2,}", " ", text) if form == "table" else text)
        if any(f"{name}, " in text or f"{name} |" in text for name in self.masking.ids.values()):  # A list of members, sorted by ids.
            text = "\n".join(sorted(text.splitlines()))
        if text.count('\n"Name" : ') > 1:
            text = "\n\n".join(sorted(text.replace('"ID" :', '\n"ID" :', 1).split("\n\n")))
        return re.sub(r'(?<=INITIAL_CLUSTER=")[^"]*', lambda match: ",".join(sorted(match[0].split(","))), text)

    def _complaints(self, err: bytes) -> tuple[str, ...]:
        """Without log lines of the client (retries, with addresses and times), and what stty says where there is no terminal."""
        lines = err.decode(errors="surrogateescape").replace("kvctl", "etcdctl").splitlines()
        kept = [line for line in lines if not re.match(r'^\{"level"|^\d{4}[-/]|^stty: ', line)]
        return tuple(unnumbered_leases(self.masking.text("\n".join(kept))).split("\n"))


def _in_order(document: object) -> object:
    """Members are sorted by their ids, which differ from cluster to cluster."""
    if isinstance(document, dict) and "members" in document:
        return {**document, "members": sorted(document["members"], key=repr)}
    return document


def _filled(text: str, values: Mapping[str, str]) -> str:
    text = re.sub(r"\{rev\+(\d+)\}", lambda match: str(int(values["rev"]) + int(match[1])), text)
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def _without_header(data: bytes) -> bytes:
    """A protobuf message without its field 1, which is the header wherever there is one."""
    at, kept = 0, b""
    while at < len(data):
        begin = at
        key, at = _varint(data, at)
        if key & 7 == 0:
            _number, at = _varint(data, at)
        elif key & 7 == 2:
            size, at = _varint(data, at)
            at += size
        else:
            raise AssertionError(f"wire type {key & 7} at {begin} of {data!r}")
        if key >> 3 != 1:
            kept += data[begin:at]
    return kept


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
