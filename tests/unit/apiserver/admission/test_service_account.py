from typing import Any

import pytest

from apiserver.admission.service_account import MOUNT_PATH, ServiceAccount
from tests.unit.apiserver.admission.writes import admitted, pod, refused, write
from tests.unit.apiserver.cluster import Cluster


async def no_wait(seconds: float) -> None:
    return None


def plugin(*accounts: dict[str, Any]) -> ServiceAccount:
    made = [{"metadata": {"namespace": "ns", "name": each.pop("name", "default"), "uid": "u"}, **each} for each in accounts]
    return ServiceAccount(Cluster(serviceaccounts=made), no_wait, lambda: "abcde")


def test_the_default_account_and_its_token_in_every_container():
    got = admitted(plugin({}), write("pods", pod(initContainers=[{"name": "i"}])))["spec"]
    assert got["serviceAccountName"] == got["serviceAccount"] == "default"
    mount = {"name": "kube-api-access-abcde", "readOnly": True, "mountPath": MOUNT_PATH}
    assert got["containers"][0]["volumeMounts"] == got["initContainers"][0]["volumeMounts"] == [mount]
    (volume,) = got["volumes"]
    assert volume["name"] == "kube-api-access-abcde" and volume["projected"]["defaultMode"] == 420
    assert [next(iter(each)) for each in volume["projected"]["sources"]] == ["serviceAccountToken", "configMap", "downwardAPI"]


def test_who_wants_no_token_gets_none():
    assert "volumes" not in admitted(plugin({"automountServiceAccountToken": False}), write("pods", pod()))["spec"]
    assert "volumes" not in admitted(plugin({}), write("pods", pod(automountServiceAccountToken=False)))["spec"]
    assert "volumes" in admitted(plugin({"automountServiceAccountToken": False}), write("pods", pod(automountServiceAccountToken=True)))["spec"]


def test_what_stands_at_the_path_already_stays():
    mine = {"name": "x", "mountPath": MOUNT_PATH}
    got = admitted(plugin({}), write("pods", pod(containers=[{"name": "c", "volumeMounts": [mine]}])))["spec"]
    assert got["containers"][0]["volumeMounts"] == [mine] and "volumes" not in got


def test_pull_secrets_of_the_account():
    account = {"imagePullSecrets": [{"name": "s"}]}
    assert admitted(plugin(dict(account)), write("pods", pod()))["spec"]["imagePullSecrets"] == [{"name": "s"}]
    assert admitted(plugin(dict(account)), write("pods", pod(imagePullSecrets=[{"name": "t"}])))["spec"]["imagePullSecrets"] == [{"name": "t"}]


def test_an_account_that_is_not_there():
    error = refused(plugin({}), write("pods", pod(serviceAccountName="bot")))
    assert (error.code, error.message) == (403, 'pods "p" is forbidden: error looking up service account ns/bot: serviceaccount "bot" not found')


def test_a_default_account_that_comes_a_moment_later_is_waited_for():
    cluster = Cluster()

    async def wait(seconds: float) -> None:
        cluster.late[("serviceaccounts", "ns", "default")] = {"metadata": {"namespace": "ns", "name": "default"}}

    assert admitted(ServiceAccount(cluster, wait), write("pods", pod()))["spec"]["serviceAccountName"] == "default"
    assert refused(plugin(), write("pods", pod())).code == 403


@pytest.mark.parametrize(
    "spec",
    [
        {"serviceAccountName": "default"},
        {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
        {"containers": [{"name": "c", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}]},
        {"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}]},
        {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
        {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]},
    ],
)
def test_mirror_pods_get_at_no_secrets(spec):
    mirror = pod(**spec)
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert "mirror pod" in refused(plugin({}), write("pods", mirror)).message
