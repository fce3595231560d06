"""From a pod's spec to what the runtime is told: sandbox and container configurations. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from agents.kubelet import pods
from agents.kubelet.environment import ConfigError, expand
from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import ContainerConfig, Image, Mount, PortMapping, Resources, SandboxConfig, Security
from apiserver.machinery.objects import Object, name_of, namespace_of, uid_of
from apiserver.machinery.quantity import parse

POD_NAME, POD_NAMESPACE, POD_UID, CONTAINER = (
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
    "io.kubernetes.pod.uid",
    "io.kubernetes.container.name",
)
HASH = "io.kubernetes.container.hash"
MESSAGE_PATH, MESSAGE_POLICY, MESSAGE_FILE = (
    "io.kubernetes.container.terminationMessagePath",
    "io.kubernetes.container.terminationMessagePolicy",
    "keelson.dev/termination-message-file",
)
HOSTNAME_MAX = 63
MIN_SHARES, GUARANTEED_OOM, BEST_EFFORT_OOM = 2, -997, 1000


class Dns(Struct, frozen=True):
    """`servers` are the cluster's; the rest is what the node itself uses."""

    servers: tuple[str, ...] = ()
    domain: str = "cluster.local"
    node_servers: tuple[str, ...] = ()
    node_searches: tuple[str, ...] = ()
    node_options: tuple[str, ...] = ()


class Profiles(Struct, frozen=True):
    """Of seccomp: the folder where a node has its own, and whether RuntimeDefault is what pods have that say nothing (--seccomp-default)."""

    folder: str = ""
    default: bool = False


def hostname_of(pod: Object) -> str:
    return str(pod["spec"].get("hostname") or name_of(pod))[:HOSTNAME_MAX].rstrip("-.")


def sandbox_config(pod: Object, attempt: int, log_folder: str, dns: Dns, pids_limit: int = 0) -> SandboxConfig:
    spec = pod["spec"]
    servers, searches, options = resolver(pod, dns)
    return SandboxConfig(
        name=name_of(pod),
        namespace=namespace_of(pod),
        uid=uid_of(pod),
        attempt=attempt,
        hostname=hostname_of(pod),
        log_folder=log_folder,
        host_network=pods.host_network(pod),
        host_pid=bool(spec.get("hostPID")),
        host_ipc=bool(spec.get("hostIPC")),
        share_pids=bool(spec.get("shareProcessNamespace")),
        cgroup=f"pod{uid_of(pod)}",
        resources=pod_resources(pod, pids_limit),
        dns_servers=servers,
        dns_searches=searches,
        dns_options=options,
        ports=() if pods.host_network(pod) else port_mappings(pod),
        sysctls={each["name"]: str(each["value"]) for each in (spec.get("securityContext") or {}).get("sysctls") or ()},
        labels={POD_NAME: name_of(pod), POD_NAMESPACE: namespace_of(pod), POD_UID: uid_of(pod)},
    )


