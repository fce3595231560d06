"""All plug-ins in upstream's order (pkg/kubeapiserver/options/plugins.go), and which of them are on.

    --enable-admission-plugins=A,B --disable-admission-plugins=C

A chain is a plug-in itself: first all change, then all look. Core calls `admit` before an object is validated and `validate` after.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from apiserver.admission.certificates import CertificateApproval, CertificateSigning, CertificateSubjectRestriction
from apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from apiserver.admission.default_tolerations import DefaultTolerationSeconds
from apiserver.admission.external_ips import DenyServiceExternalIPs
from apiserver.admission.limit_ranger import LimitRanger
from apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from apiserver.admission.node_restriction import NodeRestriction
from apiserver.admission.owner_references import OwnerReferencesPermissionEnforcement
from apiserver.admission.pod_security import PodSecurity
from apiserver.admission.policies import ValidatingAdmissionPolicy
from apiserver.admission.priority import Priority
from apiserver.admission.resource_quota import ResourceQuota
from apiserver.admission.runtime_class import RuntimeClass
from apiserver.admission.service_account import ServiceAccount
from apiserver.admission.storage_objects import PersistentVolumeClaimResize, StorageObjectInUseProtection
from apiserver.admission.taint_nodes import TaintNodesByCondition
from apiserver.admission.webhook_client import WebhookClient
from apiserver.admission.webhooks import MutatingWebhooks, Settle, ValidatingWebhooks
from apiserver.authz.escalation import Escalation
from apiserver.authz.rbac import Rbac
from apiserver.request import Admission, Authorizer, Reader, Write, Writer


class Parts(Struct, frozen=True):
    """What plug-ins are made of."""

    reader: Reader
    writer: Writer
    authorizer: Authorizer
    rbac: Rbac | None
    client: WebhookClient
    settle: Settle


Make = Callable[[Parts], Admission]

PLUGINS: Mapping[str, Make] = {
    "NamespaceLifecycle": lambda parts: NamespaceLifecycle(parts.reader),
    "LimitRanger": lambda parts: LimitRanger(parts.reader),
    "ServiceAccount": lambda parts: ServiceAccount(parts.reader),
    "NodeRestriction": lambda parts: NodeRestriction(parts.reader),
    "TaintNodesByCondition": lambda parts: TaintNodesByCondition(),
    "PodSecurity": lambda parts: PodSecurity(parts.reader),
    "Priority": lambda parts: Priority(parts.reader),
    "DefaultTolerationSeconds": lambda parts: DefaultTolerationSeconds(),
    "StorageObjectInUseProtection": lambda parts: StorageObjectInUseProtection(),
    "OwnerReferencesPermissionEnforcement": lambda parts: OwnerReferencesPermissionEnforcement(parts.authorizer),
    "PersistentVolumeClaimResize": lambda parts: PersistentVolumeClaimResize(parts.reader),
    "RuntimeClass": lambda parts: RuntimeClass(parts.reader),
    "CertificateApproval": lambda parts: CertificateApproval(parts.authorizer),
    "CertificateSigning": lambda parts: CertificateSigning(parts.authorizer),
    "CertificateSubjectRestriction": lambda parts: CertificateSubjectRestriction(),
    "DefaultIngressClass": lambda parts: DefaultIngressClass(parts.reader),
    "DefaultStorageClass": lambda parts: DefaultStorageClass(parts.reader),
    "DenyServiceExternalIPs": lambda parts: DenyServiceExternalIPs(),
    "MutatingAdmissionWebhook": lambda parts: MutatingWebhooks(parts.reader, parts.client, parts.settle),
    "ValidatingAdmissionPolicy": lambda parts: ValidatingAdmissionPolicy(parts.reader),
    "ValidatingAdmissionWebhook": lambda parts: ValidatingWebhooks(parts.reader, parts.client),
    "ResourceQuota": lambda parts: ResourceQuota(parts.reader, parts.writer),
}
"""In the order in which they are asked."""
OFF_BY_DEFAULT = frozenset(("DenyServiceExternalIPs", "OwnerReferencesPermissionEnforcement"))


class UnknownPlugin(ValueError):
    """A flag names a plug-in that does not exist; the text lists those that do."""


class Chain:
    name = "chain"

    def __init__(self, plugins: Iterable[Admission]) -> None:
        self.plugins = tuple(plugins)

    async def admit(self, write: Write) -> None:
        for place, plugin in enumerate(self.plugins):
            before = write.object
            await plugin.admit(write)
            if isinstance(plugin, MutatingWebhooks) and write.object is not before:
                # What they added lacks what the plug-ins before them add: a container put in has no token yet. Each may be asked twice.
                for earlier in self.plugins[:place]:
                    await earlier.admit(write)

    async def validate(self, write: Write) -> None:
        for plugin in self.plugins:
            await plugin.validate(write)


def chain(parts: Parts, enabled: Sequence[str] = (), disabled: Sequence[str] = ()) -> Chain:
    """The plug-ins that are on. The check against escalation is no plug-in upstream and cannot be turned off. Raises UnknownPlugin."""
    unknown = [name for name in (*enabled, *disabled) if name not in PLUGINS]
    if unknown:
        raise UnknownPlugin(f"unknown admission plug-in {', '.join(unknown)}: known are {', '.join(PLUGINS)}")
    both = [name for name in enabled if name in disabled]
    if both:
        raise UnknownPlugin(f"{', '.join(both)} cannot be both enabled and disabled")
    on = [name for name in PLUGINS if (name not in OFF_BY_DEFAULT or name in enabled) and name not in disabled]
    first: list[Admission] = [] if parts.rbac is None else [Escalation(parts.rbac, parts.authorizer)]
    return Chain([*first, *(PLUGINS[name](parts) for name in on)])
