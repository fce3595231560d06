"""Which controllers run, and with which flags."""

import pytest

from agents.controllers import registry
from agents.controllers.main import agent, main, queue_metrics
from tests.support.controllers import context_of
from tests.support.fake_api import FakeApi
from tests.support.recorder import ListRecorder
from tests.support.virtual_loop import run


def test_the_star_means_all_that_are_on_by_default():
    assert registry.chosen(["*"]) == [name for name, entry in registry.TABLE.items() if entry.on_by_default]
    assert registry.chosen(["deployment-controller"]) == ["deployment-controller"]
    assert "job-controller" not in registry.chosen(["*", "-job-controller"])


def test_a_controller_that_does_not_exist_is_refused(capsys):
    assert main(["--controllers=*,-nonsense"]) == 2
    assert "'nonsense' is not in the list of known controllers" in capsys.readouterr().err


@pytest.mark.parametrize("name", registry.TABLE)
def test_every_controller_can_be_made_and_bears_its_name(name):
    async def work():
        arguments = agent().flags.parse_args([])
        made = registry.TABLE[name].make(context_of(FakeApi(), ListRecorder()), arguments)
        assert made is None or made.name == name
        return made

    run(work())


def test_workers_as_the_flag_says():
    async def work():
        arguments = agent().flags.parse_args(["--concurrent-deployment-syncs=7"])
        made = registry.TABLE["deployment-controller"].make(context_of(FakeApi(), ListRecorder()), arguments)
        assert made.workers == 7

    run(work())


def test_queues_are_measured():
    async def work():
        arguments = agent().flags.parse_args([])
        made = registry.TABLE["deployment-controller"].make(context_of(FakeApi(), ListRecorder()), arguments)
        made.queue.add("default/web")
        assert [(each.name, each.samples[0].labels, each.samples[0].value) for each in queue_metrics([made])] == [
            ("workqueue_depth", {"name": "deployment-controller"}, 1.0),
            ("workqueue_adds", {"name": "deployment-controller"}, 1.0),
            ("workqueue_retries", {"name": "deployment-controller"}, 0.0),
        ]

    run(work())
