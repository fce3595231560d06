"""What must hold in a cluster that has come to rest, whatever was done to it. Each check returns what is wrong, in words."""

from collections.abc import Callable, Sequence

from apiserver.client.rest import Client
from apiserver.machinery.conditions import is_true
from apiserver.machinery.objects import Object, controller_of, is_terminating, key_of, labels_of, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource

World = dict[str, Sequence[Object]]
"""Objects by kind, with the names of `KINDS`."""
KINDS = {
    "pods": "pods",
    "replicasets": "replicasets.apps",
    "deployments": "deployments.apps",
    "statefulsets": "statefulsets.apps",
    "daemonsets": "daemonsets.apps",
    "jobs": "jobs.batch",
    "cronjobs": "cronjobs.batch",
    "services": "services",
    "endpointslices": "endpointslices.discovery.k8s.io",
}


async def look(client: Client, namespace: str) -> World:
    """Raises ApiError, Unreachable."""
    return {name: await client.list_all(resource(kind), namespace) for name, kind in KINDS.items()}


def replica_counts(world: World) -> list[str]:
    """Every deployment has just the ready pods that it asks for, through one replica set."""
    wrong = []
    for deployment in world["deployments"]:
        wanted = deployment["spec"]["replicas"]
        sets = [each for each in world["replicasets"] if _owner_uid(each) == uid_of(deployment) and each["spec"]["replicas"]]
        pods = [pod for each in sets for pod in world["pods"] if _owner_uid(pod) == uid_of(each) and not is_terminating(pod)]
        ready = sum(is_true(pod, "Ready") for pod in pods)
        if (len(pods), ready, len(sets)) != (wanted, wanted, min(wanted, 1)):
            wrong.append(f"{key_of(deployment)} wants {wanted} pods: {len(pods)} there, {ready} ready, of {len(sets)} replica sets")
    return wrong


def set_counts(world: World) -> list[str]:
    """Every stateful set has its pods 0, 1, 2, ... and no others, each ready."""
    wrong = []
    for owner in world["statefulsets"]:
        wanted = {f"{name_of(owner)}-{number}" for number in range(owner["spec"]["replicas"])}
        pods = [pod for pod in world["pods"] if _owner_uid(pod) == uid_of(owner)]
        ready = {name_of(pod) for pod in pods if is_true(pod, "Ready") and not is_terminating(pod)}
        if ready != wanted or len(pods) != len(wanted):
            wrong.append(f"{key_of(owner)} wants {sorted(wanted)}: {len(pods)} there, ready are {sorted(ready)}")
    return wrong


def jobs_are_done(world: World) -> list[str]:
    """Every job has succeeded just as often as it asks for by its own account, no less by its pods, and nothing of it runs on. Kubernetes promises no
    more: what a server took and never answered for may come after the controller, or its successor, has looked, and a pod be there twice. It counts
    once."""
    wrong = []
    for job in world["jobs"]:
        wanted = job["spec"].get("completions", 1)
        status = job.get("status") or {}
        phases = [pod["status"]["phase"] for pod in world["pods"] if _owner_uid(pod) == uid_of(job)]
        done = (status.get("succeeded", 0), status.get("active", 0)) == (wanted, 0) and phases.count("Succeeded") >= wanted
        if not done or "Running" in phases:
            wrong.append(f"{key_of(job)} wants {wanted} successes: status {status}, its pods are {phases}")
    return wrong


def nothing_is_stuck(world: World) -> list[str]:
    """No pod is on its way any more, neither up nor down."""
    wrong = []
    for pod in world["pods"]:
        waiting = [
            each["state"]["waiting"].get("reason") for each in (pod.get("status") or {}).get("containerStatuses") or () if "waiting" in each["state"]
        ]
        if is_terminating(pod):
            wrong.append(f"pod {key_of(pod)} is terminating since {pod['metadata']['deletionTimestamp']}")
        elif pod["status"].get("phase") not in ("Running", "Succeeded", "Failed") or waiting:
            wrong.append(f"pod {key_of(pod)} is {pod['status'].get('phase')}, waiting: {waiting}")
    return wrong


def no_orphans(world: World) -> list[str]:
    """Whoever has an owner has one that exists."""
    uids = {uid_of(obj) for kind in world.values() for obj in kind}
    return [
        f"{kind} {key_of(obj)} belongs to {reference['kind']} {reference['name']}, which is gone"
        for kind in ("pods", "replicasets", "jobs", "endpointslices")
        for obj in world[kind]
        for reference in obj["metadata"].get("ownerReferences") or ()
        if reference["uid"] not in uids
    ]


def endpoints_are_ready_pods(world: World) -> list[str]:
    """A service's ready endpoints are the addresses of the ready pods that it selects, no more and no fewer."""
    wrong = []
    for service in world["services"]:
        selector = service["spec"].get("selector")
        if not selector:
            continue
        expected = {
            pod["status"]["podIP"]
            for pod in world["pods"]
            if namespace_of(pod) == namespace_of(service)
            and selector.items() <= labels_of(pod).items()
            and is_true(pod, "Ready")
            and not is_terminating(pod)
        }
        found = {
            address
            for part in world["endpointslices"]
            if namespace_of(part) == namespace_of(service) and labels_of(part).get("kubernetes.io/service-name") == name_of(service)
            for endpoint in part.get("endpoints") or ()
            if endpoint["conditions"].get("ready")
            for address in endpoint["addresses"]
        }
        if found != expected:
            wrong.append(f"{key_of(service)} leads to {sorted(found)}, its ready pods are {sorted(expected)}")
    return wrong


def one_pod_an_address(world: World) -> list[str]:
    seen: dict[str, str] = {}
    wrong = []
    for pod in world["pods"]:
        address = (pod.get("status") or {}).get("podIP")
        if address and not pod["spec"].get("hostNetwork") and pod["status"]["phase"] == "Running":
            if address in seen:
                wrong.append(f"{key_of(pod)} and {seen[address]} both have {address}")
            seen[address] = key_of(pod)
    return wrong


CHECKS: tuple[Callable[[World], list[str]], ...] = (
    replica_counts,
    set_counts,
    jobs_are_done,
    nothing_is_stuck,
    no_orphans,
    endpoints_are_ready_pods,
    one_pod_an_address,
)


def broken(world: World) -> list[str]:
    return [text for check in CHECKS for text in check(world)]


def _owner_uid(obj: Object) -> str:
    return (controller_of(obj) or {}).get("uid", "")
