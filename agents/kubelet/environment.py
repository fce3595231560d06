"""A container's environment: services, envFrom, env with its sources, and $(NAME) in values, commands and arguments. Pure.

What is needed of the cluster comes in as a `Sources`; what is missing there, and not optional, is a `ConfigError`, which the pod's status shows as
CreateContainerConfigError.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from math import ceil
from typing import Any

from msgspec import Struct

from agents.kubelet import pods
from apiserver.machinery.names import env_name
from apiserver.machinery.objects import Object, annotations_of, labels_of, name_of, namespace_of, uid_of
from apiserver.machinery.quantity import parse


class ConfigError(Exception):
    """The pod cannot be made with what the cluster has."""


class Sources(Struct):
    """`config_map(namespace, name)` and `secret(...)` give the object or None. `allocatable` is the node's."""

    config_map: Callable[[str, str], Object | None]
    secret: Callable[[str, str], Object | None]
    services: Iterable[Object] = ()
    allocatable: Mapping[str, str] = {}
    node_name: str = ""
    node_ip: str = ""
    pod_ip: str = ""


_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))?")


def expand(text: str, known: Mapping[str, str]) -> str:
    """$(NAME) where NAME is known; $$ is a dollar; all else stays as it is (third_party/forked/golang/expansion)."""

    def replaced(match: "re.Match[str]") -> str:
        if match.group(1) == "$":
            return "$"
        name = match.group(2)
        return known[name] if name is not None and name in known else match.group(0)

    return _REFERENCE.sub(replaced, text)


def environment(pod: Object, container: Object, sources: Sources) -> dict[str, str]:
    """Raises ConfigError."""
    enabled = pod["spec"].get("enableServiceLinks")
    found = service_variables(sources.services, namespace_of(pod), linked=enabled is not False)
    for each in container.get("envFrom") or ():
        found.update(_from_object(pod, each, sources))
    for entry in container.get("env") or ():
        if entry.get("valueFrom"):
            value = _value_from(pod, container, entry["valueFrom"], sources)
            if value is not None:
                found[entry["name"]] = value
        else:
            found[entry["name"]] = expand(str(entry.get("value") or ""), found)
    return found


def _from_object(pod: Object, entry: Object, sources: Sources) -> dict[str, str]:
    namespace, prefix = namespace_of(pod), entry.get("prefix") or ""
    reference = entry.get("configMapRef") or entry.get("secretRef") or {}
    name = reference.get("name", "")
    if "configMapRef" in entry:
        obj, kind = sources.config_map(namespace, name), "configmap"
        data = dict((obj or {}).get("data") or {})
    else:
        obj, kind = sources.secret(namespace, name), "secret"
        data = {key: base64.b64decode(value).decode(errors="replace") for key, value in ((obj or {}).get("data") or {}).items()}
    if obj is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind} "{name}" not found')
    return {prefix + key: value for key, value in data.items() if not env_name(prefix + key)}


def _value_from(pod: Object, container: Object, source: Object, sources: Sources) -> str | None:
    """None where something optional is missing."""
    namespace = namespace_of(pod)
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"], sources)
    if "resourceFieldRef" in source:
        return resource_value(pod, container, source["resourceFieldRef"], sources.allocatable)
    for field, kind, read in (("configMapKeyRef", "ConfigMap", sources.config_map), ("secretKeyRef", "Secret", sources.secret)):
        if field in source:
            reference = source[field]
            name, key, optional = reference.get("name", ""), reference["key"], reference.get("optional")
            obj = read(namespace, name)
            data = (obj or {}).get("data") or {}
            if obj is None and not optional:
                raise ConfigError(f'{kind.lower()} "{name}" not found')
            if key not in data:
                if optional:
                    return None
                raise ConfigError(f"couldn't find key {key} in {kind} {namespace}/{name}")
            return str(data[key]) if kind == "ConfigMap" else base64.b64decode(data[key]).decode(errors="replace")
    raise ConfigError(f"a source of a value that is not known: {', '.join(source)}")


