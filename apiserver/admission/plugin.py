"""What plug-ins have in common: how they refuse, and the parts of pods that several look at."""

from collections.abc import Iterator
from typing import Any

from apiserver.machinery.objects import Object
from apiserver.machinery.status import ApiError, forbidden
from apiserver.request import Write

MIRROR_POD = "kubernetes.io/config.mirror"


def refusal(write: Write, why: str) -> ApiError:
    """`pods "x" is forbidden: ...` (apiserver/pkg/admission/errors.go): the name may not be generated yet."""
    meta = (write.object or {}).get("metadata") or {}
    name = write.name or meta.get("name") or meta.get("generateName") or "Unknown"
    return forbidden(write.resource.group, write.resource.plural, name, why)


def is_about(write: Write, resource: str, *operations: str, subresource: str = "") -> bool:
    """Whether a write is one of `operations` on the resource (qualified) itself, or on the subresource named."""
    return write.resource.qualified == resource and write.subresource == subresource and write.operation in operations


def spec_of(obj: Object | None) -> Object:
    found = (obj or {}).get("spec")
    return found if isinstance(found, dict) else {}


def containers(pod_spec: Object) -> Iterator[tuple[str, int, Object]]:
    """Every container with the field that it stands in and its place there: init containers, containers, ephemeral containers."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(pod_spec.get(field) or ()):
            yield field, index, container


def secrets_of(pod_spec: Object) -> Iterator[str]:
    """The names of all Secrets that a pod refers to (pkg/api/pod VisitPodSecretNames)."""
    for reference in pod_spec.get("imagePullSecrets") or ():
        yield str(reference.get("name") or "")
    yield from _environment(pod_spec, "secretRef", "secretKeyRef")
    for volume in pod_spec.get("volumes") or ():
        for kind, field, key in _VOLUME_SECRETS:
            name = ((volume.get(kind) or {}).get(field) or {}) if key else (volume.get(kind) or {}).get(field)
            name = name.get(key) if key and isinstance(name, dict) else name
            if name:
                yield str(name)
        yield from _projected(volume, "secret")


def config_maps_of(pod_spec: Object) -> Iterator[str]:
    """The names of all ConfigMaps that a pod refers to."""
    yield from _environment(pod_spec, "configMapRef", "configMapKeyRef")
    for volume in pod_spec.get("volumes") or ():
        if name := (volume.get("configMap") or {}).get("name"):
            yield str(name)
        yield from _projected(volume, "configMap")


def projections(pod_spec: Object, kind: str) -> Iterator[Object]:
    for volume in pod_spec.get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get(kind) is not None:
                yield source[kind]


_VOLUME_SECRETS: tuple[tuple[str, str, str], ...] = (
    ("secret", "secretName", ""),
    ("azureFile", "secretName", ""),
    *((kind, "secretRef", "name") for kind in ("cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos")),
    ("csi", "nodePublishSecretRef", "name"),
)


def _environment(pod_spec: Object, whole: str, key: str) -> Iterator[str]:
    for _, _, container in containers(pod_spec):
        for source in container.get("envFrom") or ():
            if name := (source.get(whole) or {}).get("name"):
                yield str(name)
        for variable in container.get("env") or ():
            if name := ((variable.get("valueFrom") or {}).get(key) or {}).get("name"):
                yield str(name)


def _projected(volume: Object, kind: str) -> Iterator[str]:
    for source in (volume.get("projected") or {}).get("sources") or ():
        if name := (source.get(kind) or {}).get("name"):
            yield str(name)


def annotate(obj: Object, key: str, value: Any) -> None:
    meta = obj.setdefault("metadata", {})
    annotations = meta.get("annotations")
    if annotations is None:
        annotations = meta["annotations"] = {}
    annotations[key] = value
