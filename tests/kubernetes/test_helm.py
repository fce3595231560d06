"""helm installs, upgrades, rolls back and uninstalls a chart with a hook, waiting each time for what it made to be ready."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kubectl import Tool
from tests.support.whole import Whole

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]

CHART = str(Path(__file__).parent / "charts" / "shop")
RELEASE, NAMESPACE = "till", "helm-test"


@pytest.fixture(scope="module")
def helm(cluster: Whole) -> Iterator[Tool]:
    yield cluster.helm()
    cluster.kubectl().run("delete", "namespace", NAMESPACE, "--wait=false")


def revisions(helm: Tool) -> list[tuple[int, str]]:
    return [(each["revision"], each["status"]) for each in json.loads(helm("history", RELEASE, "-n", NAMESPACE, "-o", "json"))]


def greeting(kubectl: Tool) -> str:
    return str(kubectl.json("get", "configmap", f"{RELEASE}-settings", "-n", NAMESPACE)["data"]["greeting"])


def test_the_life_of_a_release(helm: Tool, kubectl: Tool) -> None:
    helm("install", RELEASE, CHART, "-n", NAMESPACE, "--create-namespace", "--wait", "--timeout", "90s", timeout_s=100)
    deployment = kubectl.json("get", "deployment", RELEASE, "-n", NAMESPACE)
    assert deployment["status"]["readyReplicas"] == 2
    assert greeting(kubectl) == "hello"
    assert kubectl("get", "jobs", "-n", NAMESPACE, "-o", "name") == ""  # the hook has been and gone

    helm("upgrade", RELEASE, CHART, "-n", NAMESPACE, "--set", "greeting=bye,replicas=1", "--wait", "--timeout", "90s", timeout_s=100)
    assert greeting(kubectl) == "bye"
    assert kubectl.json("get", "deployment", RELEASE, "-n", NAMESPACE)["spec"]["replicas"] == 1
    assert revisions(helm) == [(1, "superseded"), (2, "deployed")]

    helm("rollback", RELEASE, "1", "-n", NAMESPACE, "--wait", "--timeout", "90s", timeout_s=100)
    assert greeting(kubectl) == "hello"
    assert kubectl.json("get", "deployment", RELEASE, "-n", NAMESPACE)["status"]["readyReplicas"] == 2
    assert revisions(helm) == [(1, "superseded"), (2, "superseded"), (3, "deployed")]

    assert json.loads(helm("list", "-n", NAMESPACE, "-o", "json"))[0]["name"] == RELEASE
    helm("uninstall", RELEASE, "-n", NAMESPACE, "--wait", "--timeout", "60s", timeout_s=70)
    assert kubectl("get", "deployments,services,configmaps", "-n", NAMESPACE, "-o", "name").split() == ["configmap/kube-root-ca.crt"]
    assert json.loads(helm("list", "-n", NAMESPACE, "-o", "json")) == []


def test_what_cannot_be_installed_is_told(helm: Tool) -> None:
    done = helm.run("install", "bad", CHART, "-n", NAMESPACE, "--set", "image=", "--no-hooks")
    assert done.returncode != 0
    assert "spec.template.spec.containers[0].image: Required value" in done.stderr
