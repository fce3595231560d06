"""Python's etcd libraries, through TLS and in clear: what a session sees is the same with either server."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Pair
from tests.support.members import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SESSION_TIMEOUT_S = 120
ROOT = Path(__file__).parents[2]


def session(library: str, cluster: Cluster) -> list[tuple[str, Any]]:
    """Everything that one session with the first member's port saw."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"needs the package {library}: pip install {library}")
    files = [] if cluster.tls is None else [str(path) for path in (cluster.tls.ca, cluster.tls.client_cert, cluster.tls.client_key)]
    command = [sys.executable, "-m", f"tests.clients.sessions.{library}_library", "localhost", str(cluster[0].client_port), *files]
    # A bundle named in the environment would win over the authority that the session names (requests does so).
    environment = {name: value for name, value in os.environ.items() if not name.endswith("CA_BUNDLE")}
    if library == "etcd3":
        environment["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
    done = subprocess.run(command, capture_output=True, text=True, timeout=SESSION_TIMEOUT_S, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, f"{library} with {cluster.kind.name}:\n{done.stderr}"
    return [(name, value) for name, value in json.loads(done.stdout)]


@pytest.mark.parametrize("library", ["etcd3", "aetcd", "etcd3gw"])
def test_a_session_through_tls_sees_the_same(pair: Pair, library: str) -> None:
    reference, subject = (session(library, cluster) for cluster in pair)
    assert subject == reference


@pytest.mark.parametrize("library", ["etcd3", "aetcd", "etcd3gw"])
def test_a_session_in_clear_sees_the_same(clear_pair: Pair, library: str) -> None:
    reference, subject = (session(library, cluster) for cluster in clear_pair)
    assert subject == reference
