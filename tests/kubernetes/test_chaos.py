"""One short round of chaos with a fixed seed; `make chaos` does it for as long as asked."""

import asyncio
from pathlib import Path

import pytest

from tests.kubernetes.chaos import Chaos
from tests.support.whole import Whole

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

CHURN_S, REST_S = 20.0, 180.0


def test_the_cluster_comes_to_rest_with_everything_in_order(cluster: Whole, tmp_path: Path) -> None:
    wrong = asyncio.run(Chaos(cluster, tmp_path, CHURN_S, REST_S).round(seed=7))
    assert not wrong, "\n".join([*wrong, cluster.logs(5)])
