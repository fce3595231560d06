from collections.abc import Iterator

import pytest

from tests.support import kinds, tls
from tests.support.members import Cluster

Pair = tuple[Cluster, Cluster]
"""The reference's cluster and the subject's, of three members each, started the same way, asked the same things in the same order."""


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both with certificates asked of clients."""
    folder = tmp_path_factory.mktemp("clients")
    files = tls.make(folder / "pki")
    with (
        Cluster(kinds.find(kinds.ETCD), folder / "reference", 3, files) as reference,
        Cluster(kinds.subject(), folder / "subject", 3, files) as subject,
    ):
        yield reference, subject


@pytest.fixture(scope="session")
def clear_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One member each, without TLS."""
    folder = tmp_path_factory.mktemp("clear-clients")
    with Cluster(kinds.find(kinds.ETCD), folder / "reference", 1) as reference, Cluster(kinds.subject(), folder / "subject", 1) as subject:
        yield reference, subject
