"""Containers (pkg/apis/core/validation, validateContainers): names, images, ports, environment, mounts, resources, probes, hooks."""

from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, duplicate, forbidden_value, invalid_value, required
from apiserver.registry.strategies import resources
from apiserver.registry.strategies.checks import at_least_zero, each, named, needed, not_found, one_of, port, port_or_name, text, unique
from apiserver.registry.strategies.volumes import local_path

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("SCTP", "TCP", "UDP")
NO_HANDLER = "must specify a handler type"
SECOND_HANDLER = "may not specify more than 1 handler type"
HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
FIELDS_OF_ENV = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.hostIP",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def containers(spec: Object, path: str, volumes: set[str]) -> list[Cause]:
    """All containers of a pod's spec. `volumes`: what they may mount."""
    found: list[Cause] = []
    if spec.get("containers") == []:
        found.append(required(f"{path}.containers"))
    seen: set[str] = set()
    ports: list[tuple[str, str]] = []
    for kind in ("containers", "initContainers"):
        for at, container in each(spec.get(kind), f"{path}.{kind}"):
            found += _container(container, at, volumes, bool(spec.get("hostNetwork")))
            name = container.get("name")
            if name and name in seen:
                found.append(duplicate(f"{at}.name", name))
            seen.add(str(name))
            if kind == "initContainers":
                found += _init(container, at)
            else:
                found += one_of(container.get("restartPolicy"), f"{at}.restartPolicy", ("Always", "Never", "OnFailure"))
                ports += [
                    (f"{below}.hostPort", f"{each_port.get('protocol')}/{each_port.get('hostIP', '')}/{each_port['hostPort']}")
                    for below, each_port in each(container.get("ports"), f"{at}.ports")
                    if each_port.get("hostPort")
                ]
    return found + unique(ports)


def ephemeral_containers(spec: Object, path: str, volumes: set[str]) -> list[Cause]:
    found: list[Cause] = []
    taken = {container.get("name") for kind in ("containers", "initContainers") for container in spec.get(kind) or ()}
    for at, container in each(spec.get("ephemeralContainers"), f"{path}.ephemeralContainers"):
        found += _container(container, at, volumes, False)
        if container.get("name") in taken:
            found.append(duplicate(f"{at}.name", container.get("name")))
        taken.add(container.get("name"))
        found += [
            forbidden_value(f"{at}.{field}", "cannot be set for an Ephemeral Container")
            for field in (*PROBES, "ports", "lifecycle", "resources", "resizePolicy")
            if container.get(field)
        ]
        target = container.get("targetContainerName")
        if target and target not in {each_of.get("name") for kind in ("containers", "initContainers") for each_of in spec.get(kind) or ()}:
            found.append(not_found(f"{at}.targetContainerName", target))
    return found


def _init(container: Object, at: str) -> list[Cause]:
    found = one_of(container.get("restartPolicy"), f"{at}.restartPolicy", ("Always", "Never", "OnFailure"))
    if container.get("restartPolicy") == "Always":
        return found
    why = "may not be set for init containers without restartPolicy=Always"
    return found + [forbidden_value(f"{at}.{field}", why) for field in ("lifecycle", *PROBES) if container.get(field)]


