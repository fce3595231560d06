"""Who names no class gets the default one: storage classes for claims, ingress classes for ingresses
(plugin/pkg/admission/storage/storageclass/setdefault, plugin/pkg/admission/network/defaultingressclass)."""

from collections.abc import Iterable

from apiserver.admission.plugin import is_about
from apiserver.machinery.objects import Object, annotations_of, name_of
from apiserver.request import Passive, Reader, Write

STORAGE_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
STORAGE_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
INGRESS_DEFAULT = ("ingressclass.kubernetes.io/is-default-class",)
INGRESS_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


class DefaultStorageClass(Passive):
    name = "DefaultStorageClass"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, write: Write) -> None:
        if not is_about(write, "persistentvolumeclaims", "CREATE"):
            return
        claim = write.object or {}
        spec = claim.setdefault("spec", {})
        # The empty name is a choice, too: no class at all.
        if spec.get("storageClassName") is not None or STORAGE_CLASS_ANNOTATION in annotations_of(claim):
            return
        chosen = default_of(self._reader.list("storageclasses.storage.k8s.io"), STORAGE_DEFAULT)
        if chosen is not None:
            spec["storageClassName"] = name_of(chosen)


class DefaultIngressClass(Passive):
    name = "DefaultIngressClass"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, write: Write) -> None:
        if not is_about(write, "ingresses.networking.k8s.io", "CREATE"):
            return
        ingress = write.object or {}
        spec = ingress.setdefault("spec", {})
        if spec.get("ingressClassName") is not None or INGRESS_CLASS_ANNOTATION in annotations_of(ingress):
            return
        chosen = default_of(self._reader.list("ingressclasses.networking.k8s.io"), INGRESS_DEFAULT)
        if chosen is not None:
            spec["ingressClassName"] = name_of(chosen)


def default_of(classes: Iterable[Object], annotations: tuple[str, ...]) -> Object | None:
    """Of several that call themselves the default the newest, and of equally old ones the first by name."""
    defaults = [each for each in classes if any(annotations_of(each).get(key) == "true" for key in annotations)]
    by_name = sorted(defaults, key=name_of)
    return max(by_name, key=lambda each: str((each.get("metadata") or {}).get("creationTimestamp") or ""), default=None)
