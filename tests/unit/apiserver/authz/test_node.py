"""A node sees what its own pods need and writes what is its own, and nothing of another node's."""

import asyncio
from typing import Any

import pytest

from apiserver.admission.node_restriction import NodeRestriction
from apiserver.authz.node import NodeAuthorizer
from apiserver.request import Attributes, User
from tests.unit.apiserver.admission.writes import admitted, pod, refused, write
from tests.unit.apiserver.cluster import Cluster

ONE, TWO = (User(f"system:node:n{number}", ("system:nodes", "system:authenticated")) for number in (1, 2))
VOLUMES = [
    {"name": "a", "secret": {"secretName": "s-volume"}},
    {"name": "b", "projected": {"sources": [{"secret": {"name": "s-projected"}}, {"configMap": {"name": "c-projected"}}]}},
    {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
    {"name": "d", "ephemeral": {}},
]
ENV = [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s-env", "key": "k"}}}]
SPEC = {
    "nodeName": "n1",
    "serviceAccountName": "bot",
    "volumes": VOLUMES,
    "imagePullSecrets": [{"name": "s-pull"}],
    "containers": [{"name": "x", "env": ENV, "envFrom": [{"configMapRef": {"name": "c-env"}}]}],
}


def cluster() -> Cluster:
    volume = {
        "metadata": {"name": "v"},
        "spec": {"claimRef": {"namespace": "ns", "name": "claim"}, "csi": {"nodePublishSecretRef": {"name": "s-csi", "namespace": "sys"}}},
    }
    pods = [
        {"metadata": {"namespace": "ns", "name": "p1", "uid": "u1"}, "spec": SPEC},
        {"metadata": {"namespace": "ns", "name": "p2", "uid": "u2"}, "spec": {"nodeName": "n2"}},
    ]
    return Cluster(pods=pods, persistentvolumes=[volume], nodes=[{"metadata": {"name": "n1", "uid": "nu"}}])


def may(user: User, verb: str, resource: str, name: str = "", namespace: str = "ns", **more: Any) -> bool:
    attributes = Attributes(user, verb, "", True, more.pop("group", ""), "v1", resource, more.pop("subresource", ""), namespace, name, **more)
    return asyncio.run(NodeAuthorizer(cluster()).authorize(attributes)).allowed is True


@pytest.mark.parametrize(
    ("resource", "name", "namespace"),
    [
        *(("secrets", f"s-{each}", "ns") for each in ("volume", "projected", "env", "pull")),
        ("secrets", "s-csi", "sys"),
        ("configmaps", "c-projected", "ns"),
        ("configmaps", "c-env", "ns"),
        ("persistentvolumeclaims", "claim", "ns"),
        ("persistentvolumeclaims", "p1-d", "ns"),
        ("persistentvolumes", "v", ""),
        ("pods", "p1", "ns"),
    ],
)
def test_what_its_pods_need_and_the_other_node_not(resource, name, namespace):
    assert may(ONE, "get", resource, name, namespace)
    assert not may(TWO, "get", resource, name, namespace)
    assert not may(ONE, "get", resource, name, "other") or not namespace
    assert not may(ONE, "delete", resource, name, namespace) or resource == "pods"


def test_nothing_in_bulk():
    for resource in ("secrets", "configmaps", "pods", "persistentvolumeclaims", "nodes"):
        for verb in ("list", "watch"):
            assert not may(ONE, verb, resource)
            assert not may(ONE, verb, resource, namespace="")
    assert may(ONE, "watch", "secrets", "s-env")
    assert may(ONE, "list", "pods", namespace="", field_selector="spec.nodeName=n1")
    for selector in ("spec.nodeName=n2", "spec.nodeName!=n1", "metadata.name=n1", "spec.nodeName==n1x"):
        assert not may(ONE, "list", "pods", namespace="", field_selector=selector)


def test_tokens_of_accounts_that_its_pods_run_as():
    assert may(ONE, "create", "serviceaccounts", "bot", subresource="token")
    assert not may(TWO, "create", "serviceaccounts", "bot", subresource="token")
    assert not may(ONE, "create", "serviceaccounts", "admin", subresource="token")
    assert not may(ONE, "create", "serviceaccounts")


def test_its_own_lease_and_node():
    lease = {"group": "coordination.k8s.io", "namespace": "kube-node-lease"}
    assert may(ONE, "update", "leases", "n1", **lease) and may(ONE, "create", "leases", **lease)
    assert not may(ONE, "update", "leases", "n2", **lease)
    assert not may(ONE, "get", "leases", "n1", group="coordination.k8s.io", namespace="kube-system")
    assert may(ONE, "patch", "nodes", "n1", "", subresource="status") and may(ONE, "create", "nodes", namespace="")
    assert not may(ONE, "patch", "nodes", "n2", "", subresource="status") and not may(ONE, "delete", "nodes", "n1", "")
    assert not may(ONE, "get", "nodes", "n1", "", subresource="proxy")


def test_who_is_no_node():
    for user in (User("system:node:n1"), User("n1", ("system:nodes",)), User("ann")):
        assert not may(user, "get", "secrets", "s-env")


def refusal(qualified: str, new: dict[str, Any] | None, **more: Any) -> str:
    return refused(NodeRestriction(cluster()), write(qualified, new, who=more.pop("who", ONE), **more)).message


def accepted(qualified: str, new: dict[str, Any] | None, **more: Any) -> None:
    admitted(NodeRestriction(cluster()), write(qualified, new, who=more.pop("who", ONE), **more))


def mirror(**spec: Any) -> dict[str, Any]:
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "nu", "controller": True}
    metadata = {"name": "m", "annotations": {"kubernetes.io/config.mirror": "h"}, "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": {"nodeName": "n1", "containers": [{"name": "c"}], **spec}}


def test_mirror_pods_and_no_others():
    accepted("pods", mirror())
    assert "can only create mirror pods" in refusal("pods", pod(nodeName="n1"))
    assert "spec.nodeName set to itself" in refusal("pods", mirror(nodeName="n2"))
    assert "owner reference" in refusal("pods", {**mirror(), "metadata": {**mirror()["metadata"], "ownerReferences": []}})
    for spec in ({"serviceAccountName": "bot"}, {"volumes": [VOLUMES[0]]}, {"volumes": [VOLUMES[1]]}, {"volumes": [VOLUMES[2]]}):
        assert "can not create pods that reference" in refusal("pods", mirror(**spec))


def test_only_its_own_pods():
    mine, other = cluster().get("pods", "ns", "p1"), cluster().get("pods", "ns", "p2")
    accepted("pods", mine, old=mine, subresource="status")
    assert "set to itself" in refusal("pods", other, old=other, subresource="status")
    accepted("pods", None, old=mine, operation="DELETE", name="p1")
    assert "set to itself" in refusal("pods", None, old=other, operation="DELETE", name="p2")
    assert "can only evict" in refusal("pods", {}, name="p2", operation="CREATE", subresource="eviction")
    assert "unexpected pod subresource" in refusal("pods", {}, name="p1", operation="CREATE", subresource="binding")
    assert mine is not None
    labelled = {**mine, "metadata": {**mine["metadata"], "labels": {"app": "bank"}}}
    assert "cannot update labels" in refusal("pods", labelled, old=mine, subresource="status")


def test_labels_and_taints_that_draw_work():
    node: dict[str, Any] = {"metadata": {"name": "n1"}, "spec": {}}

    def with_label(key: str) -> dict[str, Any]:
        return {**node, "metadata": {"name": "n1", "labels": {key: "x"}}}

    for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone", "node.kubernetes.io/x", "acme.io/disk"):
        accepted("nodes", with_label(key))
    for key in ("node-restriction.kubernetes.io/pci", "a.node-restriction.kubernetes.io/x", "node-role.kubernetes.io/control-plane", "k8s.io/x"):
        assert "labels" in refusal("nodes", with_label(key))
        assert "labels" in refusal("nodes", with_label(key), old=node)
    assert "taints" in refusal("nodes", node, old={**node, "spec": {"taints": [{"key": "k"}]}})
    assert 'is not allowed to modify node "n2"' in refusal("nodes", {"metadata": {"name": "n2"}})


def test_tokens_bound_to_its_pods_alone():
    def request(**reference: Any) -> dict[str, Any]:
        return {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", **reference}}}

    token = {"name": "bot", "subresource": "token", "operation": "CREATE"}
    accepted("serviceaccounts", request(name="p1", uid="u1"), **token)
    assert "not bound to a pod" in refusal("serviceaccounts", {"spec": {}}, **token)
    assert "without a uid" in refusal("serviceaccounts", request(name="p1"), **token)
    assert "different node" in refusal("serviceaccounts", request(name="p2", uid="u2"), **token)
    assert "does not match the UID" in refusal("serviceaccounts", request(name="p1", uid="before"), **token)


def test_its_own_lease():
    accepted("leases.coordination.k8s.io", {"metadata": {"name": "n1"}}, namespace="kube-node-lease")
    assert "same name" in refusal("leases.coordination.k8s.io", {"metadata": {"name": "n2"}}, namespace="kube-node-lease")
    assert "could not determine node" in refusal("nodes", {"metadata": {"name": "n1"}}, who=User("x", ("system:nodes",)))
