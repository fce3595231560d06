"""The small plug-ins, and the chain that they make."""

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apiserver.admission.certificates import CertificateApproval, CertificateSigning, CertificateSubjectRestriction
from apiserver.admission.chain import PLUGINS, Parts, UnknownPlugin, chain
from apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from apiserver.admission.default_tolerations import DefaultTolerationSeconds
from apiserver.admission.external_ips import DenyServiceExternalIPs
from apiserver.admission.priority import Priority
from apiserver.admission.runtime_class import RuntimeClass
from apiserver.admission.storage_objects import PersistentVolumeClaimResize, StorageObjectInUseProtection
from apiserver.admission.taint_nodes import TaintNodesByCondition
from apiserver.admission.webhook_client import WebhookClient
from apiserver.authz.rbac import Rbac
from tests.unit.apiserver.admission.writes import admitted, pod, refused, write
from tests.unit.apiserver.cluster import Cluster, user

REQUESTS = "certificatesigningrequests.certificates.k8s.io"


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **more}


def cluster(resource: str, *objects: dict[str, Any]) -> Cluster:
    return Cluster(**{resource: list(objects)})


def test_external_addresses_may_be_kept_and_given_up_but_not_taken():
    def service(*addresses: str) -> dict[str, Any]:
        return named("s", spec={"externalIPs": list(addresses)} if addresses else {})

    plugin = DenyServiceExternalIPs()
    told = refused(plugin, write("services", service("192.0.2.1")))
    assert told.message == 'services "s" is forbidden: Use of external IPs is denied by admission control'
    refused(plugin, write("services", service("192.0.2.1", "192.0.2.2"), old=service("192.0.2.1")))
    for after in (service("192.0.2.1"), service()):
        assert admitted(plugin, write("services", after, old=service("192.0.2.1", "192.0.2.2"))) == after
    admitted(plugin, write("services", service("192.0.2.1"), subresource="status", old=service()))


def test_priority_is_the_class_s_word():
    made = Priority(
        cluster("priorityclasses.scheduling.k8s.io", named("high", value=7, preemptionPolicy="Never"), named("d", value=3, globalDefault=True))
    )
    assert admitted(made, write("pods", pod(priorityClassName="high")))["spec"]["priority"] == 7
    got = admitted(made, write("pods", pod()))["spec"]
    assert (got["priority"], got["priorityClassName"], got["preemptionPolicy"]) == (3, "d", "PreemptLowerPriority")
    assert refused(made, write("pods", pod(priorityClassName="none"))).message == 'pods "p" is forbidden: no PriorityClass with name none was found'
    assert "the integer value of priority (1000000) must not be provided" in refused(made, write("pods", pod(priority=1000000))).message
    assert admitted(Priority(Cluster()), write("pods", pod()))["spec"]["priority"] == 0
    assert "already marked as default" in refused(made, write("priorityclasses.scheduling.k8s.io", named("e", globalDefault=True))).message


def test_the_classes_of_the_system_stay() -> None:
    told = 'priorityclasses.scheduling.k8s.io "system-node-critical" is forbidden: this is a system priority class and cannot be deleted'
    gone = write("priorityclasses.scheduling.k8s.io", None, operation="DELETE", name="system-node-critical")
    assert refused(Priority(Cluster()), gone).message == told


def test_five_minutes_on_a_lost_node():
    got = admitted(DefaultTolerationSeconds(), write("pods", pod(tolerations=[{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}])))
    (_, added) = got["spec"]["tolerations"]
    assert added == {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    assert len(admitted(DefaultTolerationSeconds(), write("pods", pod(tolerations=[{"operator": "Exists"}])))["spec"]["tolerations"]) == 1


def test_a_new_node_takes_no_pods():
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    assert admitted(TaintNodesByCondition(), write("nodes", named("n")))["spec"]["taints"] == [taint]
    assert admitted(TaintNodesByCondition(), write("nodes", named("n", spec={"taints": [taint]})))["spec"]["taints"] == [taint]


def test_default_classes():
    def of(name: str, created: str, key: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "creationTimestamp": created, "annotations": {key: "true"}}}

    key = "storageclass.kubernetes.io/is-default-class"
    storage = DefaultStorageClass(
        cluster("storageclasses.storage.k8s.io", of("old", "2020-01-01T00:00:00Z", key), of("new", "2021-01-01T00:00:00Z", key))
    )
    assert admitted(storage, write("persistentvolumeclaims", named("c", spec={})))["spec"] == {"storageClassName": "new"}
    assert admitted(storage, write("persistentvolumeclaims", named("c", spec={"storageClassName": ""})))["spec"] == {"storageClassName": ""}
    ingress = DefaultIngressClass(
        cluster("ingressclasses.networking.k8s.io", of("i", "2020-01-01T00:00:00Z", "ingressclass.kubernetes.io/is-default-class"))
    )
    assert admitted(ingress, write("ingresses.networking.k8s.io", named("x", spec={})))["spec"] == {"ingressClassName": "i"}


