from collections.abc import Iterator

import pytest

from tests.fuzz.target import Target
from tests.support import kinds, tls


@pytest.fixture(scope="session", params=["clear", "tls"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp(f"fuzz-{request.param}")
    made = Target(kinds.subject(), folder, tls.make(folder / "pki") if request.param == "tls" else None)
    yield made
    made.close()


@pytest.fixture(scope="session")
def clear(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    made = Target(kinds.subject(), tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


@pytest.fixture
def target(clear: Target) -> Iterator[Target]:
    """In clear; judged after every test."""
    yield clear
    clear.check()


@pytest.fixture
def any_target(either: Target) -> Iterator[Target]:
    """Once in clear, once with TLS; judged after every test."""
    yield either
    either.check()