_SUBSCRIPT = re.compile(r"(metadata\.(?:annotations|labels))\['(.+)'\]")


def field_value(pod: Object, path: str, sources: Sources) -> str:
    """What the downward API gives (pkg/fieldpath and kubelet's podFieldSelectorRuntimeValue). Raises ConfigError."""
    if match := _SUBSCRIPT.fullmatch(path):
        table = annotations_of(pod) if match.group(1).endswith("annotations") else labels_of(pod)
        return table.get(match.group(2), "")
    direct: dict[str, Callable[[], str]] = {
        "metadata.name": lambda: name_of(pod),
        "metadata.namespace": lambda: namespace_of(pod),
        "metadata.uid": lambda: uid_of(pod),
        "metadata.labels": lambda: formatted(labels_of(pod)),
        "metadata.annotations": lambda: formatted(annotations_of(pod)),
        "spec.nodeName": lambda: sources.node_name,
        "spec.serviceAccountName": lambda: str(pod["spec"].get("serviceAccountName") or ""),
        "status.hostIP": lambda: sources.node_ip,
        "status.hostIPs": lambda: sources.node_ip,
        "status.podIP": lambda: sources.pod_ip,
        "status.podIPs": lambda: sources.pod_ip,
    }
    if path not in direct:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return direct[path]()


def formatted(table: Mapping[str, str]) -> str:
    """Labels and annotations as a file: key="value", sorted, quoted as Go quotes."""
    import json

    return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(table.items()))


def resource_value(pod: Object, container: Object, reference: Object, allocatable: Mapping[str, str]) -> str:
    """limits.cpu, requests.memory, ... in units of the divisor, rounded up; a limit that is not set is what the node has."""
    named = reference.get("containerName")
    if named:
        found = pods.container_named(pod, named)
        if found is None:
            raise ConfigError(f"container {named} not found")
        container = found
    which, _, name = str(reference["resource"]).partition(".")
    value = pods.quantities(container, which).get(name)
    if value is None and which == "limits":
        value = parse(allocatable.get(name, "0"))
    divisor = parse(reference.get("divisor") or "1")
    if not divisor:
        divisor = parse("1")
    return str(ceil((value.amount if value is not None else 0) / divisor.amount))


def service_variables(services: Iterable[Object], namespace: str, *, linked: bool) -> dict[str, str]:
    """Docker's link variables: of the API server's service always, of the namespace's where they are wanted (getServiceEnvVarMap)."""
    chosen: dict[str, Object] = {}
    for service in services:
        spec = service.get("spec") or {}
        address = spec.get("clusterIP")
        if not address or address == "None" or spec.get("type") == "ExternalName":
            continue
        name = name_of(service)
        if namespace_of(service) == "default" and name == "kubernetes":
            chosen.setdefault(name, service)
        elif namespace_of(service) == namespace and linked:
            chosen[name] = service
    found: dict[str, str] = {}
    for name in sorted(chosen):
        found.update(_of_service(name, chosen[name]["spec"]))
    return found


def _of_service(name: str, spec: Mapping[str, Any]) -> dict[str, str]:
    ports = spec.get("ports") or ()
    if not ports:
        return {}
    prefix = name.upper().replace("-", "_")
    address = spec["clusterIP"]
    shown = f"[{address}]" if ip_address(address).version == 6 else address
    found = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    for index, port in enumerate(ports):
        protocol = str(port.get("protocol") or "TCP")
        url = f"{protocol.lower()}://{shown}:{port['port']}"
        if index == 0:
            found[f"{prefix}_PORT"] = url
        each = f"{prefix}_PORT_{port['port']}_{protocol}"
        found |= {each: url, f"{each}_PROTO": protocol.lower(), f"{each}_PORT": str(port["port"]), f"{each}_ADDR": address}
    return found