def test_what_is_in_use_is_not_removed():
    assert admitted(StorageObjectInUseProtection(), write("persistentvolumes", named("v")))["metadata"]["finalizers"] == [
        "kubernetes.io/pv-protection"
    ]
    assert "finalizers" not in admitted(StorageObjectInUseProtection(), write("pods", pod()))["metadata"]


def test_claims_grow_where_the_class_lets_them():
    def claim(size: str) -> dict[str, Any]:
        return named("c", spec={"storageClassName": "s", "resources": {"requests": {"storage": size}}}, status={"phase": "Bound"})

    asked = write("persistentvolumeclaims", claim("2Gi"), old=claim("1Gi"))
    assert "must support resize" in refused(PersistentVolumeClaimResize(cluster("storageclasses.storage.k8s.io", named("s"))), asked).message
    admitted(PersistentVolumeClaimResize(cluster("storageclasses.storage.k8s.io", named("s", allowVolumeExpansion=True))), asked)


def test_runtime_classes():
    found = named("kata", overhead={"podFixed": {"cpu": "250m"}}, scheduling={"nodeSelector": {"kata": "yes"}, "tolerations": [{"key": "kata"}]})
    plugin = RuntimeClass(cluster("runtimeclasses.node.k8s.io", found))
    got = admitted(plugin, write("pods", pod(runtimeClassName="kata")))["spec"]
    assert (got["overhead"], got["nodeSelector"], got["tolerations"]) == ({"cpu": "250m"}, {"kata": "yes"}, [{"key": "kata"}])
    assert 'RuntimeClass "x" not found' in refused(plugin, write("pods", pod(runtimeClassName="x"))).message
    assert "Overhead set without" in refused(plugin, write("pods", pod(overhead={"cpu": "1"}))).message
    assert "conflict" in refused(plugin, write("pods", pod(runtimeClassName="kata", nodeSelector={"kata": "no"}))).message


def request(organization: str = "dev", signer: str = "kubernetes.io/kube-apiserver-client") -> dict[str, Any]:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return named("r", spec={"signerName": signer, "request": base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()})


def test_who_may_approve_and_sign():
    made = Cluster()
    made.allow(
        user("ann"), [{"verbs": ["approve"], "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["kubernetes.io/*"]}]
    )
    rbac = Rbac(made)
    admitted(CertificateApproval(rbac), write(REQUESTS, request(), old=request(), subresource="approval"))
    other = request(signer="acme.io/x")
    error = refused(CertificateApproval(rbac), write(REQUESTS, other, old=other, subresource="approval"))
    assert 'user not permitted to approve requests with signerName "acme.io/x"' in error.message
    # What the writer says the signer is counts for nothing.
    assert refused(CertificateApproval(rbac), write(REQUESTS, request(), old=other, subresource="approval")).code == 403
    signed = {**request(), "status": {"certificate": "x"}}
    assert "not permitted to sign" in refused(CertificateSigning(rbac), write(REQUESTS, signed, old=request(), subresource="status")).message
    admitted(CertificateSigning(rbac), write(REQUESTS, request(), old=request(), subresource="status"))


def test_nobody_asks_to_be_a_master():
    admitted(CertificateSubjectRestriction(), write(REQUESTS, request()))
    error = refused(CertificateSubjectRestriction(), write(REQUESTS, request("system:masters")))
    assert "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed" in error.message
    assert (
        refused(
            CertificateSubjectRestriction(), write(REQUESTS, named("r", spec={"signerName": "kubernetes.io/kube-apiserver-client", "request": "?"}))
        ).code
        == 403
    )


def nowhere(namespace: str, service: str, port: int) -> tuple[str, int]:
    raise AssertionError("nobody is asked")


class NoWriter:
    async def create(self, resource: str, obj: dict[str, Any]) -> bool:
        raise AssertionError("nothing is to be written")

    async def update(self, resource: str, namespace: str, name: str, change: Any) -> None:
        raise AssertionError("nothing is to be written")


def test_plugins_are_turned_on_and_off():
    made = Cluster()
    rbac = Rbac(made)
    parts = Parts(made, NoWriter(), rbac, rbac, WebhookClient(nowhere), lambda write: None)
    everything = chain(parts)
    assert everything.plugins[0].name == "RBACEscalation"
    assert [each.name for each in everything.plugins[1:]] == [name for name in PLUGINS if name in {each.name for each in everything.plugins}]
    assert "LimitRanger" not in {each.name for each in chain(parts, disabled=["LimitRanger"]).plugins}
    for flags in ({"enabled": ["Magic"]}, {"enabled": ["Priority"], "disabled": ["Priority"]}):
        with pytest.raises(UnknownPlugin, match=r"Magic|Priority"):
            chain(parts, **flags)
