from typing import Any

import pytest

from apiserver.admission.owner_references import OwnerReferencesPermissionEnforcement
from apiserver.admission.pod_security import PodSecurity
from apiserver.authz.rbac import Rbac
from tests.unit.apiserver.admission.writes import admitted, pod, refused, write
from tests.unit.apiserver.cluster import Cluster, user

GOOD = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def plugin(**levels: str) -> PodSecurity:
    labels = {f"pod-security.kubernetes.io/{mode}": level for mode, level in levels.items()}
    return PodSecurity(
        Cluster(
            namespaces=[{"metadata": {"name": "ns", "labels": labels}}],
            pods=[{"metadata": {"namespace": "ns", "name": "old"}, "spec": {"hostPID": True}}],
        )
    )


def container(**security: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "c", "securityContext": security}])


def test_a_bare_pod_is_not_restricted():
    error = refused(plugin(enforce="restricted"), write("pods", pod()))
    assert error.message == (
        'pods "p" is forbidden: violates PodSecurity "restricted:latest": '
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )
    admitted(plugin(enforce="baseline"), write("pods", pod()))
    admitted(plugin(), write("pods", pod(hostPID=True)))


def test_a_careful_pod_is():
    admitted(plugin(enforce="restricted"), write("pods", container(**GOOD)))
    of_pod = pod(
        securityContext={"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        containers=[
            {"name": "c", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}
        ],
    )
    admitted(plugin(enforce="restricted"), write("pods", of_pod))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (pod(hostNetwork=True, hostPID=True), "host namespaces (hostNetwork=true, hostPID=true)"),
        (container(privileged=True), 'privileged (container "c" must not set securityContext.privileged=true)'),
        (pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), 'hostPath volumes (volume "v")'),
        (pod(containers=[{"name": "c", "ports": [{"hostPort": 80}]}]), 'hostPort (container "c" uses hostPort 80)'),
        (
            container(capabilities={"add": ["NET_ADMIN"]}),
            'non-default capabilities (container "c" must not include "NET_ADMIN" in securityContext.capabilities.add)',
        ),
        (container(procMount="Unmasked"), "procMount"),
        (
            container(seccompProfile={"type": "Unconfined"}),
            'seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
        ),
        (container(seLinuxOptions={"type": "spc_t"}), 'seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "spc_t")'),
        (container(windowsOptions={"hostProcess": True}), "hostProcess"),
        (container(appArmorProfile={"type": "Unconfined"}), "forbidden AppArmor profile"),
        (pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}), "forbidden sysctls (kernel.msgmax)"),
        (pod(initContainers=[{"name": "i", "securityContext": {"privileged": True}}]), 'container "i"'),
        (pod(ephemeralContainers=[{"name": "e", "securityContext": {"privileged": True}}]), 'container "e"'),
    ],
)
def test_what_baseline_forbids(asked, told):
    for level in ("baseline", "restricted"):
        message = refused(plugin(enforce=level), write("pods", asked)).message
        if level == "baseline":
            assert told in message
    debug = write("pods", asked, old=pod(), subresource="ephemeralcontainers")
    assert refused(plugin(enforce="baseline"), debug).code == 403


@pytest.mark.parametrize(
    ("security", "told"),
    [
        ({**GOOD, "runAsUser": 0}, "runAsUser=0"),
        ({**GOOD, "runAsNonRoot": False}, "must not set securityContext.runAsNonRoot=false"),
        ({**GOOD, "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}, 'must not include "CHOWN"'),
        ({**GOOD, "seccompProfile": {"type": "Unconfined"}}, "seccompProfile"),
    ],
)
def test_what_restricted_forbids_besides(security, told):
    assert told in refused(plugin(enforce="restricted"), write("pods", container(**security))).message


def test_warnings_and_audit_of_what_makes_pods():
    asked = write("deployments.apps", {"metadata": {"name": "d"}, "spec": {"template": pod(hostNetwork=True)}})
    admitted(plugin(warn="baseline", audit="baseline", enforce="restricted"), asked)
    told = 'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    assert asked.warnings == [told]
    assert asked.annotations == {"pod-security.kubernetes.io/audit-violations": told}


def test_a_pod_that_is_there_may_end_and_be_labelled():
    bad = pod(hostPID=True)
    labelled = {**bad, "metadata": {"name": "p", "labels": {"a": "b"}}}
    admitted(plugin(enforce="restricted"), write("pods", labelled, old=bad))
    admitted(plugin(enforce="restricted"), write("pods", bad, old=bad, subresource="status"))


def test_labels_of_namespaces():
    def space(level: str) -> dict[str, Any]:
        return {"metadata": {"name": "ns", "labels": {"pod-security.kubernetes.io/enforce": level}}}

    error = refused(plugin(), write("namespaces", space("strict")))
    assert (error.code, "must be one of privileged, baseline, restricted" in error.message) == (422, True)
    asked = write("namespaces", space("baseline"), old={"metadata": {"name": "ns"}})
    admitted(plugin(), asked)
    assert asked.warnings == ['existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest"', "old: host namespaces"]


def test_owners_are_set_by_who_may_delete():
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "blockOwnerDeletion": True}
    owned = {**pod(), "metadata": {"name": "p", "ownerReferences": [owner]}}
    made = Cluster()
    rbac = Rbac(made)
    assert "you can't delete" in refused(OwnerReferencesPermissionEnforcement(rbac), write("pods", owned, old=pod())).message
    assert "blockOwnerDeletion" in refused(OwnerReferencesPermissionEnforcement(rbac), write("pods", owned)).message
    finalizers = {"verbs": ["update"], "apiGroups": ["apps"], "resources": ["replicasets/finalizers"]}
    made.allow(user("ann"), [{"verbs": ["delete"], "apiGroups": [""], "resources": ["pods"]}, finalizers])
    admitted(OwnerReferencesPermissionEnforcement(rbac), write("pods", owned, old=pod()))
