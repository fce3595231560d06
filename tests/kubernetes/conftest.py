"""One cluster for all tests of this folder that only use it; tests that break it make their own. They all run in one worker (tests/conftest.py)."""

from collections.abc import Iterator

import pytest

from keelson.launcher import supervisor
from tests.support.kubectl import Tool
from tests.support.whole import Whole, whole


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("whole")) as running:
        yield running
        running.kill(supervisor.NAME)  # `down` has to find everything without it, and to leave nothing behind


@pytest.fixture
def kubectl(cluster: Whole) -> Tool:
    return cluster.kubectl()