def port_mappings(pod: Object) -> tuple[PortMapping, ...]:
    """The ports of the node that its containers ask for; those of sidecars too."""
    sidecars = (each for each in pods.init_containers(pod) if each.get("restartPolicy") == "Always")
    return tuple(
        PortMapping(int(port["hostPort"]), int(port["containerPort"]), port.get("protocol") or "TCP", port.get("hostIP") or "")
        for container in (*pods.containers(pod), *sidecars)
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def resolver(pod: Object, dns: Dns) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Servers, searches and options of /etc/resolv.conf (kubelet's network/dns)."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and (pods.host_network(pod) or not dns.servers):
        policy = "Default"
    if policy == "None":
        servers, searches, options = list[str](), list[str](), list[str]()
    elif policy == "Default":
        servers, searches, options = list(dns.node_servers), list(dns.node_searches), list(dns.node_options)
    else:
        domain = dns.domain
        servers = list(dns.servers)
        searches = [f"{namespace_of(pod)}.svc.{domain}", f"svc.{domain}", domain, *dns.node_searches]
        options = ["ndots:5"]
    extra = spec.get("dnsConfig") or {}
    servers += extra.get("nameservers") or ()
    searches += extra.get("searches") or ()
    named = {each["name"]: f"{each['name']}:{each['value']}" if each.get("value") else each["name"] for each in extra.get("options") or ()}
    options = [each for each in options if each.partition(":")[0] not in named] + list(named.values())
    return tuple(dict.fromkeys(servers)), tuple(dict.fromkeys(searches)), tuple(options)


def spec_hash(container: Object) -> str:
    """Of what makes a running container another one; only the image can change in a pod that stands."""
    return hashlib.sha256(f"{container['name']}\0{container.get('image', '')}".encode()).hexdigest()[:16]


def container_config(
    pod: Object,
    container: Object,
    *,
    attempt: int,
    image: Image,
    environment: Mapping[str, str],
    mounts: Sequence[Mount],
    message_file: str,
    memory_capacity_bytes: int,
    profiles: Profiles,
    target: str = "",
) -> ContainerConfig:
    """Raises ConfigError."""
    message_path = container.get("terminationMessagePath") or "/dev/termination-log"
    return ContainerConfig(
        name=container["name"],
        image=image.tags[0] if image.tags else image.id,
        attempt=attempt,
        command=tuple(expand(each, environment) for each in container.get("command") or ()),
        args=tuple(expand(each, environment) for each in container.get("args") or ()),
        working_dir=container.get("workingDir") or "",
        env=tuple(environment.items()),
        mounts=(*mounts, Mount(message_file, message_path)),
        log_path=f"{container['name']}/{attempt}.log",
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        target=target,
        resources=resources(pod, container, memory_capacity_bytes),
        security=security(pod, container, image, profiles),
        labels={POD_NAME: name_of(pod), POD_NAMESPACE: namespace_of(pod), POD_UID: uid_of(pod), CONTAINER: container["name"]},
        annotations={
            HASH: spec_hash(container),
            MESSAGE_PATH: message_path,
            MESSAGE_POLICY: container.get("terminationMessagePolicy") or "File",
            MESSAGE_FILE: message_file,
        },
    )


def resources(pod: Object, container: Object, memory_capacity_bytes: int) -> Resources:
    zero = parse("0")
    requests, limits = pods.quantities(container, "requests"), pods.quantities(container, "limits")
    limit_milli = limits.get("cpu", zero).milli_value
    request_milli = requests["cpu"].milli_value if "cpu" in requests else limit_milli
    return Resources(
        cpu_shares=max(request_milli * 1024 // 1000, MIN_SHARES),
        cpu_limit_milli=limit_milli,
        memory_limit_bytes=limits.get("memory", zero).value,
        oom_score_adj=oom_score(pod, requests.get("memory", limits.get("memory", zero)).value, memory_capacity_bytes),
    )


def pod_resources(pod: Object, pids_limit: int) -> Resources:
    """What a pod may use as a whole: a limit only where each of its containers has one (kubelet's ResourceConfigForPod)."""
    containers = [*pods.init_containers(pod), *pods.containers(pod)]
    limited = {name for name in ("cpu", "memory") if all(name in pods.quantities(each, "limits") for each in containers)}
    limits = {name: pods.peak(pod, "limits", name) for name in limited}
    return Resources(
        cpu_shares=max(pods.requested(pod, "cpu").milli_value * 1024 // 1000, MIN_SHARES),
        cpu_limit_milli=limits["cpu"].milli_value if "cpu" in limits else 0,
        memory_limit_bytes=limits["memory"].value if "memory" in limits else 0,
        pids_limit=max(pids_limit, 0),
    )


def oom_score(pod: Object, request_bytes: int, capacity_bytes: int) -> int:
    """Whom the kernel kills first when the node has no memory left (kubelet's qos policy)."""
    if pod["spec"].get("priority") is not None and int(pod["spec"]["priority"]) >= 2_000_000_000:
        return GUARANTEED_OOM
    match pods.qos_class(pod):
        case "Guaranteed":
            return GUARANTEED_OOM
        case "BestEffort":
            return BEST_EFFORT_OOM
    score = 1000 - (1000 * request_bytes) // max(capacity_bytes, 1)
    return min(max(score, 1000 + GUARANTEED_OOM), BEST_EFFORT_OOM - 1)


def security(pod: Object, container: Object, image: Image, profiles: Profiles) -> Security:
    """The container's word before the pod's. Raises ConfigError where runAsNonRoot cannot hold."""
    whole, own = pod["spec"].get("securityContext") or {}, container.get("securityContext") or {}

    def either(name: str) -> Any:
        value = own.get(name)
        return whole.get(name) if value is None else value

    user, group = either("runAsUser"), either("runAsGroup")
    if either("runAsNonRoot"):
        _check_not_root(pod, container, image, user)
    groups = [int(each) for each in whole.get("supplementalGroups") or ()]
    if whole.get("fsGroup") is not None:
        groups.append(int(whole["fsGroup"]))
    named = "" if user is None else str(user)
    if group is not None:
        named = f"{named or (image.username or image.uid or 0)}:{group}"
    capabilities = own.get("capabilities") or {}
    return Security(
        user=named,
        groups=tuple(groups),
        privileged=bool(own.get("privileged")),
        added=tuple(capabilities.get("add") or ()),
        dropped=tuple(capabilities.get("drop") or ()),
        no_new_privs=own.get("allowPrivilegeEscalation") is False,
        readonly_root=bool(own.get("readOnlyRootFilesystem")),
        seccomp=_seccomp(either("seccompProfile"), profiles),
        unmasked=own.get("procMount") == "Unmasked",
        strict_groups=whole.get("supplementalGroupsPolicy") == "Strict",
    )


def _seccomp(profile: Object | None, profiles: Profiles) -> str:
    match (profile or {}).get("type", "RuntimeDefault" if profiles.default else ""):
        case "RuntimeDefault":
            return base.RUNTIME_DEFAULT
        case "Localhost":
            name = (profile or {}).get("localhostProfile") or ""
            if not name:
                raise ConfigError("localhostProfile must be set if seccompProfile type is Localhost.")
            if name.startswith("/") or ".." in name.split("/"):
                raise ConfigError(f"localhostProfile {name!r} must be a path below {profiles.folder}, without '..'")
            return f"{base.LOCALHOST}{profiles.folder}/{name}"
    return ""


def _check_not_root(pod: Object, container: Object, image: Image, user: Any) -> None:
    where = f'(pod: "{pods.described(pod)}", container: {container["name"]})'
    if user is not None:
        if int(user) == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
    elif image.uid == 0:
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    elif image.uid is None and image.username:
        raise ConfigError(f"container has runAsNonRoot and image has non-numeric user ({image.username}), cannot verify user is non-root {where}")
