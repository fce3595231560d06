"""status.used follows what is there."""

from agents.controllers.resourcequota import QUOTAS, ResourceQuotas
from apiserver.machinery.resources import resource
from tests.support.controllers import running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, pod


def test_usage_is_counted_as_objects_come_and_go():
    async def work():
        api = FakeApi()
        hard = {"pods": "5", "count/deployments.apps": "3", "count/things.example.com": "1"}
        api.put(QUOTAS, {"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": hard}})
        api.put(PODS, pod("a"))
        api.put(PODS, pod("elsewhere", namespace="other"), "other")
        async with running(api, ResourceQuotas):
            await settle()
            assert api.all(QUOTAS)[0]["status"] == {
                "hard": hard,
                "used": {"pods": "1", "count/deployments.apps": "0", "count/things.example.com": "0"},
            }
            api.put(resource("deployments.apps"), {"metadata": {"name": "d", "namespace": "default"}})
            api.put(PODS, pod("b"))
            await settle()
            assert api.all(QUOTAS)[0]["status"]["used"] == {"pods": "2", "count/deployments.apps": "1", "count/things.example.com": "0"}
            api.touch(PODS, "default", "b", lambda found: found["status"].update(phase="Failed"))
            await settle()
            assert api.all(QUOTAS)[0]["status"]["used"]["pods"] == "1"

    run(work())
