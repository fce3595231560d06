"""All plug-ins in upstream's order (pkg/kubeapiserver/options/plugins.go), and which of them are on.

    --enable-admission-plugins=A,B --disable-admission-plugins=C

A chain is a plug-in itself: first all change, then all look. Core calls `admit` before an object is validated and `validate` after.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from apiserver.admission.certificates import CertificateApproval, CertificateSigning, CertificateSubjectRestriction
from apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from apiserver.admission.default_tolerations import DefaultTolerationSeconds
from apiserver.admission.limit_ranger import LimitRanger
from apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from apiserver.admission.node_restriction import NodeRestriction
from apiserver.admission.priority import Priority
from apiserver.admission.resource_quota import ResourceQuota
from apiserver.admission.runtime_class import RuntimeClass
from apiserver.admission.service_account import ServiceAccount
from apiserver.admission.storage_objects import PersistentVolumeClaimResize, StorageObjectInUseProtection
from apiserver.admission.taint_nodes import TaintNodesByCondition
from apiserver.authz.escalation import Escalation
from apiserver.authz.rbac import Rbac
from apiserver.request import Admission, Authorizer, Reader, Write, Writer

Make = Callable[[Reader, Writer, Authorizer], Admission]

PLUGINS: Mapping[str, Make] = {
    "NamespaceLifecycle": lambda reader, writer, authorizer: NamespaceLifecycle(reader),
    "LimitRanger": lambda reader, writer, authorizer: LimitRanger(reader),
    "ServiceAccount": lambda reader, writer, authorizer: ServiceAccount(reader),
    "NodeRestriction": lambda reader, writer, authorizer: NodeRestriction(reader),
    "TaintNodesByCondition": lambda reader, writer, authorizer: TaintNodesByCondition(),
    "Priority": lambda reader, writer, authorizer: Priority(reader),
    "DefaultTolerationSeconds": lambda reader, writer, authorizer: DefaultTolerationSeconds(),
    "StorageObjectInUseProtection": lambda reader, writer, authorizer: StorageObjectInUseProtection(),
    "PersistentVolumeClaimResize": lambda reader, writer, authorizer: PersistentVolumeClaimResize(reader),
    "RuntimeClass": lambda reader, writer, authorizer: RuntimeClass(reader),
    "CertificateApproval": lambda reader, writer, authorizer: CertificateApproval(authorizer),
    "CertificateSigning": lambda reader, writer, authorizer: CertificateSigning(authorizer),
    "CertificateSubjectRestriction": lambda reader, writer, authorizer: CertificateSubjectRestriction(),
    "DefaultIngressClass": lambda reader, writer, authorizer: DefaultIngressClass(reader),
    "DefaultStorageClass": lambda reader, writer, authorizer: DefaultStorageClass(reader),
    "ResourceQuota": lambda reader, writer, authorizer: ResourceQuota(reader, writer),
}
"""In the order in which they are asked."""
OFF_BY_DEFAULT = frozenset[str]()


class UnknownPlugin(ValueError):
    """A flag names a plug-in that does not exist; the text lists those that do."""


class Chain:
    name = "chain"

    def __init__(self, plugins: Iterable[Admission]) -> None:
        self.plugins = tuple(plugins)

    async def admit(self, write: Write) -> None:
        for plugin in self.plugins:
            await plugin.admit(write)

    async def validate(self, write: Write) -> None:
        for plugin in self.plugins:
            await plugin.validate(write)


def chain(
    reader: Reader, writer: Writer, authorizer: Authorizer, rbac: Rbac | None, enabled: Sequence[str] = (), disabled: Sequence[str] = ()
) -> Chain:
    """The plug-ins that are on. The check against escalation is no plug-in upstream and cannot be turned off. Raises UnknownPlugin."""
    unknown = [name for name in (*enabled, *disabled) if name not in PLUGINS]
    if unknown:
        raise UnknownPlugin(f"unknown admission plug-in {', '.join(unknown)}: known are {', '.join(PLUGINS)}")
    both = [name for name in enabled if name in disabled]
    if both:
        raise UnknownPlugin(f"{', '.join(both)} cannot be both enabled and disabled")
    on = [name for name in PLUGINS if (name not in OFF_BY_DEFAULT or name in enabled) and name not in disabled]
    first: list[Admission] = [] if rbac is None else [Escalation(rbac, authorizer)]
    return Chain([*first, *(PLUGINS[name](reader, writer, authorizer) for name in on)])
