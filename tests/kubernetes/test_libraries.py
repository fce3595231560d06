"""Client libraries as their users use them: the official Python client, kr8s, lightkube, and a kopf operator."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubectl import Tool
from tests.support.whole import Whole

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("kubernetes")]

NAMESPACE = "libraries"


@pytest.fixture(scope="module", autouse=True)
def namespace(cluster: Whole) -> Iterator[None]:
    kubectl = cluster.kubectl()
    kubectl("create", "namespace", NAMESPACE)
    deadline_s = time.monotonic() + 20
    while kubectl.run("get", "serviceaccount", "default", "-n", NAMESPACE).returncode:
        assert time.monotonic() < deadline_s, "no default service account"
        time.sleep(0.1)
    yield
    kubectl.run("delete", "namespace", NAMESPACE, "--wait=false")


def deployment(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "keelson/web:1", "ports": [{"containerPort": 8080}]}]},
            },
        },
    }


@pytest.mark.filterwarnings("default")
def test_the_official_client(cluster: Whole) -> None:
    from kubernetes import client, config, utils, watch
    from kubernetes.stream import stream

    config.load_kube_config(str(cluster.kubeconfig))
    with client.ApiClient() as api:
        core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
        utils.create_from_dict(api, deployment("official"), namespace=NAMESPACE)
        for event in watch.Watch().stream(apps.list_namespaced_deployment, NAMESPACE, field_selector="metadata.name=official", timeout_seconds=60):
            if event["object"].status.ready_replicas == 1:
                break
        else:
            raise AssertionError("the deployment did not become ready")
        pods = core.list_namespaced_pod(NAMESPACE, label_selector="app=official").items
        assert [pod.status.phase for pod in pods] == ["Running"]
        pod = pods[0].metadata.name
        assert stream(core.connect_get_namespaced_pod_exec, pod, NAMESPACE, command=["echo", "hi"], stdout=True, stderr=True).strip() == "hi"
        assert core.read_namespaced_pod_log(pod, NAMESPACE) is not None
        apps.patch_namespaced_deployment_scale("official", NAMESPACE, {"spec": {"replicas": 0}})
        assert apps.read_namespaced_deployment("official", NAMESPACE).spec.replicas == 0
        with pytest.raises(client.ApiException) as caught:
            core.read_namespaced_pod("nobody", NAMESPACE)
        assert caught.value.status == 404
        apps.delete_namespaced_deployment("official", NAMESPACE)


@pytest.mark.filterwarnings("default")
def test_kr8s(cluster: Whole) -> None:
    import kr8s
    from kr8s.objects import Deployment, Pod

    api = kr8s.api(kubeconfig=str(cluster.kubeconfig), namespace=NAMESPACE)
    made = Deployment(deployment("kr8s"), api=api)
    made.create()
    made.wait("condition=Available", timeout=60)
    pods = list(api.get("pods", namespace=NAMESPACE, label_selector={"app": "kr8s"}))
    assert len(pods) == 1
    assert isinstance(pods[0], Pod)
    assert pods[0].exec(["echo", "hi"]).stdout.decode().strip() == "hi"
    made.scale(2)
    made.label({"seen": "yes"})
    made.refresh()
    assert made.labels["seen"] == "yes"
    made.delete()


@pytest.mark.filterwarnings("default")
def test_lightkube(cluster: Whole) -> None:
    from lightkube import Client, KubeConfig, codecs
    from lightkube.core.exceptions import ApiError
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import ConfigMap

    client = Client(config=KubeConfig.from_file(str(cluster.kubeconfig)), namespace=NAMESPACE, field_manager="lightkube-test")
    client.apply(codecs.from_dict(deployment("light")), force=True)
    client.wait(Deployment, "light", for_conditions=["Available"])
    changed = client.patch(Deployment, "light", {"metadata": {"labels": {"a": "b"}}})
    assert changed.metadata.labels["a"] == "b"
    with pytest.raises(ApiError) as caught:
        client.get(ConfigMap, "nobody")
    assert caught.value.status.reason == "NotFound"
    client.delete(Deployment, "light")


CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, shortNames: [bt]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Length, type: integer, jsonPath: .spec.length}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [length]
            properties:
              length: {type: integer, minimum: 1}
              name: {type: string, default: nameless}
            x-kubernetes-validations: [{rule: "self.length < 100", message: "too long for the harbour"}]
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
OPERATOR = """
import kopf


@kopf.on.startup()
def settings(settings, **_):
    settings.posting.enabled = False


@kopf.on.create("example.org", "v1", "boats")
def launched(spec, **_):
    return {"size": "small" if spec["length"] < 10 else "large"}
"""


def test_a_kopf_operator(cluster: Whole, kubectl: Tool, tmp_path: Path) -> None:
    kubectl("apply", "-f", "-", given=CRD)
    kubectl("wait", "--for=condition=Established", "crd/boats.example.org", "--timeout=20s")
    (tmp_path / "operator.py").write_text(OPERATOR)
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", NAMESPACE, str(tmp_path / "operator.py")]
    operator = subprocess.Popen(command, env={**kubectl.environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        boat = "apiVersion: example.org/v1\nkind: Boat\nmetadata: {name: nutshell}\nspec: {length: %d}\n"
        refused = kubectl.run("apply", "-n", NAMESPACE, "-f", "-", given=boat % 200)
        assert "too long for the harbour" in refused.stderr
        kubectl("apply", "-n", NAMESPACE, "-f", "-", given=boat % 3)
        assert kubectl.json("get", "bt", "nutshell", "-n", NAMESPACE)["spec"] == {"length": 3, "name": "nameless"}
        kubectl("wait", "boat/nutshell", "-n", NAMESPACE, "--for=jsonpath={.status.launched.size}=small", "--timeout=40s")
        assert kubectl("get", "boats", "-n", NAMESPACE).split()[:3] == ["NAME", "LENGTH", "nutshell"]
    finally:
        operator.terminate()
        told, _ = operator.communicate(timeout=20)
        kubectl.run("delete", "crd", "boats.example.org", "--timeout=20s")
    assert "Traceback" not in told, told
