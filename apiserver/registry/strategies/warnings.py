"""What a client is told although its object is taken (pkg/api/pod/warnings.go and the strategies' WarningsOnCreate)."""

from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object, annotations_of, name_of
from apiserver.machinery.quantity import parse
from apiserver.registry.strategies.checks import each

REPLACED_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}
IN_POD_NAMES = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: "
IN_HOSTNAME = "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: "
INGRESS_CLASS = "kubernetes.io/ingress.class"


def of_name(obj: Object, told: str = IN_POD_NAMES) -> list[str]:
    faults = names.dns1123_label(name_of(obj))
    return [f"{told}[{' '.join(faults)}]"] if faults else []


def of_template(value: Any, path: str) -> list[str]:
    spec = value.get("spec") if isinstance(value, dict) else None
    return of_pod_spec(spec, f"{path}.spec") if isinstance(spec, dict) else []


def of_pod_spec(spec: Object, path: str) -> list[str]:
    found = [
        f'{path}.nodeSelector[{label}]: deprecated since {REPLACED_LABELS[label][0]}; use "{REPLACED_LABELS[label][1]}" instead'
        for label in spec.get("nodeSelector") or {}
        if label in REPLACED_LABELS
    ]
    found += [
        f'{at}.name: invalid empty name ""' for at, secret in each(spec.get("imagePullSecrets"), f"{path}.imagePullSecrets") if not secret.get("name")
    ]
    for kind in ("initContainers", "containers"):
        for at, container in each(spec.get(kind), f"{path}.{kind}"):
            found += _of_container(container, at)
    return found


def _of_container(container: Object, at: str) -> list[str]:
    found: list[str] = []
    for kind in ("limits", "requests"):
        for name, value in ((container.get("resources") or {}).get(kind) or {}).items():
            if name in ("memory", "ephemeral-storage") and parse(value).amount.denominator != 1:
                found.append(f'{at}.resources.{kind}[{name}]: fractional byte value "{value}" is invalid, must be an integer')
    defined: dict[Any, str] = {}
    for below, variable in each(container.get("env"), f"{at}.env"):
        name = variable.get("name")
        if name in defined and f"$({name})" not in str(variable.get("value") or ""):
            found.append(f'{below}: hides previous definition of "{name}", which may be dropped when using apply')
        defined[name] = below
    ports: dict[Any, str] = {}
    for below, port in each(container.get("ports"), f"{at}.ports"):
        pair = port.get("containerPort"), port.get("protocol"), port.get("hostPort"), port.get("hostIP")
        if pair in ports:
            found.append(f"{below}: duplicate port definition with {ports[pair]}")
        ports.setdefault(pair, below)
    return found


def of_ingress(obj: Object) -> list[str]:
    if INGRESS_CLASS in annotations_of(obj):
        return [f"annotation \"{INGRESS_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"]
    return []


def of_service(obj: Object) -> list[str]:
    spec = obj.get("spec") or {}
    if spec.get("clusterIP") == "None" and spec.get("sessionAffinity") == "ClientIP":
        return ["spec.SessionAffinity is ignored for headless services"]
    return []
