"""What every namespace has: the service account `default`, and the certificates to know the API server by (pkg/controller/serviceaccount and
pkg/controller/certificates/rootcacertpublisher)."""

from pathlib import Path

from agents.controllers.namespace import NAMESPACES
from agents.kit.actions import Action, Create, Update
from agents.kit.controller import Context, Controller
from apiserver.machinery.objects import Object, annotations_of, is_terminating, name_of, namespace_of
from apiserver.machinery.resources import resource

SERVICE_ACCOUNTS = resource("serviceaccounts")
CONFIG_MAPS = resource("configmaps")
DEFAULT = "default"
ROOT_CA = "kube-root-ca.crt"
DESCRIPTION = "kubernetes.io/description"
PURPOSE = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or "
    "kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)


class PerNamespace(Controller):
    """Keys are names of namespaces."""

    def watch(self) -> None:
        self.namespaces = self.watched(NAMESPACES, self.enqueue)

    def wake_namespace(self, obj: Object) -> None:
        self.queue.add(namespace_of(obj))

    def is_active(self, key: str) -> bool:
        namespace = self.namespaces.get(key)
        return namespace is not None and not is_terminating(namespace)


class ServiceAccounts(PerNamespace):
    name = "serviceaccount-controller"
    component = "serviceaccount-controller"

    def watch(self) -> None:
        super().watch()
        self.accounts = self.watched(SERVICE_ACCOUNTS, lambda obj: self.wake_namespace(obj) if name_of(obj) == DEFAULT else None)

    def reconcile(self, key: str) -> list[Action]:
        if not self.is_active(key) or self.accounts.get(f"{key}/{DEFAULT}") is not None:
            return []
        return [Create(SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT, "namespace": key}})]


class RootCertificates(PerNamespace):
    """`certificates` is the PEM text that pods trust."""

    name = "root-ca-certificate-publisher-controller"
    component = "root-ca-cert-publisher"

    def __init__(self, context: Context, certificates: str) -> None:
        self.certificates = certificates
        super().__init__(context)

    def watch(self) -> None:
        super().watch()
        self.maps = self.watched(CONFIG_MAPS, lambda obj: self.wake_namespace(obj) if name_of(obj) == ROOT_CA else None)

    def reconcile(self, key: str) -> list[Action]:
        if not self.is_active(key):
            return []
        there = self.maps.get(f"{key}/{ROOT_CA}")
        data = {"ca.crt": self.certificates}
        if there is None:
            metadata = {"name": ROOT_CA, "namespace": key, "annotations": {DESCRIPTION: PURPOSE}}
            return [Create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})]
        if there.get("data") == data and DESCRIPTION in annotations_of(there):
            return []
        metadata = {**there["metadata"], "annotations": {**annotations_of(there), DESCRIPTION: PURPOSE}}
        return [Update(CONFIG_MAPS, {**there, "metadata": metadata, "data": data})]


def root_certificates(path: str) -> str:
    """The text of --root-ca-file. Raises ValueError."""
    if not path:
        return ""
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise ValueError(f"--root-ca-file: {error}") from None
    if "BEGIN CERTIFICATE" not in text:
        raise ValueError(f"--root-ca-file: {path} holds no certificate in PEM form")
    return text
