"""The Node authorizer: a node may see what its own pods need and nothing else (plugin/pkg/auth/authorizer/node).

    node <- pod <- secret, config map, service account, claim <- volume <- secret        node <- its lease, its CSINode, its Node object

Which pods a node has is read off the watch cache at each question, in the namespace of the thing asked for: nothing is kept, so nothing can be wrong.
"""

from collections.abc import Iterable, Iterator

from apiserver.admission.plugin import config_maps_of, secrets_of, spec_of
from apiserver.authz.bootstrap_policy import rules
from apiserver.authz.bootstrap_roles import CLUSTER_ROLES
from apiserver.authz.rules import allows
from apiserver.machinery.objects import Object, name_of
from apiserver.request import Attributes, Decision, Reader, User

PREFIX, GROUP = "system:node:", "system:nodes"
LEASES = "kube-node-lease"
READS, WRITES_LEASE = ("get", "list", "watch"), ("get", "create", "update", "patch", "delete")


def node_of(user: User) -> str | None:
    """The node that a user is; None for everybody else, empty for one of the group of nodes whose name is no node's."""
    if GROUP not in user.groups:
        return None
    return user.name.removeprefix(PREFIX) if user.name.startswith(PREFIX) else ""


class NodeAuthorizer:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._rules = rules(CLUSTER_ROLES["system:node"])

    async def authorize(self, attributes: Attributes) -> Decision:
        node = node_of(attributes.user)
        if node is None:
            return Decision(None)
        if not node:
            return Decision(None, f'unknown node for user "{attributes.user.name}"')
        if attributes.is_resource:
            decide = _TABLE.get((attributes.group, attributes.resource))
            if decide is not None:
                refused = decide(self, node, attributes)
                return Decision(None, refused) if refused is not None else Decision(True)
        return Decision(True) if any(allows(rule, attributes) for rule in self._rules) else Decision(None)

    # --- each says why not, or None -----------------------------------------------------------------------------------

    def _readable(self, node: str, asked: Attributes) -> str | None:
        """Secrets and config maps: one at a time, by name."""
        if asked.verb not in READS:
            return "can only read resources of this type"
        if asked.subresource:
            return "cannot read subresource"
        if not asked.namespace:
            return "can only read namespaced object of this type"
        return self._related(node, asked)

    def _gettable(self, node: str, asked: Attributes) -> str | None:
        if asked.verb != "get":
            return "can only get individual resources of this type"
        return "cannot get subresource" if asked.subresource else self._related(node, asked)

    def _claim(self, node: str, asked: Attributes) -> str | None:
        if asked.subresource != "status":
            return self._gettable(node, asked)
        if asked.verb not in ("update", "patch"):
            return "can only get/update/patch this type"
        return self._related(node, asked)

    def _account(self, node: str, asked: Attributes) -> str | None:
        if asked.verb == "get" and not asked.subresource:
            return self._related(node, asked)
        if asked.verb != "create" or not asked.name:
            return "can only create tokens for individual service accounts"
        if asked.subresource != "token":
            return "can only create token subresource of serviceaccount"
        return self._related(node, asked)

    def _lease(self, node: str, asked: Attributes) -> str | None:
        if asked.verb not in WRITES_LEASE or asked.subresource:
            return "can only get, create, update, patch, or delete a node lease"
        if asked.namespace != LEASES:
            return f'can only access leases in the "{LEASES}" system namespace'
        # A create names the lease in the body alone: admission looks at that (NodeRestriction).
        return None if asked.verb == "create" or asked.name == node else "can only access node lease with the same name as the requesting node"

    def _csi_node(self, node: str, asked: Attributes) -> str | None:
        if asked.verb not in WRITES_LEASE:
            return "can only get, create, update, patch, or delete a CSINode"
        if asked.subresource:
            return "cannot authorize CSINode subresources"
        return None if asked.verb == "create" or asked.name == node else "can only access CSINode with the same name as the requesting node"

    def _node(self, node: str, asked: Attributes) -> str | None:
        if asked.subresource not in ("", "status"):
            return f"nodes subresource {asked.subresource} is not accessible to nodes"
        if asked.verb in READS:
            return None if asked.name == node else f"node '{node}' cannot read '{asked.name}', only its own Node object"
        # Registering names the node in the body; writes to another are refused by NodeRestriction, too, but there is no need to let them in.
        if asked.verb == "create" and not asked.subresource:
            return None
        return None if asked.verb in ("update", "patch") and asked.name == node else "can only modify its own Node object"

    def _pod(self, node: str, asked: Attributes) -> str | None:
        if not asked.subresource and asked.verb == "get":
            return self._related(node, asked)
        if not asked.subresource and asked.verb in ("list", "watch"):
            if ("spec.nodeName", node) in _equalities(asked.field_selector):
                return None
            return f"can only list/watch pods with spec.nodeName field selector {node}"
        # What is written, to which pods, is looked at by NodeRestriction.
        return None if any(allows(rule, asked) for rule in self._rules) else "can only create and delete pods, write their status, and evict them"

    def _slice(self, node: str, asked: Attributes) -> str | None:
        if asked.subresource:
            return "cannot authorize ResourceSlice subresources"
        if asked.verb == "create":
            return None
        if asked.verb in ("get", "update", "patch", "delete"):
            found = self._reader.get("resourceslices.resource.k8s.io", "", asked.name)
            return None if found is not None and spec_of(found).get("nodeName") == node else _unrelated(node)
        if asked.verb in ("list", "watch", "deletecollection") and ("spec.nodeName", node) in _equalities(asked.field_selector):
            return None
        return "can only list/watch/deletecollection resourceslices with nodeName field selector"

    # --- what belongs to a node ---------------------------------------------------------------------------------------

    def _related(self, node: str, asked: Attributes) -> str | None:
        if not asked.name:
            return "No Object name found"
        return None if self._is_related(node, asked.resource, asked.namespace, asked.name) else _unrelated(node)

    def _is_related(self, node: str, resource: str, namespace: str, name: str) -> bool:
        if resource == "pods":
            found = self._reader.get("pods", namespace, name)
            return found is not None and spec_of(found).get("nodeName") == node
        if resource == "persistentvolumes":
            volume = self._reader.get("persistentvolumes", "", name)
            claim = spec_of(volume).get("claimRef") or {}
            return bool(claim) and self._uses_claim(node, str(claim.get("namespace") or ""), str(claim.get("name") or ""))
        if resource == "volumeattachments":
            return spec_of(self._reader.get("volumeattachments.storage.k8s.io", "", name)).get("nodeName") == node
        if resource == "persistentvolumeclaims":
            return self._uses_claim(node, namespace, name)
        if any(name in _REFERENCES[resource](pod) for pod in self._pods(node, namespace)):
            return True
        return resource == "secrets" and self._is_volume_secret(node, namespace, name)

    def _pods(self, node: str, namespace: str) -> Iterator[Object]:
        for pod in self._reader.list("pods", namespace):
            if (pod.get("spec") or {}).get("nodeName") == node:
                yield pod

    def _uses_claim(self, node: str, namespace: str, name: str) -> bool:
        return bool(namespace and name) and any(name in _claims_of(pod) for pod in self._pods(node, namespace))

    def _is_volume_secret(self, node: str, namespace: str, name: str) -> bool:
        """A volume of a pod's claim may name a Secret that it is mounted with."""
        for volume in self._reader.list("persistentvolumes"):
            claim = spec_of(volume).get("claimRef") or {}
            for source in spec_of(volume).values():
                if not isinstance(source, dict):
                    continue
                for key in ("secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef", "controllerExpandSecretRef"):
                    reference = source.get(key) or {}
                    if key != "controllerExpandSecretRef" and reference.get("name") == name and reference.get("namespace") == namespace:
                        return self._uses_claim(node, str(claim.get("namespace") or ""), str(claim.get("name") or ""))
        return False


