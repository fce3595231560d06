from collections.abc import Iterator

import pytest

from tests.oracle.arena import Arena
from tests.support import kinds


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """The oracle against the kind under test."""
    made = Arena(kinds.find(kinds.ETCD), kinds.subject(), tmp_path_factory.mktemp("oracle"))
    yield made
    made.close()
