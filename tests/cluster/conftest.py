from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import kinds, tls
from tests.support.members import Cluster
from tests.support.tls import TlsFiles


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return tls.make(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def cluster(tmp_path: Path, files: TlsFiles) -> Iterator[Cluster]:
    """Three members with TLS on both ports."""
    with Cluster(kinds.subject(), tmp_path, 3, files) as made:
        yield made
