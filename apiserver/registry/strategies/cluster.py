"""Namespaces, nodes, leases, events, priority classes, certificate requests, quotas and limit ranges (pkg/apis/*/validation, pkg/registry/*)."""

from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object, name_of
from apiserver.machinery.quantity import Quantity, parse
from apiserver.machinery.status import Cause, duplicate, forbidden_value, invalid_value, required
from apiserver.registry.strategies.checks import above_zero, at_least_zero, each, named, needed, network, one_of, unchanged
from apiserver.registry.strategies.config import Plain
from apiserver.registry.strategies.pod_spec import EFFECTS
from apiserver.registry.strategies.resources import amounts
from apiserver.registry.strategy import Strategy
from apiserver.request import User

USER_PRIORITY_MAX = 1_000_000_000
SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
EVENT_NOTE_MAX_BYTES = 1024
FINALIZER = "kubernetes"
SCOPES = ("BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating", "VolumeAttributesClass")
USAGES = (
    *("any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only"),
    *("digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement"),
    *("key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping"),
)
EXPIRATION_MIN_S = 600


class NamespaceStrategy(Strategy):
    counts_generation = False

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        obj["status"] = {"phase": "Active"}
        spec = obj.setdefault("spec", {})
        held = spec.get("finalizers") or []
        spec["finalizers"] = held if FINALIZER in held else [*held, FINALIZER]
        # A name that was generated had none when the defaults came by.
        obj.setdefault("metadata", {}).setdefault("labels", {})["kubernetes.io/metadata.name"] = name_of(obj)

    def prepare_update(self, new: Object, old: Object) -> None:
        super().prepare_update(new, old)
        new.setdefault("spec", {})["finalizers"] = (old.get("spec") or {}).get("finalizers") or []
        new.setdefault("metadata", {}).setdefault("labels", {})["kubernetes.io/metadata.name"] = name_of(new)

    def validate(self, obj: Object) -> list[Cause]:
        return [
            cause
            for index, each_name in enumerate((obj.get("spec") or {}).get("finalizers") or ())
            for cause in named(each_name, f"spec.finalizers[{index}]", names.qualified_name)
        ]

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        phase, ending = (new.get("status") or {}).get("phase"), bool((new.get("metadata") or {}).get("deletionTimestamp"))
        if ending and phase != "Terminating":
            return [invalid_value("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")]
        if not ending and phase == "Terminating":
            return [invalid_value("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")]
        return []


