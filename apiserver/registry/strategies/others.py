"""Smaller kinds: runtime classes, CSI drivers and attachments, service address ranges, resource claims, admission policies, flow control.

Sources: pkg/apis/{node,storage,networking,resource,admissionregistration,flowcontrol}/validation.
"""

import ipaddress
from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object, name_of
from apiserver.machinery.status import Cause, invalid_value, required
from apiserver.registry.strategies.checks import each, named, needed, network, one_of, unchanged
from apiserver.registry.strategies.config import Plain
from apiserver.registry.strategies.resources import amounts
from apiserver.registry.strategy import Strategy

NETWORKS_MAX = 2


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


class RuntimeClassStrategy(Plain):
    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        handler = obj.get("handler")
        found = [required("handler")] if handler == "" else named(handler, "handler", names.dns1123_label)
        return found + amounts((obj.get("overhead") or {}).get("podFixed"), "overhead.podFixed")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return unchanged(new.get("handler"), old.get("handler"), "handler")


class CSIDriverStrategy(Plain):
    def validate(self, obj: Object) -> list[Cause]:
        policies = ("File", "None", "ReadWriteOnceWithFSType")
        found = one_of(_spec(obj).get("fsGroupPolicy"), "spec.fsGroupPolicy", policies)
        for index, mode in enumerate(_spec(obj).get("volumeLifecycleModes") or ()):
            found += one_of(mode, f"spec.volumeLifecycleModes[{index}]", ("Ephemeral", "Persistent"))
        return found

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return [
            cause
            for field in ("attachRequired", "volumeLifecycleModes")
            for cause in unchanged(_spec(new).get(field), _spec(old).get(field), f"spec.{field}")
        ]


class VolumeAttachmentStrategy(Strategy):
    counts_generation = False
    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        source = _spec(obj).get("source") or {}
        found = needed(_spec(obj).get("attacher"), "spec.attacher") + needed(_spec(obj).get("nodeName"), "spec.nodeName")
        if not source.get("persistentVolumeName") and not source.get("inlineVolumeSpec"):
            found.append(required("spec.source", "must specify one of inlineVolumeSpec and persistentVolumeName"))
        return found

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return unchanged(_spec(new), _spec(old), "spec")


class ServiceCIDRStrategy(Strategy):
    def validate(self, obj: Object) -> list[Cause]:
        cidrs = _spec(obj).get("cidrs") or []
        if not cidrs:
            return [required("spec.cidrs", "at least one CIDR required")]
        if len(cidrs) > NETWORKS_MAX:
            return [invalid_value("spec", _spec(obj), "may only hold up to 2 values")]
        found = [cause for index, cidr in enumerate(cidrs) for cause in network(cidr, f"spec.cidrs[{index}]")]
        if not found and len({ipaddress.ip_network(cidr).version for cidr in cidrs}) != len(cidrs):
            found.append(
                invalid_value("spec", _spec(obj), "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96")
            )
        return found

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return unchanged(_spec(new).get("cidrs"), _spec(old).get("cidrs"), "spec.cidrs")


class IPAddressStrategy(Plain):
    def validate(self, obj: Object) -> list[Cause]:
        found: list[Cause] = []
        try:
            if str(ipaddress.ip_address(name_of(obj))) != name_of(obj):
                found.append(invalid_value("metadata.name", name_of(obj), "must be in canonical form"))
        except ValueError:
            found.append(invalid_value("metadata.name", name_of(obj), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))
        parent = _spec(obj).get("parentRef")
        if not isinstance(parent, dict):
            return [*found, required("spec.parentRef")]
        return found + needed(parent.get("resource"), "spec.parentRef.resource") + needed(parent.get("name"), "spec.parentRef.name")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return unchanged(_spec(new).get("parentRef"), _spec(old).get("parentRef"), "spec.parentRef")


class ResourceClaimStrategy(Strategy):
    def validate(self, obj: Object) -> list[Cause]:
        return claim_requests((_spec(obj).get("devices") or {}).get("requests"), "spec.devices.requests")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return unchanged(_spec(new), _spec(old), "spec")


def claim_requests(value: Any, path: str) -> list[Cause]:
    found: list[Cause] = []
    for at, request in each(value, path):
        found += needed(request.get("name"), f"{at}.name") + named(request.get("name"), f"{at}.name", names.dns1123_label)
        exactly = request.get("exactly") or request
        found += one_of(exactly.get("allocationMode"), f"{at}.exactly.allocationMode", ("All", "ExactCount"))
        if isinstance(exactly.get("count"), int) and exactly["count"] < 0:
            found.append(invalid_value(f"{at}.exactly.count", exactly["count"], "must be greater than zero"))
    return found


class ResourceClaimTemplateStrategy(Plain):
    def validate(self, obj: Object) -> list[Cause]:
        return claim_requests(((_spec(obj).get("spec") or {}).get("devices") or {}).get("requests"), "spec.spec.devices.requests")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return unchanged(_spec(new), _spec(old), "spec")


class AdmissionPolicyBindingStrategy(Strategy):
    has_status = False
    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        spec = _spec(obj)
        found = needed(spec.get("policyName"), "spec.policyName")
        if obj.get("kind") == "ValidatingAdmissionPolicyBinding":
            actions = spec.get("validationActions") or []
            found += needed(actions, "spec.validationActions")
            for index, action in enumerate(actions):
                found += one_of(action, f"spec.validationActions[{index}]", ("Audit", "Deny", "Warn"))
            if "Deny" in actions and "Warn" in actions:
                why = "repeating the same validation failure information in the API response and headers serves no purpose"
                told = f"must not contain both Deny and Warn ({why})"
                found.append(invalid_value("spec.validationActions", actions, told))
        return found


class FlowSchemaStrategy(Strategy):
    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        spec = _spec(obj)
        found = needed(
            (spec.get("priorityLevelConfiguration") or {}).get("name"), "spec.priorityLevelConfiguration.name", "must reference a priority level"
        )
        precedence = spec.get("matchingPrecedence")
        if isinstance(precedence, int) and not 1 <= precedence <= 10000:
            found.append(
                invalid_value(
                    "spec.matchingPrecedence", precedence, "must not be greater than 10000" if precedence > 0 else "must be a positive value"
                )
            )
        kind = (spec.get("distinguisherMethod") or {}).get("type")
        return found + one_of(kind, "spec.distinguisherMethod.type", ("ByNamespace", "ByUser"))


class PriorityLevelStrategy(Strategy):
    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        spec = _spec(obj)
        kind = spec.get("type")
        found = one_of(kind, "spec.type", ("Exempt", "Limited"), needed=True)
        if kind == "Limited" and not spec.get("limited"):
            found.append(required("spec.limited", "must not be empty when type is Limited"))
        return found
