"""What a deletion does to an object, decided from the object and the client's options alone (registry/rest/delete.go). Pure.

An object goes at once if nothing holds it. Otherwise it stays, marked with the time of its end: as long as its grace period runs (pods), as long
as it has finalizers (the garbage collector's two among them), or as long as it is a namespace with content.
"""

import copy
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from apiserver.machinery.objects import Object, metadata
from apiserver.machinery.status import Cause, bad_request, invalid, invalid_value, not_supported
from apiserver.registry.registry import Served

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
POLICIES = ("Foreground", "Background", "Orphan")
ORPHANED_BY_DEFAULT = ("replicationcontrollers",)
"""What still behaves as in the first version of the API."""
TIME = "%Y-%m-%dT%H:%M:%SZ"


class Options(Struct, frozen=True):
    grace_s: int | None = None
    propagation: str = ""
    orphan_dependents: bool | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False

    def document(self) -> Object:
        """As admission plug-ins and webhooks see it."""
        found: Object = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}
        if self.grace_s is not None:
            found["gracePeriodSeconds"] = self.grace_s
        if self.propagation:
            found["propagationPolicy"] = self.propagation
        return found


def options(given: Object) -> Options:
    """From a DeleteOptions object. Raises ApiError (400, 422)."""
    grace_s = given.get("gracePeriodSeconds")
    if grace_s is not None and (not isinstance(grace_s, int) or isinstance(grace_s, bool)):
        raise bad_request("DeleteOptions.gracePeriodSeconds must be an integer")
    preconditions, dry_run = given.get("preconditions") or {}, given.get("dryRun") or []
    if not isinstance(preconditions, dict):
        raise bad_request("DeleteOptions.preconditions must be an object")
    if not isinstance(dry_run, list) or not all(isinstance(each, str) for each in dry_run):
        raise bad_request("DeleteOptions.dryRun must be an array of strings")
    found = Options(
        grace_s=1 if grace_s is not None and grace_s < 0 else grace_s,
        propagation=str(given.get("propagationPolicy") or ""),
        orphan_dependents=given.get("orphanDependents"),
        uid=str(preconditions.get("uid") or ""),
        resource_version=str(preconditions.get("resourceVersion") or ""),
        dry_run="All" in dry_run,
    )
    causes: list[Cause] = []
    if found.propagation and found.orphan_dependents is not None:
        told = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(invalid_value("propagationPolicy", found.propagation, told))
    if found.propagation and found.propagation not in POLICIES:
        causes.append(not_supported("propagationPolicy", found.propagation, [*POLICIES, "nil"]))
    if any(each != "All" for each in dry_run):
        causes.append(not_supported("dryRun", dry_run, ["All"]))
    if causes:
        raise invalid("meta.k8s.io", "DeleteOptions", "", causes)
    return found


def is_held(served: Served, obj: Object) -> bool:
    """Namespaces have finalizers of their own, in the spec: their content goes first."""
    return served.resource.qualified == "namespaces" and bool((obj.get("spec") or {}).get("finalizers"))


class Outcome(Struct, frozen=True):
    """`obj` None: the object is to be removed now. Otherwise what is to be stored, which may be what was there already."""

    obj: Object | None


def decide(served: Served, current: Object, asked: Options, now: datetime) -> Outcome:
    """What is to become of the object. `current` is not changed."""
    meta = metadata(current)
    finalizers = _finalizers(served, meta, asked)
    held = is_held(served, current)
    if meta.get("deletionTimestamp"):
        pending_s = meta.get("deletionGracePeriodSeconds") or 0
        if pending_s and (asked.grace_s is None or asked.grace_s >= pending_s):
            return Outcome(_marked(current, finalizers, {}))
        if pending_s and asked.grace_s:
            end = datetime.strptime(meta["deletionTimestamp"], TIME) + timedelta(seconds=asked.grace_s - pending_s)
            return Outcome(_marked(current, finalizers, {"deletionTimestamp": end.strftime(TIME), "deletionGracePeriodSeconds": asked.grace_s}))
        if finalizers or held:
            return Outcome(_marked(current, finalizers, {"deletionGracePeriodSeconds": 0} if pending_s else {}))
        return Outcome(None)
    grace_s = served.strategy.grace_period_s(current, asked.grace_s)
    if not grace_s and not finalizers and not held:
        return Outcome(None)
    changes: dict[str, Any] = {"deletionTimestamp": (now + timedelta(seconds=grace_s)).strftime(TIME), "deletionGracePeriodSeconds": grace_s}
    if meta.get("generation"):
        changes["generation"] = meta["generation"] + 1
    marked = _marked(current, finalizers, changes)
    if served.resource.qualified == "namespaces":
        marked["status"] = {**(marked.get("status") or {}), "phase": "Terminating"}
    return Outcome(marked)


def _finalizers(served: Served, meta: Object, asked: Options) -> list[str]:
    """With the garbage collector's own as the propagation policy wants them."""
    before = list(meta.get("finalizers") or ())
    orphan, foreground = _wanted(served, before, asked)
    found = [each for each in before if each not in (ORPHAN, FOREGROUND)]
    cleanup = served.strategy.cleanup_finalizer
    if cleanup and cleanup not in found and not meta.get("deletionTimestamp"):
        found.append(cleanup)
    if orphan:
        found.append(ORPHAN)
    if foreground:
        found.append(FOREGROUND)
    return before if set(found) == set(before) else found


def _wanted(served: Served, before: list[str], asked: Options) -> tuple[bool, bool]:
    if served.resource.qualified in ("events", "events.events.k8s.io"):
        return False, False
    if asked.orphan_dependents is not None:
        return asked.orphan_dependents, False
    if asked.propagation:
        return asked.propagation == "Orphan", asked.propagation == "Foreground"
    if ORPHAN in before or FOREGROUND in before:
        return ORPHAN in before, FOREGROUND in before
    return served.resource.qualified in ORPHANED_BY_DEFAULT, False


def _marked(current: Object, finalizers: list[str], changes: dict[str, Any]) -> Object:
    meta = {**metadata(current), **changes}
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    return copy.copy(current) if meta == metadata(current) else {**current, "metadata": meta}
