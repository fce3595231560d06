"""StorageObjectInUseProtection: claims and volumes in use are not removed under somebody's feet; and PersistentVolumeClaimResize."""

from apiserver.admission.plugin import is_about, refusal, spec_of
from apiserver.machinery import quantity
from apiserver.machinery.objects import Object, annotations_of, metadata
from apiserver.request import Passive, Reader, Write

FINALIZERS = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
    "volumeattributesclasses.storage.k8s.io": "kubernetes.io/vac-protection",
}


class StorageObjectInUseProtection(Passive):
    name = "StorageObjectInUseProtection"

    async def admit(self, write: Write) -> None:
        finalizer = FINALIZERS.get(write.resource.qualified)
        if finalizer is None or write.subresource or write.operation != "CREATE" or write.object is None:
            return
        meta = metadata(write.object)
        if finalizer not in (meta.get("finalizers") or ()):
            meta["finalizers"] = [*(meta.get("finalizers") or ()), finalizer]


class PersistentVolumeClaimResize(Passive):
    name = "PersistentVolumeClaimResize"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def validate(self, write: Write) -> None:
        if not is_about(write, "persistentvolumeclaims", "UPDATE"):
            return
        new, old = _storage(write.object), _storage(write.old_object)
        if new is None or old is None or not old < new:
            return
        if ((write.old_object or {}).get("status") or {}).get("phase") != "Bound":
            raise refusal(write, "Only bound persistent volume claims can be expanded")
        claim = write.old_object or {}
        name = annotations_of(claim).get("volume.beta.kubernetes.io/storage-class") or spec_of(claim).get("storageClassName") or ""
        found = self._reader.get("storageclasses.storage.k8s.io", "", name) if name else None
        if not (found or {}).get("allowVolumeExpansion"):
            told = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
            raise refusal(write, told)


def _storage(claim: Object | None) -> quantity.Quantity | None:
    value = ((spec_of(claim).get("resources") or {}).get("requests") or {}).get("storage")
    return None if value is None else quantity.parse(value)
