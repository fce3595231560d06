from collections.abc import Iterator

import pytest

from kvstore.api.rpc import Settings
from tests.unit.api.coordination import Coordination
from tests.unit.api.served import Served


@pytest.fixture
def served() -> Iterator[Served]:
    """A store of its own for each test. Elections and heartbeats are short, so that nobody waits long for what follows from them."""
    with Served(
        Settings(
            election_timeout_s=0.02,
        )
    ) as made:
        yield made


@pytest.fixture
def service(served: Served) -> Coordination:
    """Locks and elections, with the leases a, b and c."""
    made = Coordination(served)
    made.grant(0xA, 0xB, 0xC)
    return made
