"""What the packages that describe resources leave out: short names, categories, and the subresources that are streams.

Sources: ShortNames and Categories in pkg/registry/*/*/storage/storage.go of Kubernetes; subresources in pkg/registry/core/rest/storage_core.go.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from apiserver.machinery.resources import Resource, Subresource, built_in

SHORT_NAMES: dict[str, tuple[str, ...]] = {
    "componentstatuses": ("cs",),
    "configmaps": ("cm",),
    "endpoints": ("ep",),
    "events": ("ev",),
    "events.events.k8s.io": ("ev",),
    "limitranges": ("limits",),
    "namespaces": ("ns",),
    "nodes": ("no",),
    "persistentvolumeclaims": ("pvc",),
    "persistentvolumes": ("pv",),
    "pods": ("po",),
    "replicationcontrollers": ("rc",),
    "resourcequotas": ("quota",),
    "serviceaccounts": ("sa",),
    "services": ("svc",),
    "customresourcedefinitions.apiextensions.k8s.io": ("crd", "crds"),
    "daemonsets.apps": ("ds",),
    "deployments.apps": ("deploy",),
    "replicasets.apps": ("rs",),
    "statefulsets.apps": ("sts",),
    "horizontalpodautoscalers.autoscaling": ("hpa",),
    "cronjobs.batch": ("cj",),
    "certificatesigningrequests.certificates.k8s.io": ("csr",),
    "podcertificaterequests.certificates.k8s.io": ("pcr",),
    "ingresses.networking.k8s.io": ("ing",),
    "ipaddresses.networking.k8s.io": ("ip",),
    "networkpolicies.networking.k8s.io": ("netpol",),
    "poddisruptionbudgets.policy": ("pdb",),
    "priorityclasses.scheduling.k8s.io": ("pc",),
    "storageclasses.storage.k8s.io": ("sc",),
    "volumeattributesclasses.storage.k8s.io": ("vac",),
}

CATEGORIES: dict[str, tuple[str, ...]] = {
    "pods": ("all",),
    "services": ("all",),
    "replicationcontrollers": ("all",),
    "daemonsets.apps": ("all",),
    "deployments.apps": ("all",),
    "replicasets.apps": ("all",),
    "statefulsets.apps": ("all",),
    "horizontalpodautoscalers.autoscaling": ("all",),
    "cronjobs.batch": ("all",),
    "jobs.batch": ("all",),
    "customresourcedefinitions.apiextensions.k8s.io": ("api-extensions",),
    "apiservices.apiregistration.k8s.io": ("api-extensions",),
    "mutatingadmissionpolicies.admissionregistration.k8s.io": ("api-extensions",),
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": ("api-extensions",),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": ("api-extensions",),
    "validatingadmissionpolicies.admissionregistration.k8s.io": ("api-extensions",),
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": ("api-extensions",),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": ("api-extensions",),
}

_PROXY = ("create", "delete", "get", "patch", "update")

STREAMS: dict[str, tuple[Subresource, ...]] = {
    "pods": (
        Subresource("attach", "", "v1", "PodAttachOptions", ("create", "get")),
        Subresource("exec", "", "v1", "PodExecOptions", ("create", "get")),
        Subresource("portforward", "", "v1", "PodPortForwardOptions", ("create", "get")),
        Subresource("proxy", "", "v1", "PodProxyOptions", _PROXY),
    ),
    "services": (Subresource("proxy", "", "v1", "ServiceProxyOptions", _PROXY),),
    "nodes": (Subresource("proxy", "", "v1", "NodeProxyOptions", _PROXY),),
    "serviceaccounts": (Subresource("token", "authentication.k8s.io", "v1", "TokenRequest", ("create",)),),
}


def complete(resource: Resource) -> Resource:
    """The resource with its short names, categories and all of its subresources."""
    have = {each.name for each in resource.subresources}
    more = tuple(each for each in STREAMS.get(resource.qualified, ()) if each.name not in have)
    return replace(
        resource,
        short_names=resource.short_names or SHORT_NAMES.get(resource.qualified, ()),
        categories=resource.categories or CATEGORIES.get(resource.qualified, ()),
        subresources=tuple(sorted((*resource.subresources, *more), key=lambda each: each.name)),
    )


def completed() -> Iterable[Resource]:
    """Every built-in resource, complete."""
    return [complete(resource) for resource in built_in()]
