"""For every suite: when a test fails while server processes run, their logs belong to its report; no property is a matter of time; and tests
that share a cluster run in one worker."""

from collections.abc import Generator

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling

from tests.support.members import logs_of_running

SHARED = "tests/kubernetes/"

hypothesis.settings.register_profile("keelson", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("keelson")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend(logs_of_running())
    return report


class OneClusterOneWorker(LoadScopeScheduling):  # type: ignore[misc]
    """Each test goes to whichever worker is free, but those that share the whole cluster go to one. (Not `--dist loadgroup`: xdist 3.8 writes
    the group into a field that pytest 9.2 no longer reads, and every worker had a cluster of its own.)"""

    def _split_scope(self, nodeid: str) -> str:
        return SHARED if nodeid.startswith(SHARED) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return OneClusterOneWorker(config, log)
