"""The promise of the README: apply a service, use it by address and name, roll it forward and back, look into it, and lose any one process."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.kubectl import MINORS, Tool
from tests.support.members import wait_until
from tests.support.whole import Whole

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

NAMESPACE = "shop"
MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {greeting: hello, settings.ini: "[a]\\nb = c\\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: word, namespace: shop}
stringData: {password: xyzzy}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: keelson/web:1
        ports: [{containerPort: 8080, name: http}]
        env:
        - {name: GREETING, valueFrom: {configMapKeyRef: {name: settings, key: greeting}}}
        - {name: PASSWORD, valueFrom: {secretKeyRef: {name: word, key: password}}}
        volumeMounts: [{name: settings, mountPath: /etc/settings}]
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
      volumes: [{name: settings, configMap: {name: settings}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http, name: http}]
"""


@pytest.fixture(scope="module")
def shop(cluster: Whole) -> Iterator[Tool]:
    kubectl = cluster.kubectl()
    kubectl("apply", "-f", "-", given=MANIFEST)
    kubectl("rollout", "status", "deployment/web", "-n", NAMESPACE, "--timeout=60s")
    yield kubectl
    kubectl("delete", "namespace", NAMESPACE, timeout_s=90)
    assert kubectl.run("get", "namespace", NAMESPACE).returncode == 1


def address(kubectl: Tool) -> str:
    return str(kubectl.json("get", "service", "web", "-n", NAMESPACE)["spec"]["clusterIP"])


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def version(url: str) -> str:
    return str(json.loads(fetched(url))["version"])


def answers_come_from(url: str, wanted: str) -> None:
    """A rollout is complete when its new pods are there and the old ones are on their way out: for a moment proxies may still send calls to those."""
    wait_until(lambda: all(version(url) == wanted for _ in range(10)), 10, f"answers of version {wanted}")


def pods(kubectl: Tool) -> list[str]:
    listed = kubectl("get", "pods", "-n", NAMESPACE, "-l", "app=web", "--field-selector=status.phase=Running", "-o", "name")
    return [line.removeprefix("pod/") for line in listed.split()]


def test_nodes_are_ready(kubectl: Tool) -> None:
    lines = kubectl("get", "nodes").splitlines()
    assert lines[0].split() == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert [line.split()[:2] for line in lines[1:]] == [["node1", "Ready"], ["node2", "Ready"], ["node3", "Ready"]]


def test_components_tell_how_they_are(kubectl: Tool) -> None:
    wanted = [[name, "Healthy", "ok"] for name in ("controller-manager", "etcd-0", "etcd-1", "etcd-2", "scheduler")]
    deadline_s = time.monotonic() + 60
    while (told := [line.split() for line in kubectl("get", "componentstatuses").splitlines()[1:]]) != wanted and time.monotonic() < deadline_s:
        time.sleep(1)  # one of them may be starting again
    assert told == wanted


def test_pods_run_on_different_nodes(shop: Tool) -> None:
    items = shop.json("get", "pods", "-n", NAMESPACE, "-l", "app=web")["items"]
    assert len({item["spec"]["nodeName"] for item in items}) == 3
    assert {item["status"]["phase"] for item in items} == {"Running"}
    assert len({item["status"]["podIP"] for item in items}) == 3


def test_the_service_answers_at_its_address_by_all_its_pods(shop: Tool) -> None:
    url = f"http://{address(shop)}/"
    seen = set()
    deadline_s = time.monotonic() + 20
    while len(seen) < 3 and time.monotonic() < deadline_s:
        seen.add(json.loads(fetched(url))["pod"])
    assert seen == set(pods(shop))


def test_the_service_answers_by_its_name_from_inside_a_pod(shop: Tool) -> None:
    script = "import urllib.request as u; print(u.urlopen('http://web.shop.svc.cluster.local/', timeout=5).status, u.urlopen('http://web/').status)"
    assert shop("exec", "-n", NAMESPACE, pods(shop)[0], "--", "python3", "-c", script).split() == ["200", "200"]


def test_configuration_reaches_the_containers(shop: Tool) -> None:
    pod = pods(shop)[0]
    assert shop("exec", "-n", NAMESPACE, pod, "--", "sh", "-c", "echo $GREETING $PASSWORD").strip() == "hello xyzzy"
    assert shop("exec", "-n", NAMESPACE, pod, "--", "cat", "/etc/settings/settings.ini") == "[a]\nb = c\n"