def _container(container: Object, at: str, volumes: set[str], host_network: bool) -> list[Cause]:
    found = text(container.get("name"), f"{at}.name") + named(container.get("name"), f"{at}.name", names.dns1123_label)
    image = container.get("image")
    if not image:
        found.append(required(f"{at}.image"))
    elif image != image.strip():
        found.append(invalid_value(f"{at}.image", image, "must not have leading or trailing whitespace"))
    found += one_of(container.get("imagePullPolicy"), f"{at}.imagePullPolicy", PULL_POLICIES)
    found += one_of(container.get("terminationMessagePolicy"), f"{at}.terminationMessagePolicy", ("File", "FallbackToLogsOnError"))
    found += _ports(container.get("ports"), f"{at}.ports", host_network)
    found += _environment(container.get("env"), f"{at}.env")
    for below, source in each(container.get("envFrom"), f"{at}.envFrom"):
        kinds = [kind for kind in ("configMapRef", "secretRef") if isinstance(source.get(kind), dict)]
        if len(kinds) != 1:
            told = "must specify one of: `configMapRef` or `secretRef`" if not kinds else "may not have more than one field specified at a time"
            found.append(invalid_value(below, "", told))
        for kind in kinds:
            found += needed(source[kind].get("name"), f"{below}.{kind}.name")
    found += _mounts(container.get("volumeMounts"), f"{at}.volumeMounts", volumes)
    found += resources.requirements(container.get("resources"), f"{at}.resources")
    for kind in PROBES:
        if isinstance(container.get(kind), dict):
            found += _probe(container[kind], f"{at}.{kind}", kind)
    for hook in ("postStart", "preStop"):
        handler = (container.get("lifecycle") or {}).get(hook)
        if isinstance(handler, dict):
            found += _handler(handler, f"{at}.lifecycle.{hook}")
    context = container.get("securityContext") or {}
    found += at_least_zero(context.get("runAsUser"), f"{at}.securityContext.runAsUser")
    if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
        found.append(invalid_value(f"{at}.securityContext", context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
    return found


def _ports(value: Any, path: str, host_network: bool) -> list[Cause]:
    found: list[Cause] = []
    for at, one in each(value, path):
        found += named(one.get("name"), f"{at}.name", names.port_name)
        number = one.get("containerPort")
        found += [required(f"{at}.containerPort")] if number == 0 else port(number, f"{at}.containerPort")
        if one.get("hostPort"):
            found += port(one["hostPort"], f"{at}.hostPort")
            if host_network and one["hostPort"] != number:
                found.append(invalid_value(f"{at}.containerPort", number, "must match `hostPort` when `hostNetwork` is true"))
        found += one_of(one.get("protocol"), f"{at}.protocol", PROTOCOLS, needed=True)
    return found + unique((f"{at}.name", one["name"]) for at, one in each(value, path) if one.get("name"))


def _environment(value: Any, path: str) -> list[Cause]:
    found: list[Cause] = []
    for at, variable in each(value, path):
        name = variable.get("name")
        found += [required(f"{at}.name")] if name == "" else named(name, f"{at}.name", names.env_name)
        source = variable.get("valueFrom")
        if isinstance(source, dict):
            found += _value_from(source, variable, f"{at}.valueFrom")
    return found


def _value_from(source: Object, variable: Object, at: str) -> list[Cause]:
    kinds = [kind for kind, inner in source.items() if isinstance(inner, dict)]
    found: list[Cause] = []
    if not kinds:
        found.append(invalid_value(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"))
    if variable.get("value"):
        found.append(invalid_value(at, "", "may not be specified when `value` is not empty"))
    if len(kinds) > 1:
        found.append(invalid_value(at, "", "may not have more than one field specified at a time"))
    for kind in kinds:
        inner, below = source[kind], f"{at}.{kind}"
        if kind in ("configMapKeyRef", "secretKeyRef"):
            found += needed(inner.get("name"), f"{below}.name") + needed(inner.get("key"), f"{below}.key")
            found += named(inner.get("key"), f"{below}.key", names.config_key)
        elif kind == "fieldRef":
            found += needed(inner.get("fieldPath"), f"{below}.fieldPath")
            wanted = inner.get("fieldPath") or ""
            subscripted = wanted.startswith(("metadata.labels['", "metadata.annotations['")) and wanted.endswith("']")
            if wanted and not subscripted and wanted not in FIELDS_OF_ENV:
                found += one_of(wanted, f"{below}.fieldPath", FIELDS_OF_ENV)
        elif kind == "resourceFieldRef":
            found += needed(inner.get("resource"), f"{below}.resource")
    return found


def _mounts(value: Any, path: str, volumes: set[str]) -> list[Cause]:
    found: list[Cause] = []
    for at, mount in each(value, path):
        name = mount.get("name")
        if name == "":
            found.append(required(f"{at}.name"))
        elif name not in volumes and name is not None:
            found.append(not_found(f"{at}.name", name))
        found += text(mount.get("mountPath"), f"{at}.mountPath") + local_path(mount.get("subPath"), f"{at}.subPath")
        if mount.get("subPath") and mount.get("subPathExpr"):
            found.append(invalid_value(f"{at}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"))
    taken: set[Any] = set()
    for at, mount in each(value, path):
        if mount.get("mountPath") in taken:
            found.append(invalid_value(f"{at}.mountPath", mount["mountPath"], "must be unique"))
        taken.add(mount.get("mountPath"))
    return found


def _probe(probe: Object, at: str, kind: str) -> list[Cause]:
    found = _handler({name: inner for name, inner in probe.items() if name in HANDLERS}, at)
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        found += at_least_zero(probe.get(field), f"{at}.{field}")
    if kind != "readinessProbe" and probe.get("successThreshold") not in (None, 1):
        found.append(invalid_value(f"{at}.successThreshold", probe["successThreshold"], "must be 1"))
    grace = probe.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace <= 0:
        found.append(invalid_value(f"{at}.terminationGracePeriodSeconds", grace, "must be greater than 0"))
    elif grace is not None and kind == "readinessProbe":
        found.append(invalid_value(f"{at}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes"))
    return found


def _handler(handler: Object, at: str) -> list[Cause]:
    kinds = [kind for kind in HANDLERS if isinstance(handler.get(kind), dict)]
    if not kinds:
        return [required(at, NO_HANDLER)]
    found: list[Cause] = [forbidden_value(f"{at}.{kind}", SECOND_HANDLER) for kind in kinds[1:]]
    kind = kinds[0]
    inner, below = handler[kind], f"{at}.{kind}"
    if kind == "exec":
        found += needed(inner.get("command"), f"{below}.command")
    elif kind == "httpGet":
        found += text(inner.get("path"), f"{below}.path") + port_or_name(inner.get("port"), f"{below}.port")
        found += one_of(inner.get("scheme"), f"{below}.scheme", ("HTTP", "HTTPS"))
        found += [
            cause
            for at_header, header in each(inner.get("httpHeaders"), f"{below}.httpHeaders")
            for cause in named(header.get("name"), at_header, names.header_name)
        ]
    elif kind == "tcpSocket":
        found += port_or_name(inner.get("port"), f"{below}.port")
    elif kind == "grpc":
        found += port(inner.get("port"), f"{below}.port")
    return found