class NodeStrategy(Strategy):
    counts_generation = False

    def prepare_create(self, obj: Object) -> None:
        # A node registers with its status.
        return None

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found: list[Cause] = []
        taken: set[tuple[Any, Any]] = set()
        for at, taint in each(spec.get("taints"), "spec.taints"):
            found += [required(f"{at}.key")] if taint.get("key") == "" else named(taint.get("key"), f"{at}.key", names.label_key)
            found += [invalid_value(f"{at}.value", taint.get("value"), fault) for fault in names.label_value(taint.get("value") or "")]
            found += one_of(taint.get("effect"), f"{at}.effect", EFFECTS, needed=True)
            pair = taint.get("key"), taint.get("effect")
            if pair in taken:
                shown = {key: taint[key] for key in ("key", "value", "effect") if key in taint}
                found.append(duplicate(at, shown))
            taken.add(pair)
        for index, cidr in enumerate(spec.get("podCIDRs") or ()):
            found += network(cidr, f"spec.podCIDRs[{index}]")
        status = obj.get("status") or {}
        return found + amounts(status.get("capacity"), "status.capacity") + amounts(status.get("allocatable"), "status.allocatable")

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        after, before = new.get("spec") or {}, old.get("spec") or {}
        found: list[Cause] = []
        if before.get("podCIDRs") and after.get("podCIDRs") != before["podCIDRs"]:
            found.append(forbidden_value("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'))
        if before.get("providerID") and after.get("providerID") != before["providerID"]:
            found.append(forbidden_value("spec.providerID", 'node updates may not change providerID except from "" to valid'))
        return found


class LeaseStrategy(Plain):
    unconditional_update = False
    create_on_update = True

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found = above_zero(spec.get("leaseDurationSeconds"), "spec.leaseDurationSeconds")
        return found + at_least_zero(spec.get("leaseTransitions"), "spec.leaseTransitions")


class EventStrategy(Plain):
    create_on_update = True

    def validate(self, obj: Object) -> list[Cause]:
        reference = obj.get("involvedObject") if "involvedObject" in obj else obj.get("regarding")
        field = "involvedObject" if "involvedObject" in obj else "regarding"
        namespace, own = (reference or {}).get("namespace") or "", (obj.get("metadata") or {}).get("namespace") or ""
        found: list[Cause] = []
        if (not namespace and own not in ("default", "kube-system", "")) or (namespace and namespace != own):
            found.append(invalid_value(f"{field}.namespace", namespace, "does not match event.namespace"))
        return found + [
            invalid_value(name, "", f"can have at most {EVENT_NOTE_MAX_BYTES} characters")
            for name in ("message", "note")
            if obj.get("eventTime") and len(str(obj.get(name) or "").encode()) > EVENT_NOTE_MAX_BYTES
        ]


class PriorityClassStrategy(Plain):
    counts_generation = True

    def validate(self, obj: Object) -> list[Cause]:
        name, value = name_of(obj), obj.get("value")
        found: list[Cause] = []
        if name in SYSTEM_CLASSES:
            if value != SYSTEM_CLASSES[name]:
                found.append(forbidden_value("metadata.name", f"value of {name} must be {SYSTEM_CLASSES[name]}"))
        elif name.startswith("system-"):
            told = f"priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class"
            found.append(forbidden_value("metadata.name", told))
        elif isinstance(value, int) and value > USER_PRIORITY_MAX:
            found.append(forbidden_value("value", f"maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}"))
        return found + one_of(obj.get("preemptionPolicy"), "preemptionPolicy", ("Never", "PreemptLowerPriority"))

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        found: list[Cause] = []
        if new.get("value") != old.get("value"):
            found.append(forbidden_value("value", "may not be changed in an update."))
        return found + unchanged(new.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy")


class CertificateSigningRequestStrategy(Strategy):
    counts_generation = False

    def note_requester(self, obj: Object, user: User) -> None:
        """Approvers ask whether this user may have what the request is for: a client that could write it itself could be anybody."""
        spec = obj.setdefault("spec", {})
        extra = {key: list(values) for key, values in user.extra.items()}
        for field, value in (("username", user.name), ("uid", user.uid), ("groups", list(user.groups)), ("extra", extra)):
            if value:
                spec[field] = value
            else:
                spec.pop(field, None)

    def prepare_update(self, new: Object, old: Object) -> None:
        super().prepare_update(new, old)
        new["spec"] = old.get("spec") or {}

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found = (
            [] if spec.get("request") else [invalid_value("spec.request", spec.get("request") or "", "PEM block type must be CERTIFICATE REQUEST")]
        )
        signer = spec.get("signerName") or ""
        if not signer:
            found.append(required("spec.signerName"))
        elif signer.count("/") != 1:
            found.append(invalid_value("spec.signerName", signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'"))
        usages = spec.get("usages") or []
        found += needed(usages, "spec.usages", "usages are required to be specified")
        for index, usage in enumerate(usages):
            found += one_of(usage, f"spec.usages[{index}]", USAGES)
            if usage in usages[:index]:
                found.append(duplicate(f"spec.usages[{index}]", usage))
        seconds = spec.get("expirationSeconds")
        if isinstance(seconds, int) and seconds < EXPIRATION_MIN_S:
            found.append(invalid_value("spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"))
        return found


class ResourceQuotaStrategy(Strategy):
    counts_generation = False

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found: list[Cause] = []
        for name in spec.get("hard") or {}:
            found += named(name, f"spec.hard[{name}]", names.qualified_name)
        found += amounts(spec.get("hard"), "spec.hard")
        scopes = spec.get("scopes") or []
        for scope in scopes:
            if scope not in SCOPES:
                found.append(invalid_value("spec.scopes", scopes, "unsupported scope"))
        for one, other in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")):
            if one in scopes and other in scopes:
                found.append(invalid_value("spec.scopes", scopes, "conflicting scopes"))
        return found

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return unchanged(sorted((new.get("spec") or {}).get("scopes") or ()), sorted((old.get("spec") or {}).get("scopes") or ()), "spec.scopes")


class LimitRangeStrategy(Plain):
    create_on_update = True

    def validate(self, obj: Object) -> list[Cause]:
        found: list[Cause] = []
        kinds: set[Any] = set()
        for at, limit in each((obj.get("spec") or {}).get("limits"), "spec.limits"):
            kind = limit.get("type")
            if kind in kinds:
                found.append(duplicate(f"{at}.type", kind))
            kinds.add(kind)
            if kind == "Pod":
                found += [
                    forbidden_value(f"{at}.{field}", "may not be specified when `type` is 'Pod'")
                    for field in ("default", "defaultRequest")
                    if limit.get(field)
                ]
            found += self._order(limit, at)
        return found

    @staticmethod
    def _order(limit: Object, at: str) -> list[Cause]:
        """min <= defaultRequest <= default <= max, wherever two of them are said."""
        steps = ("min", "defaultRequest", "default", "max")
        names_of = {"min": "min", "defaultRequest": "default request", "default": "default", "max": "max"}
        found: list[Cause] = []
        for low_at, low in enumerate(steps):
            for high in steps[low_at + 1 :]:
                for name, value in (limit.get(low) or {}).items():
                    bound = (limit.get(high) or {}).get(name)
                    if bound is not None and parse(value) > parse(bound):
                        told = f"{names_of[low]} value {value} is greater than {names_of[high]} value {bound}"
                        found.append(invalid_value(f"{at}.{low}[{name}]", str(value), told))
        for name, ratio in (limit.get("maxLimitRequestRatio") or {}).items():
            if parse(ratio) < Quantity(1):
                found.append(invalid_value(f"{at}.maxLimitRequestRatio[{name}]", str(ratio), f"ratio {ratio} is less than 1"))
        return found