def _unrelated(node: str) -> str:
    return f"no relationship found between node '{node}' and this object"


def _equalities(selector: str) -> Iterator[tuple[str, str]]:
    for term in selector.split(","):
        key, _, value = term.partition("=")
        if not key.endswith("!"):
            yield key, value.removeprefix("=")


def _claims_of(pod: Object) -> Iterator[str]:
    for volume in spec_of(pod).get("volumes") or ():
        if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            yield str(claim)
        if volume.get("ephemeral") is not None:
            yield f"{name_of(pod)}-{volume.get('name', '')}"


def _accounts_of(pod: Object) -> Iterable[str]:
    name = spec_of(pod).get("serviceAccountName")
    return [str(name)] if name else []


_REFERENCES = {
    "secrets": lambda pod: secrets_of(spec_of(pod)),
    "configmaps": lambda pod: config_maps_of(spec_of(pod)),
    "serviceaccounts": _accounts_of,
}
_TABLE = {
    ("", "secrets"): NodeAuthorizer._readable,
    ("", "configmaps"): NodeAuthorizer._readable,
    ("", "persistentvolumeclaims"): NodeAuthorizer._claim,
    ("", "persistentvolumes"): NodeAuthorizer._gettable,
    ("", "serviceaccounts"): NodeAuthorizer._account,
    ("", "nodes"): NodeAuthorizer._node,
    ("", "pods"): NodeAuthorizer._pod,
    ("storage.k8s.io", "volumeattachments"): NodeAuthorizer._gettable,
    ("storage.k8s.io", "csinodes"): NodeAuthorizer._csi_node,
    ("coordination.k8s.io", "leases"): NodeAuthorizer._lease,
    ("resource.k8s.io", "resourceslices"): NodeAuthorizer._slice,
}
