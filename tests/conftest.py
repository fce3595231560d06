"""For every suite: when a test fails while server processes run, their logs belong to its report."""

from collections.abc import Generator

import pytest

from tests.support.members import logs_of_running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend(logs_of_running())
    return report
