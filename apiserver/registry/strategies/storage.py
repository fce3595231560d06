"""Persistent volumes, their claims, storage classes (pkg/apis/core/validation, pkg/apis/storage/validation)."""

from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object
from apiserver.machinery.quantity import Quantity, parse
from apiserver.machinery.status import Cause, forbidden_value, invalid_value, not_supported, required
from apiserver.registry.strategies.checks import each, named, needed, one_of, selector, unchanged
from apiserver.registry.strategies.config import Plain
from apiserver.registry.strategies.pod_spec import node_selector
from apiserver.registry.strategies.resources import amounts
from apiserver.registry.strategy import Strategy

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
VOLUME_MODES = ("Block", "Filesystem")
NOT_SOURCES = frozenset(("capacity", "claimRef", "nodeAffinity"))
CLAIM_FIXED = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
SMALLER = "field can not be less than status.capacity"


def access_modes(value: Any, path: str) -> list[Cause]:
    if not value:
        return [required(path, "at least 1 access mode is required")]
    found = [
        cause for mode in value for cause in one_of(mode, path, ACCESS_MODES) or ([] if mode else [not_supported(path, mode, sorted(ACCESS_MODES))])
    ]
    if "ReadWriteOncePod" in value and len(value) > 1:
        found.append(forbidden_value(path, "may not use ReadWriteOncePod with other access modes"))
    return found


class PersistentVolumeStrategy(Strategy):
    counts_generation = False

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        obj["status"] = {"phase": "Pending"}

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found = access_modes(spec.get("accessModes"), "spec.accessModes")
        capacity = spec.get("capacity") or {}
        if not capacity:
            found.append(required("spec.capacity"))
        elif "storage" not in capacity or len(capacity) > 1:
            found.append(Cause("FieldValueNotSupported", 'Unsupported value: supported values: "storage"', "spec.capacity"))
        else:
            found += amounts(capacity, "spec.capacity")
            if parse(capacity["storage"]) == Quantity(0):
                found.append(invalid_value("spec.capacity[storage]", capacity["storage"], "must be greater than zero"))
        found += one_of(spec.get("persistentVolumeReclaimPolicy"), "spec.persistentVolumeReclaimPolicy", RECLAIM_POLICIES)
        found += one_of(spec.get("volumeMode"), "spec.volumeMode", VOLUME_MODES)
        found += named(spec.get("storageClassName"), "spec.storageClassName", names.dns1123_subdomain)
        sources = [name for name, value in spec.items() if isinstance(value, dict) and name not in NOT_SOURCES]
        if not sources:
            found.append(required("spec", "must specify a volume type"))
        found += [forbidden_value(f"spec.{name}", "may not specify more than 1 volume type") for name in sources[1:]]
        affinity = (spec.get("nodeAffinity") or {}).get("required")
        if "local" in sources and not affinity:
            found.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
        for name in ("hostPath", "local"):
            if name in sources:
                found += needed(spec[name].get("path"), f"spec.{name}.path")
        return found + node_selector(affinity, "spec.nodeAffinity.required")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        after, before = new.get("spec") or {}, old.get("spec") or {}
        sources = ({name: value for name, value in spec.items() if isinstance(value, dict) and name not in NOT_SOURCES} for spec in (after, before))
        one, other = sources
        found = [] if one == other else [forbidden_value("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")]
        found += unchanged(after.get("volumeMode"), before.get("volumeMode"), "spec.volumeMode")
        if before.get("nodeAffinity") and after.get("nodeAffinity") != before["nodeAffinity"]:
            found += unchanged(after.get("nodeAffinity"), before["nodeAffinity"], "spec.nodeAffinity")
        return found


class PersistentVolumeClaimStrategy(Strategy):
    counts_generation = False

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        obj["status"] = {"phase": "Pending"}

    def validate(self, obj: Object) -> list[Cause]:
        return claim_spec(obj.get("spec") or {}, "spec")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        after, before = dict(new.get("spec") or {}), dict(old.get("spec") or {})
        bound = (old.get("status") or {}).get("phase") == "Bound"
        free = {"resources", "volumeAttributesClassName"} if bound else {"volumeAttributesClassName"}
        if not before.get("volumeName"):
            # The binder says once which volume it is; the default class may come late.
            free.add("volumeName")
        if before.get("storageClassName") is None:
            free.add("storageClassName")
        found: list[Cause] = []
        if {key: value for key, value in after.items() if key not in free} != {key: value for key, value in before.items() if key not in free}:
            found.append(forbidden_value("spec", CLAIM_FIXED))
        capacity = ((old.get("status") or {}).get("capacity") or {}).get("storage")
        now = ((after.get("resources") or {}).get("requests") or {}).get("storage")
        was = ((before.get("resources") or {}).get("requests") or {}).get("storage")
        if bound and now and was and parse(now) < parse(was) and (not capacity or parse(now) <= parse(capacity)):
            found.append(forbidden_value("spec.resources.requests.storage", SMALLER))
        return found


def claim_spec(spec: Object, path: str) -> list[Cause]:
    found = access_modes(spec.get("accessModes"), f"{path}.accessModes") + selector(spec.get("selector"), f"{path}.selector")
    requests = (spec.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        found.append(required(f"{path}.resources[storage]"))
    else:
        found += amounts(requests, f"{path}.resources")
        try:
            if parse(requests["storage"]) == Quantity(0):
                found.append(invalid_value(f"{path}.resources[storage]", requests["storage"], "must be greater than zero"))
        except ValueError:
            pass
    found += one_of(spec.get("volumeMode"), f"{path}.volumeMode", VOLUME_MODES)
    return found + named(spec.get("storageClassName"), f"{path}.storageClassName", names.dns1123_subdomain)


class StorageClassStrategy(Plain):
    def validate(self, obj: Object) -> list[Cause]:
        provisioner = obj.get("provisioner")
        found = (
            [required("provisioner", str(provisioner))]
            if provisioner == ""
            else named(str(provisioner or "").lower(), "provisioner", names.qualified_name)
        )
        found += one_of(obj.get("reclaimPolicy"), "reclaimPolicy", ("Delete", "Retain"))
        found += one_of(obj.get("volumeBindingMode"), "volumeBindingMode", ("Immediate", "WaitForFirstConsumer"), needed=True)
        for at, term in each(obj.get("allowedTopologies"), "allowedTopologies"):
            for below, expression in each(term.get("matchLabelExpressions"), f"{at}.matchLabelExpressions"):
                found += needed(expression.get("values"), f"{below}.values") + named(expression.get("key"), f"{below}.key", names.label_key)
        return found

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        found: list[Cause] = []
        if (new.get("parameters") or {}) != (old.get("parameters") or {}):
            found.append(forbidden_value("parameters", "updates to parameters are forbidden."))
        if new.get("provisioner") != old.get("provisioner"):
            found.append(forbidden_value("provisioner", "updates to provisioner are forbidden."))
        if new.get("reclaimPolicy") != old.get("reclaimPolicy"):
            found.append(forbidden_value("reclaimPolicy", "updates to reclaimPolicy are forbidden."))
        return found + unchanged(new.get("volumeBindingMode"), old.get("volumeBindingMode"), "volumeBindingMode")
