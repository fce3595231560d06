"""CustomResourceDefinitions as resources (apiextensions registry/customresourcedefinition/strategy.go)."""

from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause
from apiserver.registry import crd
from apiserver.registry.strategy import Strategy


class CustomResourceDefinitionStrategy(Strategy):
    unconditional_update = False
    cleanup_finalizer = crd.FINALIZER  # whatever came of this name goes before the definition does
    requires_by_schema = False

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        crd.complete(obj)
        # As Go writes what nobody has judged yet, but for the conditions: null, over which `kubectl wait` stumbles.
        obj["status"] = {"conditions": [], "acceptedNames": {"plural": "", "kind": ""}}
        crd.store_version(obj)

    def prepare_update(self, new: Object, old: Object) -> None:
        super().prepare_update(new, old)
        crd.complete(new)
        crd.store_version(new)

    def validate(self, obj: Object) -> list[Cause]:
        return crd.validate(obj)

    def warnings(self, obj: Object) -> list[str]:
        return crd.warnings(obj)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return crd.validate_update(new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        return crd.validate_update(new, old)
