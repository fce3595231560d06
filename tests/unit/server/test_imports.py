"""A member imports at its start what it needs to start, and nothing else: every start waits for it, and most members never need it."""

import subprocess
import sys

import pytest

HEAVY = ["cryptography.x509", "grpc", "jwt", "opentelemetry", "prometheus_client", "yaml"]
"""Together as long as all the rest."""


@pytest.fixture(scope="module")
def imported() -> set[str]:
    program = "import sys, kvstore.server.main; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout.split())


@pytest.mark.parametrize("library", HEAVY)
def test_a_start_does_not_wait_for(imported: set[str], library: str) -> None:
    assert "kvstore.server.node" in imported
    assert library not in imported
