"""Every controller of the controller manager by its name (cmd/kube-controller-manager/names), and how it is made."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from agents.controllers import (
    certificates,
    clusterrole_aggregation,
    cronjob,
    daemonset,
    deployment,
    disruption,
    endpoints_controller,
    endpointslice,
    endpointslice_mirroring,
    garbage,
    hpa,
    job,
    local_path,
    namespace,
    node_lifecycle,
    persistent_volumes,
    pod_gc,
    replicaset,
    resourcequota,
    service_account_tokens,
    serviceaccount,
    statefulset,
    taint_eviction,
    tokencleaner,
    ttl_after_finished,
)
from agents.kit.controller import Context
from agents.kit.flags import Flags


class Runs(Protocol):
    """What the manager needs of a controller; `agents.kit.controller.Controller` is one."""

    name: str

    async def run(self) -> None:
        """Until cancelled."""


class Entry(Struct, frozen=True):
    """`syncs_flag` names the flag that sets its number of workers (--concurrent-...-syncs), if it has one."""

    make: Callable[[Context, argparse.Namespace], Runs | None]
    """None: the flags that it needs are not given."""
    syncs_flag: str = ""
    syncs: int = 0
    on_by_default: bool = True
    flags: Callable[[Flags], None] | None = None
    """Adds flags of its own."""


def plain(kind: Callable[[Context], Runs], syncs_flag: str = "", syncs: int = 0) -> Entry:
    """A controller that needs no flags but the number of its workers."""

    def make(context: Context, arguments: argparse.Namespace) -> Runs:
        controller = kind(context)
        if syncs_flag:
            controller.workers = getattr(arguments, syncs_flag.removeprefix("--").replace("-", "_"))  # type: ignore[attr-defined]
        return controller

    return Entry(make, syncs_flag, syncs)


def _root_certificates(context: Context, arguments: argparse.Namespace) -> Runs | None:
    if not arguments.root_ca_file:
        return None
    return serviceaccount.RootCertificates(context, serviceaccount.root_certificates(arguments.root_ca_file))


def _service_account_tokens(context: Context, arguments: argparse.Namespace) -> Runs | None:
    if not arguments.service_account_private_key_file:
        return None
    certificates = serviceaccount.root_certificates(arguments.root_ca_file) if arguments.root_ca_file else ""
    sign = service_account_tokens.signer(arguments.service_account_private_key_file)
    return service_account_tokens.ServiceAccountTokens(context, sign, certificates)


TABLE: Mapping[str, Entry] = {
    "namespace-controller": plain(namespace.Namespaces, "--concurrent-namespace-syncs", 10),
    "serviceaccount-controller": plain(serviceaccount.ServiceAccounts),
    "serviceaccount-token-controller": Entry(_service_account_tokens),
    "root-ca-certificate-publisher-controller": Entry(_root_certificates),
    "job-controller": plain(job.Jobs, "--concurrent-job-syncs", 5),
    "cronjob-controller": plain(cronjob.CronJobs, "--concurrent-cron-job-syncs", 5),
    "ttl-after-finished-controller": plain(ttl_after_finished.TtlAfterFinished, "--concurrent-ttl-after-finished-syncs", 5),
    "statefulset-controller": plain(statefulset.StatefulSets, "--concurrent-statefulset-syncs", 5),
    "daemonset-controller": plain(daemonset.DaemonSets, "--concurrent-daemonset-syncs", 2),
    "clusterrole-aggregation-controller": plain(clusterrole_aggregation.ClusterRoleAggregation),
    "endpointslice-mirroring-controller": plain(endpointslice_mirroring.EndpointSliceMirroring, "--mirroring-concurrent-service-endpoint-syncs", 5),
    "garbage-collector-controller": plain(garbage.GarbageCollector, "--concurrent-gc-syncs", 20),
    "replicationcontroller-controller": plain(replicaset.ReplicationControllers, "--concurrent-rc-syncs", 5),
    "endpoints-controller": plain(endpoints_controller.EndpointsController, "--concurrent-endpoint-syncs", 5),
    "endpointslice-controller": plain(endpointslice.EndpointSlices, "--concurrent-service-endpoint-syncs", 5),
    "deployment-controller": plain(deployment.Deployments, "--concurrent-deployment-syncs", 5),
    "replicaset-controller": plain(replicaset.ReplicaSets, "--concurrent-replicaset-syncs", 5),
    "pod-garbage-collector-controller": Entry(pod_gc.PodGarbageCollector.made, flags=pod_gc.flags),
    "node-lifecycle-controller": Entry(node_lifecycle.NodeLifecycle.made, flags=node_lifecycle.flags),
    "resourcequota-controller": Entry(resourcequota.ResourceQuotas.made, "--concurrent-resource-quota-syncs", 5, flags=resourcequota.flags),
    "disruption-controller": plain(disruption.Disruptions),
    "persistentvolume-binder-controller": plain(persistent_volumes.Binder),
    "persistentvolumeclaim-protection-controller": plain(persistent_volumes.ClaimProtection),
    "persistentvolume-protection-controller": plain(persistent_volumes.VolumeProtection),
    "ephemeral-volume-controller": plain(persistent_volumes.EphemeralVolumes, "--concurrent-ephemeralvolume-syncs", 5),
    "local-path-provisioner": Entry(local_path.LocalPath.made, flags=local_path.flags),
    "certificatesigningrequest-approving-controller": plain(certificates.Approver),
    "certificatesigningrequest-signing-controller": Entry(certificates.Signer.made),
    "certificatesigningrequest-cleaner-controller": plain(certificates.Cleaner),
    "token-cleaner-controller": Entry(lambda context, arguments: tokencleaner.TokenCleaner(context), on_by_default=False),
    "horizontal-pod-autoscaler-controller": Entry(hpa.Autoscalers.made, "--concurrent-horizontal-pod-autoscaler-syncs", 5, flags=hpa.flags),
    "taint-eviction-controller": plain(taint_eviction.TaintEviction),
}


def chosen(wanted: Sequence[str]) -> list[str]:
    """The controllers that --controllers names: `*` all that are on by default, `foo` this one, `-foo` not this one. Raises ValueError for a
    stranger."""
    for each in wanted:
        if each != "*" and each.removeprefix("-") not in TABLE:
            raise ValueError(f"{each.removeprefix('-')!r} is not in the list of known controllers: {', '.join(sorted(TABLE))}")
    return [name for name, entry in TABLE.items() if f"-{name}" not in wanted and (name in wanted or ("*" in wanted and entry.on_by_default))]
