"""For every suite: when a test fails while server processes run, their logs belong to its report; no property is a matter of time; and tests
that share a cluster run in one worker."""

from collections.abc import Generator

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling
from xdist.workermanage import WorkerController

from tests.support.members import logs_of_running

SHARED = "tests/kubernetes/"
TESTS_AHEAD = 2

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

    def remove_node(self, node: WorkerController) -> str | None:
        """The test that a worker died of has failed; what it had not come to goes to the others. (xdist 3.8 hands out again whatever the worker ever
        had: another takes a unit of tests that are all done, has nothing to report, is given nothing more, and the run stands still for ever.)"""
        left = {test: None for unit in self.assigned_work.pop(node).values() for test, is_done in unit.items() if not is_done}
        if not left:
            return None
        died_of = next(iter(left))
        for test in list(left)[1:]:
            self.workqueue.setdefault(self._split_scope(test), {})[test] = False
        for other in self.nodes:
            self._reschedule(other)
        return died_of

    def _reschedule(self, node: WorkerController) -> None:
        """A worker runs a test when it knows the one after it, so that one test alone would wait for ever."""
        if node not in self.registered_collections:
            return  # it takes another's place and does not know the tests yet
        super()._reschedule(node)
        while not node.shutting_down and self._pending_of(self.assigned_work[node]) < TESTS_AHEAD:
            super()._reschedule(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return OneClusterOneWorker(config, log)
