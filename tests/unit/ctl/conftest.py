from collections.abc import Iterator

import pytest

from tests.unit.api.served import Served


@pytest.fixture
def served() -> Iterator[Served]:
    """The services over the model of etcd, a store of its own for each test."""
    with Served() as made:
        yield made
