"""What must hold in a cluster that has come to rest, whatever was done to it. Each check returns what is wrong, in words."""

from collections.abc import Callable, Sequence

from apiserver.machinery.conditions import is_true
from apiserver.machinery.objects import Object, controller_of, is_terminating, key_of, labels_of, name_of, namespace_of, uid_of

World = dict[str, Sequence[Object]]
"""Objects by kind: pods, replicasets, deployments, services, endpointslices."""


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


def no_orphans(world: World) -> list[str]:
    """Whoever has an owner has one that exists."""
    uids = {uid_of(obj) for kind in world.values() for obj in kind}
    return [
        f"{kind} {key_of(obj)} belongs to {reference['kind']} {reference['name']}, which is gone"
        for kind in ("pods", "replicasets", "endpointslices")
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


CHECKS: tuple[Callable[[World], list[str]], ...] = (replica_counts, no_orphans, endpoints_are_ready_pods, one_pod_an_address)


def broken(world: World) -> list[str]:
    return [text for check in CHECKS for text in check(world)]


def _owner_uid(obj: Object) -> str:
    return (controller_of(obj) or {}).get("uid", "")
