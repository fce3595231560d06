"""The example of docs/custom-controller.md does what the page says, and is as short as it says."""

import importlib.util
from pathlib import Path

import pytest

from agents.kit.actions import Create, UpdateStatus
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle

PATH = Path(__file__).parents[3] / "docs" / "examples" / "greeter.py"


@pytest.fixture(scope="module")
def greeter():
    spec = importlib.util.spec_from_file_location("greeter", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def greeting(name="you"):
    return {"metadata": {"name": "first", "namespace": "default", "uid": "u"}, "spec": {"name": name}}


def test_reconcile_alone(greeter):
    create, status = greeter.reconcile(greeting(), None)
    assert isinstance(create, Create) and create.object["data"] == {"text": "Hello, you!"}
    assert isinstance(status, UpdateStatus) and status.object["status"] == {"text": "Hello, you!"}
    assert greeter.reconcile({**greeting(), "status": {"text": "Hello, you!"}}, create.object) == []


def test_the_map_follows_whatever_anybody_does(greeter):
    async def work():
        api = FakeApi()
        async with running(api, greeter.Greeter) as (_, recorder):
            await api.create(greeter.GREETINGS, greeting(), "default")
            await settle(100)
            (made,) = api.all(greeter.CONFIG_MAPS)
            assert made["data"] == {"text": "Hello, you!"} and made["metadata"]["ownerReferences"][0]["kind"] == "Greeting"
            api.touch(greeter.CONFIG_MAPS, "default", "first", lambda obj: obj.update(data={"text": "forged"}))
            api.touch(greeter.GREETINGS, "default", "first", lambda obj: obj["spec"].update(name="all of you"))
            await settle(100)
            assert api.all(greeter.CONFIG_MAPS)[0]["data"] == {"text": "Hello, all of you!"}
            assert api.all(greeter.GREETINGS)[0]["status"] == {"text": "Hello, all of you!"}
            await api.delete(greeter.CONFIG_MAPS, "first", "default")
            await settle(100)
            assert len(api.all(greeter.CONFIG_MAPS)) == 1
            assert recorder.reasons() == ["SuccessfulCreate"] * 2

    run(work())


def test_it_is_short():
    lines = [line for line in PATH.read_text().splitlines() if line.strip()]
    assert len(lines) <= 40
