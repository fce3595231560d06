"""The Pod Security Standards, baseline and restricted (pod-security-admission/policy, check_*.go). Pure.

Each check says what is wrong with a pod: a reason, and the detail that names containers and volumes. Restricted has all of baseline's but for those
that one of its own covers.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

from apiserver.machinery.objects import Object, annotations_of

PRIVILEGED, BASELINE, RESTRICTED = "privileged", "baseline", "restricted"
LEVELS = (PRIVILEGED, BASELINE, RESTRICTED)

DEFAULT_CAPABILITIES = frozenset(
    (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)
SAFE_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        *(f"net.ipv4.{name}" for name in ("ip_local_port_range", "ip_unprivileged_port_start", "tcp_syncookies", "ping_group_range")),
        *(f"net.ipv4.{name}" for name in ("ip_local_reserved_ports", "tcp_keepalive_time", "tcp_fin_timeout", "tcp_keepalive_intvl")),
        "net.ipv4.tcp_keepalive_probes",
    )
)
SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
VOLUME_TYPES = frozenset(("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"))
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


class Fault(Struct, frozen=True):
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Check = Callable[[Object, Object], Fault | None]
"""(metadata and all, spec)"""


def faults(level: str, pod: Object) -> list[Fault]:
    """Why a pod does not meet a level, by the names of the checks; none if it does."""
    if level == PRIVILEGED:
        return []
    spec = pod.get("spec") or {}
    checks = (
        BASELINE_CHECKS if level == BASELINE else {**{name: check for name, check in BASELINE_CHECKS.items() if name not in COVERED}, **OWN_CHECKS}
    )
    found = (checks[name](pod, spec) for name in sorted(checks))
    return [fault for fault in found if fault is not None]


def _containers(spec: Object) -> Iterator[Object]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def _security(holder: Object) -> Object:
    return holder.get("securityContext") or {}


def _named(word: str, names: list[str]) -> str:
    return f"{word}{'s' if len(names) > 1 else ''} {', '.join(_quoted(name) for name in names)}"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _bad(spec: Object, is_bad: Callable[[Object], bool]) -> list[str]:
    return [str(each.get("name") or "") for each in _containers(spec) if is_bad(each)]


def _is_windows(spec: Object) -> bool:
    return (spec.get("os") or {}).get("name") == "windows"


# --- baseline ---------------------------------------------------------------------------------------------------------


def _app_armor(pod: Object, spec: Object) -> Fault | None:
    told = []
    for holder, name in [(spec, "pod"), *((each, f'container "{each.get("name")}"') for each in _containers(spec))]:
        kind = (_security(holder).get("appArmorProfile") or {}).get("type")
        if kind not in (None, "RuntimeDefault", "Localhost"):
            told.append(f'{name} must not set AppArmor profile type to "{kind}"')
    for key, value in annotations_of(pod).items():
        if key.startswith(APPARMOR) and value not in ("", "runtime/default") and not value.startswith("localhost/"):
            told.append(f'{_quoted(key)}="{value}"')
    return Fault("forbidden AppArmor profiles" if len(told) > 1 else "forbidden AppArmor profile", "; ".join(told)) if told else None


def _capabilities(pod: Object, spec: Object) -> Fault | None:
    added = {str(each.get("name")): [name for name in _added(each) if name not in DEFAULT_CAPABILITIES] for each in _containers(spec)}
    names = [name for name, found in added.items() if found]
    forbidden = sorted({capability for found in added.values() for capability in found})
    if not names:
        return None
    told = ", ".join(_quoted(each) for each in forbidden)
    return Fault("non-default capabilities", f"{_named('container', names)} must not include {told} in securityContext.capabilities.add")


def _added(container: Object) -> list[str]:
    return [str(each) for each in (_security(container).get("capabilities") or {}).get("add") or ()]


def _host_namespaces(pod: Object, spec: Object) -> Fault | None:
    found = [f"{key}=true" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    return Fault("host namespaces", ", ".join(found)) if found else None


def _host_paths(pod: Object, spec: Object) -> Fault | None:
    names = [str(each.get("name")) for each in spec.get("volumes") or () if each.get("hostPath") is not None]
    return Fault("hostPath volumes", _named("volume", names)) if names else None


def _host_ports(pod: Object, spec: Object) -> Fault | None:
    used = {str(each.get("name")): [port["hostPort"] for port in each.get("ports") or () if port.get("hostPort")] for each in _containers(spec)}
    names = [name for name, ports in used.items() if ports]
    ports = sorted({port for found in used.values() for port in found})
    if not names:
        return None
    verb = "uses" if len(names) == 1 else "use"
    return Fault("hostPort", f"{_named('container', names)} {verb} hostPort{'s' if len(ports) > 1 else ''} {', '.join(map(str, ports))}")


def _probe_hosts(pod: Object, spec: Object) -> Fault | None:
    names = _bad(spec, lambda container: any(_hosts(container)))
    return Fault("probe or lifecycle host", f"{_named('container', names)} must not set a host in probes and lifecycle handlers") if names else None


def _hosts(container: Object) -> Iterator[str]:
    handlers = [container.get(key) or {} for key in ("livenessProbe", "readinessProbe", "startupProbe")]
    handlers += [(container.get("lifecycle") or {}).get(key) or {} for key in ("postStart", "preStop")]
    for handler in handlers:
        for kind in ("httpGet", "tcpSocket"):
            if host := (handler.get(kind) or {}).get("host"):
                yield host


def _privileged(pod: Object, spec: Object) -> Fault | None:
    names = _bad(spec, lambda container: bool(_security(container).get("privileged")))
    return Fault("privileged", f"{_named('container', names)} must not set securityContext.privileged=true") if names else None


def _proc_mount(pod: Object, spec: Object) -> Fault | None:
    names = _bad(spec, lambda container: _security(container).get("procMount") not in (None, "Default"))
    return Fault("procMount", f'{_named("container", names)} must not set securityContext.procMount to "Unmasked"') if names else None


def _selinux(pod: Object, spec: Object) -> Fault | None:
    told: list[str] = []
    setters: list[str] = []
    for holder, name in [(spec, "pod"), *((each, f'container "{each.get("name")}"') for each in _containers(spec))]:
        options = _security(holder).get("seLinuxOptions") or {}
        wrong = [f'type "{options["type"]}"'] if options.get("type", "") not in SELINUX_TYPES else []
        wrong += [f"{key} may not be set" for key in ("user", "role") if options.get(key)]
        if wrong:
            setters.append(name)
            told += [each for each in wrong if each not in told]
    return Fault("seLinuxOptions", f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(told)}") if told else None


def _seccomp_baseline(pod: Object, spec: Object) -> Fault | None:
    setters = ["pod"] if _seccomp(spec) == "Unconfined" else []
    names = _bad(spec, lambda container: _seccomp(container) == "Unconfined")
    if names:
        setters.append(_named("container", names))
    return Fault("seccompProfile", f'{" and ".join(setters)} must not set securityContext.seccompProfile.type to "Unconfined"') if setters else None


def _seccomp(holder: Object) -> str | None:
    found = (_security(holder).get("seccompProfile") or {}).get("type")
    return None if found is None else str(found)


def _sysctls(pod: Object, spec: Object) -> Fault | None:
    found = [str(each.get("name")) for each in _security(spec).get("sysctls") or () if each.get("name") not in SAFE_SYSCTLS]
    return Fault("forbidden sysctls", ", ".join(found)) if found else None


def _host_process(pod: Object, spec: Object) -> Fault | None:
    setters = ["pod"] if (_security(spec).get("windowsOptions") or {}).get("hostProcess") else []
    names = _bad(spec, lambda container: bool((_security(container).get("windowsOptions") or {}).get("hostProcess")))
    if names:
        setters.append(_named("container", names))
    return Fault("hostProcess", f"{' and '.join(setters)} must not set securityContext.windowsOptions.hostProcess=true") if setters else None


# --- restricted -------------------------------------------------------------------------------------------------------


def _escalation(pod: Object, spec: Object) -> Fault | None:
    names = [] if _is_windows(spec) else _bad(spec, lambda container: _security(container).get("allowPrivilegeEscalation") is not False)
    told = "must set securityContext.allowPrivilegeEscalation=false"
    return Fault("allowPrivilegeEscalation != false", f"{_named('container', names)} {told}") if names else None


def _capabilities_restricted(pod: Object, spec: Object) -> Fault | None:
    if _is_windows(spec):
        return None
    keeping = _bad(spec, lambda container: "ALL" not in ((_security(container).get("capabilities") or {}).get("drop") or ()))
    adding = _bad(spec, lambda container: any(name != "NET_BIND_SERVICE" for name in _added(container)))
    told = [f'{_named("container", keeping)} must set securityContext.capabilities.drop=["ALL"]'] if keeping else []
    if adding:
        names = sorted({name for each in _containers(spec) for name in _added(each) if name != "NET_BIND_SERVICE"})
        listed = ", ".join(_quoted(name) for name in names)
        told.append(f"{_named('container', adding)} must not include {listed} in securityContext.capabilities.add")
    return Fault("unrestricted capabilities", "; ".join(told)) if told else None


def _volumes(pod: Object, spec: Object) -> Fault | None:
    bad = {}
    for volume in spec.get("volumes") or ():
        kinds = [key for key, value in volume.items() if key != "name" and value is not None]
        wrong = [kind for kind in kinds if kind not in VOLUME_TYPES]
        if wrong:
            bad[str(volume.get("name"))] = wrong[0]
    if not bad:
        return None
    types = sorted(set(bad.values()))
    verb = "uses" if len(bad) == 1 else "use"
    listed = ", ".join(_quoted(each) for each in types)
    told = f"{_named('volume', list(bad))} {verb} restricted volume type{'s' if len(types) > 1 else ''} {listed}"
    return Fault("restricted volume types", told)


def _non_root(pod: Object, spec: Object) -> Fault | None:
    of_pod = _security(spec).get("runAsNonRoot")
    setting = _bad(spec, lambda container: _security(container).get("runAsNonRoot") is False)
    lacking = [] if of_pod else _bad(spec, lambda container: _security(container).get("runAsNonRoot") is None)
    told = []
    if of_pod is False and (setting or lacking):
        told.append("pod must not set securityContext.runAsNonRoot=false")
    if setting:
        told.append(f"{_named('container', setting)} must not set securityContext.runAsNonRoot=false")
    if lacking and of_pod is None:
        told.append(f"pod or {_named('container', lacking)} must set securityContext.runAsNonRoot=true")
    return Fault("runAsNonRoot != true", "; ".join(told)) if told else None


def _user(pod: Object, spec: Object) -> Fault | None:
    setters = ["pod"] if _security(spec).get("runAsUser") == 0 else []
    names = _bad(spec, lambda container: _security(container).get("runAsUser") == 0)
    if names:
        setters.append(_named("container", names))
    return Fault("runAsUser=0", f"{' and '.join(setters)} must not set runAsUser=0") if setters else None


def _seccomp_restricted(pod: Object, spec: Object) -> Fault | None:
    if _is_windows(spec):
        return None
    good = ("RuntimeDefault", "Localhost")
    of_pod = _seccomp(spec)
    setting = _bad(spec, lambda container: _seccomp(container) not in (None, *good))
    lacking = [] if of_pod in good else _bad(spec, lambda container: _seccomp(container) is None)
    told = []
    if of_pod not in (None, *good):
        told.append(f'pod must not set securityContext.seccompProfile.type to "{of_pod}"')
    if setting:
        told.append(f'{_named("container", setting)} must not set securityContext.seccompProfile.type to "Unconfined"')
    if lacking and of_pod is None:
        told.append(f'pod or {_named("container", lacking)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"')
    return Fault("seccompProfile", "; ".join(told)) if told else None


BASELINE_CHECKS: dict[str, Check] = {
    "appArmorProfile": _app_armor,
    "capabilities_baseline": _capabilities,
    "hostNamespaces": _host_namespaces,
    "hostPathVolumes": _host_paths,
    "hostPorts": _host_ports,
    "hostProbesAndhostLifecycle": _probe_hosts,
    "privileged": _privileged,
    "procMount": _proc_mount,
    "seLinuxOptions": _selinux,
    "seccompProfile_baseline": _seccomp_baseline,
    "sysctls": _sysctls,
    "windowsHostProcess": _host_process,
}
OWN_CHECKS: dict[str, Check] = {
    "allowPrivilegeEscalation": _escalation,
    "capabilities_restricted": _capabilities_restricted,
    "restrictedVolumes": _volumes,
    "runAsNonRoot": _non_root,
    "runAsUser": _user,
    "seccompProfile_restricted": _seccomp_restricted,
}
COVERED = frozenset(("capabilities_baseline", "hostPathVolumes", "seccompProfile_baseline"))
