"""Which strategy a resource has: `strategy_for`. Resources without one of their own are told apart by three tables."""

from functools import cache

from apiserver.machinery.resources import Resource
from apiserver.registry import schemas
from apiserver.registry.strategies import (
    autoscaling,
    cluster,
    config,
    definitions,
    jobs,
    networking,
    others,
    pods,
    policies,
    rbac,
    services,
    storage,
    webhooks,
    workloads,
)
from apiserver.registry.strategy import Strategy

OWN: dict[str, type[Strategy]] = {
    "pods": pods.PodStrategy,
    "podtemplates": workloads.PodTemplateStrategy,
    "replicationcontrollers": workloads.ReplicationControllerStrategy,
    "deployments.apps": workloads.DeploymentStrategy,
    "replicasets.apps": workloads.ReplicaSetStrategy,
    "daemonsets.apps": workloads.DaemonSetStrategy,
    "statefulsets.apps": workloads.StatefulSetStrategy,
    "controllerrevisions.apps": workloads.ControllerRevisionStrategy,
    "jobs.batch": jobs.JobStrategy,
    "cronjobs.batch": jobs.CronJobStrategy,
    "services": services.ServiceStrategy,
    "endpoints": services.EndpointsStrategy,
    "endpointslices.discovery.k8s.io": services.EndpointSliceStrategy,
    "configmaps": config.ConfigMapStrategy,
    "secrets": config.SecretStrategy,
    "persistentvolumes": storage.PersistentVolumeStrategy,
    "persistentvolumeclaims": storage.PersistentVolumeClaimStrategy,
    "storageclasses.storage.k8s.io": storage.StorageClassStrategy,
    "horizontalpodautoscalers.autoscaling": autoscaling.HorizontalPodAutoscalerStrategy,
    "poddisruptionbudgets.policy": autoscaling.PodDisruptionBudgetStrategy,
    "roles.rbac.authorization.k8s.io": rbac.RoleStrategy,
    "clusterroles.rbac.authorization.k8s.io": rbac.ClusterRoleStrategy,
    "rolebindings.rbac.authorization.k8s.io": rbac.BindingStrategy,
    "clusterrolebindings.rbac.authorization.k8s.io": rbac.ClusterBindingStrategy,
    "ingresses.networking.k8s.io": networking.IngressStrategy,
    "ingressclasses.networking.k8s.io": networking.IngressClassStrategy,
    "networkpolicies.networking.k8s.io": networking.NetworkPolicyStrategy,
    "namespaces": cluster.NamespaceStrategy,
    "nodes": cluster.NodeStrategy,
    "leases.coordination.k8s.io": cluster.LeaseStrategy,
    "events": cluster.EventStrategy,
    "events.events.k8s.io": cluster.EventStrategy,
    "priorityclasses.scheduling.k8s.io": cluster.PriorityClassStrategy,
    "certificatesigningrequests.certificates.k8s.io": cluster.CertificateSigningRequestStrategy,
    "resourcequotas": cluster.ResourceQuotaStrategy,
    "limitranges": cluster.LimitRangeStrategy,
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": webhooks.WebhookConfigurationStrategy,
    "validatingwebhookconfigurations.admissionregistration.k8s.io": webhooks.WebhookConfigurationStrategy,
    "runtimeclasses.node.k8s.io": others.RuntimeClassStrategy,
    "csidrivers.storage.k8s.io": others.CSIDriverStrategy,
    "volumeattachments.storage.k8s.io": others.VolumeAttachmentStrategy,
    "servicecidrs.networking.k8s.io": others.ServiceCIDRStrategy,
    "ipaddresses.networking.k8s.io": others.IPAddressStrategy,
    "resourceclaims.resource.k8s.io": others.ResourceClaimStrategy,
    "resourceclaimtemplates.resource.k8s.io": others.ResourceClaimTemplateStrategy,
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": others.AdmissionPolicyBindingStrategy,
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": others.AdmissionPolicyBindingStrategy,
    "flowschemas.flowcontrol.apiserver.k8s.io": others.FlowSchemaStrategy,
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": others.PriorityLevelStrategy,
    "apiservices.apiregistration.k8s.io": webhooks.APIServiceStrategy,
    "validatingadmissionpolicies.admissionregistration.k8s.io": policies.ValidatingAdmissionPolicyStrategy,
    "customresourcedefinitions.apiextensions.k8s.io": definitions.CustomResourceDefinitionStrategy,
}

UNCOUNTED = frozenset(
    (
        *("serviceaccounts", "componentstatuses", "csinodes.storage.k8s.io"),
        *("csistoragecapacities.storage.k8s.io", "volumeattributesclasses.storage.k8s.io"),
        *("leasecandidates.coordination.k8s.io", "clustertrustbundles.certificates.k8s.io"),
    )
)
"""Their metadata has no generation."""

CONDITIONAL = frozenset(
    (
        *("storageversions.internal.apiserver.k8s.io", "leasecandidates.coordination.k8s.io", "clustertrustbundles.certificates.k8s.io"),
        *("evictionrequests.lifecycle.k8s.io", "evictions.lifecycle.k8s.io", "mutatingadmissionpolicies.admissionregistration.k8s.io"),
    )
)
"""A PUT has to say which version it replaces (AllowUnconditionalUpdate is false)."""


@cache
def strategy_for(resource: Resource) -> Strategy:
    """The strategy of a built-in resource."""
    own = OWN.get(resource.qualified)
    made = own() if own is not None else Strategy()
    if own is None:
        made.has_status = resource.subresource("status") is not None
        made.counts_generation = resource.qualified not in UNCOUNTED
        made.unconditional_update = resource.qualified not in CONDITIONAL
    if made.has_status and resource.subresource("status") is not None:
        made.empty_status = schemas.check(resource).empty("status")
    return made