@pytest.mark.parametrize("minor", MINORS)
def test_exec_and_logs_with_every_kubectl(shop: Tool, cluster: Whole, minor: int) -> None:
    kubectl = cluster.kubectl(minor)
    pod = pods(shop)[0]
    assert kubectl("exec", "-i", "-n", NAMESPACE, pod, "--", "sh", "-c", "cat; echo end", given="through\n") == "through\nend\n"
    failed = kubectl.run("exec", "-n", NAMESPACE, pod, "--", "sh", "-c", "exit 3")
    assert failed.returncode == 3
    fetched(f"http://{address(shop)}/marker-{minor}")
    logs = "".join(kubectl("logs", "-n", NAMESPACE, each, "--tail=200") for each in pods(shop))
    assert f"/marker-{minor}" in logs


@pytest.mark.parametrize("minor", MINORS)
def test_port_forward_with_every_kubectl(shop: Tool, cluster: Whole, minor: int) -> None:
    process = cluster.kubectl(minor).start("port-forward", "-n", NAMESPACE, "service/web", ":80")
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        port = int(line.split("127.0.0.1:")[1].split(" ")[0])
        for _ in range(3):
            assert fetched(f"http://127.0.0.1:{port}/healthz")
    finally:
        process.terminate()
        process.communicate()


def test_a_rollout_and_its_undo(shop: Tool) -> None:
    url = f"http://{address(shop)}/"
    answers_come_from(url, "1")
    shop("set", "image", "-n", NAMESPACE, "deployment/web", "web=keelson/web:2")
    shop("rollout", "status", "-n", NAMESPACE, "deployment/web", "--timeout=60s")
    answers_come_from(url, "2")
    assert len(shop("rollout", "history", "-n", NAMESPACE, "deployment/web").strip().splitlines()) == 4
    shop("rollout", "undo", "-n", NAMESPACE, "deployment/web")
    shop("rollout", "status", "-n", NAMESPACE, "deployment/web", "--timeout=60s")
    answers_come_from(url, "1")


def test_a_pod_that_is_deleted_comes_again(shop: Tool) -> None:
    gone = pods(shop)[0]
    shop("delete", "pod", "-n", NAMESPACE, gone)
    shop("rollout", "status", "-n", NAMESPACE, "deployment/web", "--timeout=60s")
    assert gone not in pods(shop)


def test_scale_and_table(shop: Tool) -> None:
    shop("scale", "-n", NAMESPACE, "deployment/web", "--replicas=5")
    shop("rollout", "status", "-n", NAMESPACE, "deployment/web", "--timeout=60s")
    row = shop("get", "deployment", "web", "-n", NAMESPACE).splitlines()[1].split()
    assert row[:4] == ["web", "5/5", "5", "5"]
    shop("scale", "-n", NAMESPACE, "deployment/web", "--replicas=3")


def test_the_store_lists_the_objects_as_on_a_real_cluster(shop: Tool, cluster: Whole) -> None:
    lines = cluster.keelson("env").splitlines()
    exported = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export ETCDCTL"))
    environment = {**os.environ, **{name: value.strip("'\"") for name, value in exported.items()}}
    command = [sys.executable, "-m", "kvstore.ctl.main", "get", "/", "--prefix", "--keys-only"]
    keys = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30).stdout.split()
    for key in (
        "/registry/deployments/shop/web",
        "/registry/services/specs/shop/web",
        "/registry/services/endpoints/shop/web",
        "/registry/configmaps/shop/settings",
        "/registry/namespaces/shop",
        "/registry/minions/node1",
    ):
        assert key in keys
    value = subprocess.run([*command[:3], "get", "/registry/secrets/shop/word"], env=environment, capture_output=True, check=True, timeout=30).stdout
    assert b"xyzzy" not in value
    assert b"eHl6enk" not in value


def test_whoever_is_killed_the_service_goes_on(shop: Tool, cluster: Whole) -> None:
    url = f"http://{address(shop)}/healthz"
    for name in ("apiserver-1", "scheduler-1", "controllers-1", "kubelet-node2", "dns-node1", "balancer-1", "m1"):
        cluster.kill(name)
        for _ in range(20):
            assert fetched(url)
    shop("rollout", "restart", "-n", NAMESPACE, "deployment/web")
    shop("rollout", "status", "-n", NAMESPACE, "deployment/web", "--timeout=90s", timeout_s=100)


def test_events_tell_what_happened(shop: Tool) -> None:
    reasons = {item["reason"] for item in json.loads(shop("get", "events", "-n", NAMESPACE, "-o", "json"))["items"]}
    assert {"Scheduled", "Started", "Created", "SuccessfulCreate", "ScalingReplicaSet"} <= reasons
