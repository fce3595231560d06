"""CustomResourceDefinitions as resources (apiextensions registry/customresourcedefinition/strategy.go)."""

from apiserver.machinery.objects import Object, metadata
from apiserver.machinery.status import Cause
from apiserver.registry import crd
from apiserver.registry.strategy import Strategy


class CustomResourceDefinitionStrategy(Strategy):
    unconditional_update = False

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        crd.complete(obj)
        crd.store_version(obj)
        # Whatever comes of this name goes before the definition does.
        finalizers = metadata(obj).setdefault("finalizers", [])
        if crd.FINALIZER not in finalizers:
            finalizers.append(crd.FINALIZER)

    def prepare_update(self, new: Object, old: Object) -> None:
        super().prepare_update(new, old)
        crd.complete(new)
        crd.store_version(new)

    def validate(self, obj: Object) -> list[Cause]:
        return crd.validate(obj)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return crd.validate_update(new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        return crd.validate_update(new, old)
