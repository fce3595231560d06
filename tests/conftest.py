"""For every suite: when a test fails while server processes run, their logs belong to its report; and no property is a matter of time."""

from collections.abc import Generator

import hypothesis
import pytest

from tests.support.members import logs_of_running

hypothesis.settings.register_profile("keelson", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("keelson")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend(logs_of_running())
    return report
