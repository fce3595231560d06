"""What a node writes is its own: its Node object but for labels and taints that draw work to it, the status of its pods, mirror pods without any
reference, its lease, tokens for its pods (plugin/pkg/admission/noderestriction).

Kubernetes has it off by default and every installer turns it on; here it is on.
"""

from collections.abc import Callable
from typing import Any

from cryptography.x509.oid import NameOID

from apiserver.admission.certificates import parsed
from apiserver.admission.plugin import MIRROR_POD, config_maps_of, projections, refusal, secrets_of, spec_of
from apiserver.authz.node import LEASES, PREFIX, node_of
from apiserver.machinery.objects import Object, annotations_of, labels_of, name_of, uid_of
from apiserver.machinery.status import ApiError, not_found
from apiserver.request import Passive, Reader, Write

KUBELET_LABELS = frozenset(
    (
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    )
)
KUBELET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
RESTRICTED = "node-restriction.kubernetes.io"
NODE_SIGNERS = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")
CLAIM_STATUS = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")


class NodeRestriction(Passive):
    name = "NodeRestriction"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def validate(self, write: Write) -> None:
        """After all changes, so that no webhook's change passes unseen."""
        node = node_of(write.user)
        if node is None or write.operation == "CONNECT":
            return
        if not node:
            raise refusal(write, f'could not determine node from user "{write.user.name}"')
        look = self._table.get(write.resource.qualified)
        if look is not None:
            why = look(self, node, write)
            if why is not None:
                raise refusal(write, why)

    # --- each says why not, or None -----------------------------------------------------------------------------------

    def _pod(self, node: str, write: Write) -> str | None:
        if write.subresource == "status":
            return self._pod_status(node, write)
        if write.subresource == "eviction":
            if write.operation != "CREATE":
                return f"unexpected operation {write.operation}"
            name = write.name or name_of(write.object or {})
            return None if self._is_on(node, write, name) else f"node {node} can only evict pods with spec.nodeName set to itself"
        if write.subresource:
            return f"unexpected pod subresource \"{write.subresource}\", only 'status' and 'eviction' are allowed"
        if write.operation == "CREATE":
            return self._mirror_pod(node, write.object or {})
        if write.operation == "DELETE":
            return None if self._is_on(node, write, write.name) else f'node "{node}" can only delete pods with spec.nodeName set to itself'
        return f'unexpected operation "{write.operation}", node "{node}" can only create and delete mirror pods'

    def _mirror_pod(self, node: str, pod: Object) -> str | None:
        spec = spec_of(pod)
        if MIRROR_POD not in annotations_of(pod):
            return f'pod does not have "{MIRROR_POD}" annotation, node "{node}" can only create mirror pods'
        if spec.get("nodeName") != node:
            return f'node "{node}" can only create pods with spec.nodeName set to itself'
        return self._owned(node, pod) or self._unreferring(node, spec)

    def _owned(self, node: str, pod: Object) -> str | None:
        owners = (pod.get("metadata") or {}).get("ownerReferences") or []
        if len(owners) > 1:
            return f'node "{node}" can only create pods with a single owner reference set to itself'
        owner = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            return f'node "{node}" can only create pods with an owner reference set to itself'
        if not owner.get("controller"):
            return f'node "{node}" can only create pods with a controller owner reference set to itself'
        if owner.get("blockOwnerDeletion"):
            return f'node "{node}" must not set blockOwnerDeletion on an owner reference'
        found = self._reader.get("nodes", "", node)
        if found is None:
            raise not_found("", "nodes", node)
        if owner.get("uid") != uid_of(found):
            return f"node {node} UID mismatch: expected {owner.get('uid')} got {uid_of(found)}"
        return None

    def _unreferring(self, node: str, spec: Object) -> str | None:
        """Otherwise a node could give itself any secret by running a pod that uses it."""
        told = f'node "{node}" can not create pods that reference'
        if spec.get("serviceAccountName"):
            return f"{told} a service account"
        if any(True for _ in secrets_of(spec)):
            return f"{told} secrets"
        if any(True for _ in config_maps_of(spec)):
            return f"{told} configmaps"
        if any(True for _ in projections(spec, "clusterTrustBundle")):
            return f"{told} clustertrustbundles"
        if any(True for _ in projections(spec, "serviceAccountToken")):
            return f"{told} a service account"
        if any(each.get("persistentVolumeClaim") or each.get("ephemeral") for each in spec.get("volumes") or ()):
            return f"{told} persistentvolumeclaims"
        return f"{told} resourceclaims" if spec.get("resourceClaims") else None

    def _pod_status(self, node: str, write: Write) -> str | None:
        if write.operation != "UPDATE":
            return f'unexpected operation "{write.operation}"'
        new, old = write.object or {}, write.old_object or {}
        if spec_of(old).get("nodeName") != node:
            return f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
        if labels_of(new) != labels_of(old):
            return f'node "{node}" cannot update labels through pod status'
        if ((new.get("status") or {}).get("resourceClaimStatuses") or []) != ((old.get("status") or {}).get("resourceClaimStatuses") or []):
            return f'node "{node}" cannot update resource claim statues'
        return None

    def _node(self, node: str, write: Write) -> str | None:
        name = write.name or name_of(write.object or {})
        if name != node:
            return f'node "{node}" is not allowed to modify node "{name}"'
        new, old = write.object or {}, write.old_object or {}
        if write.operation == "CREATE":
            bad = forbidden_labels(labels_of(new), {})
            return f'node "{node}" is not allowed to set the following labels: {", ".join(bad)}' if bad else None
        if write.operation == "UPDATE":
            if (spec_of(new).get("taints") or []) != (spec_of(old).get("taints") or []):
                return f'node "{node}" is not allowed to modify taints'
            bad = forbidden_labels(labels_of(new), labels_of(old))
            return f"is not allowed to modify labels: {', '.join(bad)}" if bad else None
        return None

    def _claim(self, node: str, write: Write) -> str | None:
        if write.subresource != "status":
            return "may only update PVC status"
        if write.operation != "UPDATE":
            return f'unexpected operation "{write.operation}"'
        if _without_status(write.object) != _without_status(write.old_object):
            return f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions'
        return None

    def _account(self, node: str, write: Write) -> str | None:
        if write.operation != "CREATE" or write.subresource != "token":
            return None
        reference = spec_of(write.object).get("boundObjectRef") or {}
        if reference.get("apiVersion") != "v1" or reference.get("kind") != "Pod" or not reference.get("name"):
            return "node requested token not bound to a pod"
        if not reference.get("uid"):
            return "node requested token with a pod binding without a uid"
        found = self._reader.get("pods", write.namespace, reference["name"])
        if found is None:
            raise not_found("", "pods", reference["name"])
        if uid_of(found) != reference["uid"]:
            told = f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            return told + "The object might have been deleted and then recreated"
        return None if spec_of(found).get("nodeName") == node else "node requested token bound to a pod scheduled on a different node"

    def _lease(self, node: str, write: Write) -> str | None:
        if write.namespace != LEASES:
            return f'can only access leases in the "{LEASES}" system namespace'
        name = name_of(write.object or {}) if write.operation == "CREATE" else write.name
        return None if name == node else "can only access node lease with the same name as the requesting node"

    def _csi_node(self, node: str, write: Write) -> str | None:
        name = name_of(write.object or {}) if write.operation == "CREATE" else write.name
        return None if name == node else "can only access CSINode with the same name as the requesting node"

    def _slice(self, node: str, write: Write) -> str | None:
        if write.operation == "CREATE" and spec_of(write.object).get("nodeName") != node:
            return "can only create ResourceSlice with the same NodeName as the requesting node"
        if write.operation == "DELETE" and spec_of(write.old_object).get("nodeName") != node:
            return "can only delete ResourceSlice with the same NodeName as the requesting node"
        return None

    def _certificate(self, node: str, write: Write) -> str | None:
        spec = spec_of(write.object)
        if write.operation != "CREATE" or spec.get("signerName") not in NODE_SIGNERS:
            return None
        request = parsed(spec.get("request"))
        if request is None:
            return "unable to parse csr: PEM block type must be CERTIFICATE REQUEST"
        names = [each.value for each in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        return None if names == [f"{PREFIX}{node}"] else f"can only create a node CSR with CN={PREFIX}{node}"

    def _is_on(self, node: str, write: Write, name: str) -> bool:
        found = self._reader.get("pods", write.namespace, name) or (write.old_object if name_of(write.old_object or {}) == name else None)
        if found is None:
            raise self._missing(name)
        return spec_of(found).get("nodeName") == node

    def _missing(self, name: str) -> ApiError:
        return not_found("", "pods", name)

    _table: dict[str, Callable[["NodeRestriction", str, Write], str | None]] = {  # noqa: RUF012 - never changed
        "pods": _pod,
        "nodes": _node,
        "persistentvolumeclaims": _claim,
        "serviceaccounts": _account,
        "leases.coordination.k8s.io": _lease,
        "csinodes.storage.k8s.io": _csi_node,
        "resourceslices.resource.k8s.io": _slice,
        "certificatesigningrequests.certificates.k8s.io": _certificate,
    }


def forbidden_labels(new: dict[str, str], old: dict[str, str]) -> list[str]:
    """Of the labels that differ, those that a node may not touch: whoever selects nodes by them trusts that no node gave them to itself."""
    changed = {key for key in {*new, *old} if new.get(key) != old.get(key)}
    return sorted(key for key in changed if not _is_free(key))


def _is_free(key: str) -> bool:
    domain = key.partition("/")[0] if "/" in key else ""
    if domain == RESTRICTED or domain.endswith(f".{RESTRICTED}"):
        return False
    if not any(domain == each or domain.endswith(f".{each}") for each in ("kubernetes.io", "k8s.io")):
        return True
    return key in KUBELET_LABELS or any(domain == each or domain.endswith(f".{each}") for each in KUBELET_DOMAINS)


def _without_status(claim: Object | None) -> Any:
    found = claim or {}
    meta = {key: value for key, value in (found.get("metadata") or {}).items() if key not in ("resourceVersion", "managedFields")}
    status = {key: value for key, value in (found.get("status") or {}).items() if key not in CLAIM_STATUS}
    return {**found, "metadata": meta, "status": status}
