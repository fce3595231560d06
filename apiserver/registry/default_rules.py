"""The rules of Kubernetes' defaults, by type: `SetDefaults_*` of pkg/apis/GROUP/VERSION/defaults.go, and `+default` marks of k8s.io/api's types.

Two tables hold the plain ones. ABSENT: fields that are pointers in Go, set if they are not there. ZERO: fields that are plain values in Go, set if
they are not there or zero. What depends on other fields is a function in `default_functions.py`; the order is absent, zero, function.
"""

import copy
from collections.abc import Callable
from typing import Any

from apiserver.machinery.objects import Object
from apiserver.registry.default_functions import FUNCTIONS

MODE = 0o644
"""Of files in volumes made from secrets, config maps and the downward API."""

ABSENT: dict[str, dict[str, Any]] = {
    # pkg/apis/core/v1/defaults.go
    "core.v1.PodSpec": {"securityContext": {}, "terminationGracePeriodSeconds": 30},
    "core.v1.Pod": {},
    "core.v1.ReplicationControllerSpec": {"replicas": 1},
    "core.v1.SecretVolumeSource": {"defaultMode": MODE},
    "core.v1.ConfigMapVolumeSource": {"defaultMode": MODE},
    "core.v1.DownwardAPIVolumeSource": {"defaultMode": MODE},
    "core.v1.ProjectedVolumeSource": {"defaultMode": MODE},
    "core.v1.ServiceAccountTokenProjection": {"expirationSeconds": 3600},
    "core.v1.HostPathVolumeSource": {"type": ""},
    "core.v1.PersistentVolumeSpec": {"volumeMode": "Filesystem"},
    "core.v1.PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    "core.v1.GRPCAction": {"service": ""},
    "core.v1.AzureDiskVolumeSource": {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"},
    # pkg/apis/apps/v1/defaults.go
    "apps.v1.DeploymentSpec": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600},
    "apps.v1.DaemonSetSpec": {"revisionHistoryLimit": 10},
    "apps.v1.StatefulSetSpec": {"replicas": 1, "revisionHistoryLimit": 10, "persistentVolumeClaimRetentionPolicy": {}},
    "apps.v1.ReplicaSetSpec": {"replicas": 1},
    # pkg/apis/batch/v1/defaults.go
    "batch.v1.JobSpec": {},
    "batch.v1.CronJobSpec": {"suspend": False, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1},
    # pkg/apis/autoscaling/v1, v2
    "autoscaling.v1.HorizontalPodAutoscalerSpec": {"minReplicas": 1},
    "autoscaling.v2.HorizontalPodAutoscalerSpec": {"minReplicas": 1},
    # pkg/apis/networking/v1/defaults.go
    "networking.v1.NetworkPolicyPort": {"protocol": "TCP"},
    "networking.v1.IngressClassParametersReference": {"scope": "Cluster"},
    # pkg/apis/discovery/v1/defaults.go
    "discovery.v1.EndpointPort": {"name": "", "protocol": "TCP"},
    # pkg/apis/storage/v1/defaults.go
    "storage.v1.StorageClass": {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    "storage.v1.CSIDriverSpec": {
        "attachRequired": True,
        "podInfoOnMount": False,
        "storageCapacity": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "requiresRepublish": False,
    },
    # pkg/apis/scheduling/v1/defaults.go
    "scheduling.v1.PriorityClass": {"preemptionPolicy": "PreemptLowerPriority"},
    # pkg/apis/authentication/v1/defaults.go
    "authentication.v1.TokenRequestSpec": {"expirationSeconds": 3600},
    # pkg/apis/admissionregistration/v1/defaults.go
    "admissionregistration.v1.ValidatingWebhook": {
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "timeoutSeconds": 10,
    },
    "admissionregistration.v1.MutatingWebhook": {
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "timeoutSeconds": 10,
        "reinvocationPolicy": "Never",
    },
    "admissionregistration.v1.RuleWithOperations": {"scope": "*"},
    "admissionregistration.v1.NamedRuleWithOperations": {"scope": "*"},
    "admissionregistration.v1.ServiceReference": {"port": 443},
    "admissionregistration.v1.ValidatingAdmissionPolicySpec": {"failurePolicy": "Fail"},
    "admissionregistration.v1.MutatingAdmissionPolicySpec": {"failurePolicy": "Fail"},
    "admissionregistration.v1.MatchResources": {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}},
    # apiextensions-apiserver/pkg/apis/apiextensions/v1/defaults.go; kube-aggregator/pkg/apis/apiregistration/v1/defaults.go
    "apiextensions.v1.CustomResourceDefinitionSpec": {"conversion": {"strategy": "None"}},
    "apiextensions.v1.ServiceReference": {"port": 443},
    "apiregistration.v1.ServiceReference": {"port": 443},
    # pkg/apis/flowcontrol/v1/defaults.go
    "flowcontrol.v1.ExemptPriorityLevelConfiguration": {"nominalConcurrencyShares": 0, "lendablePercent": 0},
    "flowcontrol.v1.LimitedPriorityLevelConfiguration": {"nominalConcurrencyShares": 30, "lendablePercent": 0},
}

