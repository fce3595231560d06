"""What a pod's runtime class costs and where it can run is the class's word (plugin/pkg/admission/runtimeclass)."""

from apiserver.admission.plugin import is_about, refusal, spec_of
from apiserver.machinery.objects import Object
from apiserver.request import Passive, Reader, Write

CLASSES = "runtimeclasses.node.k8s.io"


class RuntimeClass(Passive):
    name = "RuntimeClass"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, write: Write) -> None:
        found = await self._class_of(write)
        if found is None:
            return
        spec = (write.object or {}).setdefault("spec", {})
        fixed = (found.get("overhead") or {}).get("podFixed")
        if fixed:
            if spec.get("overhead") and spec["overhead"] != fixed:
                raise refusal(write, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            spec["overhead"] = dict(fixed)
        scheduling = found.get("scheduling") or {}
        selector = scheduling.get("nodeSelector") or {}
        own = spec.get("nodeSelector") or {}
        for key, value in selector.items():
            if own.get(key, value) != value:
                raise refusal(write, f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own[key]}")
        if selector:
            spec["nodeSelector"] = {**own, **selector}
        tolerations = spec.get("tolerations") or []
        added = [each for each in scheduling.get("tolerations") or () if each not in tolerations]
        if added:
            spec["tolerations"] = [*tolerations, *added]

    async def validate(self, write: Write) -> None:
        if not is_about(write, "pods", "CREATE"):
            return
        overhead = spec_of(write.object).get("overhead")
        if not overhead:
            return
        found = await self._class_of(write)
        if ((found or {}).get("overhead") or {}).get("podFixed") != overhead:
            raise refusal(write, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")

    async def _class_of(self, write: Write) -> Object | None:
        if not is_about(write, "pods", "CREATE"):
            return None
        name = spec_of(write.object).get("runtimeClassName")
        if not name:
            return None
        found = self._reader.get(CLASSES, "", name) or await self._reader.fresh(CLASSES, "", name)
        if found is None:
            raise refusal(write, f'pod rejected: RuntimeClass "{name}" not found')
        return found
