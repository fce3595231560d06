"""Client libraries as their users use them: the official Python client, kr8s, lightkube, and a kopf operator."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.flows import FLOWS
from tests.support.kubectl import Tool
from tests.support.whole import Whole

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

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


@pytest.mark.parametrize("library", FLOWS)
def test_a_library_does_what_its_users_do(cluster: Whole, library: str) -> None:
    command = [sys.executable, "-m", "tests.kubernetes.flows", library, str(cluster.kubeconfig), NAMESPACE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "done", done.stderr + done.stdout


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