ZERO: dict[str, dict[str, Any]] = {
    # pkg/apis/core/v1/defaults.go
    "core.v1.PodSpec": {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"},
    "core.v1.Container": {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"},
    "core.v1.EphemeralContainer": {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"},
    "core.v1.ContainerPort": {"protocol": "TCP"},
    "core.v1.Probe": {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    "core.v1.HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    "core.v1.ObjectFieldSelector": {"apiVersion": "v1"},
    "core.v1.Secret": {"type": "Opaque"},
    "core.v1.PersistentVolumeSpec": {"persistentVolumeReclaimPolicy": "Retain"},
    "core.v1.ServiceSpec": {"sessionAffinity": "None", "type": "ClusterIP"},
    "core.v1.EndpointPort": {"protocol": "TCP"},
    "core.v1.ISCSIVolumeSource": {"iscsiInterface": "default"},
    "core.v1.ISCSIPersistentVolumeSource": {"iscsiInterface": "default"},
    "core.v1.RBDVolumeSource": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "core.v1.RBDPersistentVolumeSource": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "core.v1.ScaleIOVolumeSource": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
    "core.v1.ScaleIOPersistentVolumeSource": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
    # pkg/apis/apps/v1/defaults.go
    "apps.v1.StatefulSetSpec": {"podManagementPolicy": "OrderedReady"},
    "apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    # pkg/apis/batch/v1/defaults.go
    "batch.v1.CronJobSpec": {"concurrencyPolicy": "Allow"},
    "batch.v1.PodFailurePolicyOnPodConditionsPattern": {"status": "True"},
    # pkg/apis/rbac/v1/defaults.go
    "rbac.v1.RoleRef": {"apiGroup": "rbac.authorization.k8s.io"},
    # pkg/apis/storage/v1/defaults.go
    "storage.v1.CSIDriverSpec": {"volumeLifecycleModes": ["Persistent"]},
    # pkg/apis/flowcontrol/v1/defaults.go
    "flowcontrol.v1.FlowSchemaSpec": {"matchingPrecedence": 1000},
    "flowcontrol.v1.QueuingConfiguration": {"handSize": 8, "queues": 64, "queueLengthLimit": 50},
}


def _rule(absent: dict[str, Any], zero: dict[str, Any], function: Callable[[Object], None] | None) -> Callable[[Object], None]:
    def rule(value: Object) -> None:
        for name, default in absent.items():
            if name not in value:
                value[name] = copy.deepcopy(default) if isinstance(default, dict) else default
        for name, default in zero.items():
            if not value.get(name):
                value[name] = list(default) if isinstance(default, list) else default
        if function is not None:
            function(value)

    return rule


RULES: dict[str, Callable[[Object], None]] = {
    name: _rule(ABSENT.get(name, {}), ZERO.get(name, {}), FUNCTIONS.get(name)) for name in ABSENT.keys() | ZERO.keys() | FUNCTIONS.keys()
}
for _version in ("v1alpha1", "v1beta1"):
    # pkg/apis/admissionregistration/VERSION/defaults.go: the policies' older versions have the same rules.
    for _kind in ("MutatingAdmissionPolicySpec", "MatchResources", "NamedRuleWithOperations"):
        RULES[f"admissionregistration.{_version}.{_kind}"] = RULES[f"admissionregistration.v1.{_kind}"]
# In resource.k8s.io/v1beta1 the request has no `exactly`: its fields stand in DeviceRequest itself.
for _name in ("v1beta1.DeviceRequest", "v1beta1.DeviceSubRequest", "v1beta2.ExactDeviceRequest", "v1beta2.DeviceSubRequest"):
    RULES[f"resource.{_name}"] = RULES["resource.v1.ExactDeviceRequest"]
