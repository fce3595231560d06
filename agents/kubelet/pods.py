"""Small questions to a pod that every part of the kubelet asks. Pure."""

from collections.abc import Iterator
from typing import Any

from apiserver.machinery.objects import Object, annotations_of, name_of, namespace_of, uid_of
from apiserver.machinery.quantity import parse

CONFIG_SOURCE, CONFIG_HASH, CONFIG_MIRROR = "kubernetes.io/config.source", "kubernetes.io/config.hash", "kubernetes.io/config.mirror"
DEFAULT_GRACE_S = 30
CRITICAL_PRIORITY = 2_000_000_000


def containers(pod: Object) -> list[Object]:
    return list(pod["spec"].get("containers") or ())


def init_containers(pod: Object) -> list[Object]:
    return list(pod["spec"].get("initContainers") or ())


def ephemeral_containers(pod: Object) -> list[Object]:
    return list(pod["spec"].get("ephemeralContainers") or ())


def every_container(pod: Object) -> Iterator[Object]:
    yield from init_containers(pod)
    yield from containers(pod)
    yield from ephemeral_containers(pod)


def container_named(pod: Object, name: str) -> Object | None:
    return next((each for each in every_container(pod) if each["name"] == name), None)


def told_statuses(pod: Object) -> Iterator[Object]:
    """Of every container, as the API server has it."""
    status = pod.get("status") or {}
    for field in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        yield from status.get(field) or ()


def is_sidecar(container: Object) -> bool:
    """An init container that runs as long as the pod."""
    return container.get("restartPolicy") == "Always"


def long_running(pod: Object) -> list[Object]:
    """Those that belong to a pod that runs: its containers and its sidecars."""
    return [each for each in init_containers(pod) if is_sidecar(each)] + containers(pod)


def restart_policy(pod: Object) -> str:
    return str(pod["spec"].get("restartPolicy") or "Always")


def described(pod: Object) -> str:
    """`web-1_default(uid)`: how messages name a pod."""
    return f"{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})"


def is_static(pod: Object) -> bool:
    """From a file, or the mirror that stands for it in the API."""
    return annotations_of(pod).get(CONFIG_SOURCE, "api") != "api"


def is_mirror(pod: Object) -> bool:
    return CONFIG_MIRROR in annotations_of(pod)


def is_critical(pod: Object) -> bool:
    """Never evicted: static pods, and what the cluster cannot do without."""
    return is_static(pod) or int(pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY


def grace_s(pod: Object) -> int:
    """How long its containers have to end."""
    given = pod["metadata"].get("deletionGracePeriodSeconds")
    if given is None:
        given = pod["spec"].get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE_S if given is None else int(given)


def host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def quantities(container: Object, which: str) -> dict[str, Any]:
    """`which`: requests or limits."""
    return {name: parse(value) for name, value in ((container.get("resources") or {}).get(which) or {}).items()}


def qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from cpu and memory alone (pkg/apis/core/v1/helper/qos)."""
    guaranteed, any_set = True, False
    for container in [*init_containers(pod), *containers(pod)]:
        requests = {name: value for name, value in quantities(container, "requests").items() if name in ("cpu", "memory") and value}
        limits = {name: value for name, value in quantities(container, "limits").items() if name in ("cpu", "memory") and value}
        any_set = any_set or bool(requests or limits)
        if set(limits) != {"cpu", "memory"} or any(requests.get(name, limit) != limit for name, limit in limits.items()):
            guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def requested(pod: Object, name: str) -> Any:
    """What a pod asks of a resource."""
    return peak(pod, "requests", name)


def peak(pod: Object, which: str, name: str) -> Any:
    """`which`: requests or limits. The sum of what runs together, or the largest moment of the pod's start (KEP-753), and its overhead."""
    zero = parse("0")
    sidecars, peak = zero, zero
    for container in init_containers(pod):
        asked = quantities(container, which).get(name, zero)
        if is_sidecar(container):
            sidecars = sidecars + asked
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + asked)
    total = sidecars
    for container in containers(pod):
        total = total + quantities(container, which).get(name, zero)
    return max(total, peak) + parse((pod["spec"].get("overhead") or {}).get(name, "0"))
