"""What a resource adds to the common way of a write (k8s.io/apiserver/pkg/registry/rest, RESTCreateStrategy and RESTUpdateStrategy).

The handlers do, in this order: decode (prune, report unknown fields, types), default, `prepare_*`, mutating admission, `validate*`, validating
admission, store. This base class is right for most resources; `strategies/` holds those that need more, found by `strategy_for`.
"""

import copy
from typing import Any

from apiserver.machinery.objects import Object, metadata
from apiserver.machinery.status import Cause
from apiserver.request import User


class Strategy:
    has_status = True
    """Whether it has a status that only /status may write; a create starts without one."""
    empty_status: Object | None = None
    """What a create starts with instead, where Kubernetes always writes a status: `{}`, or `{"replicas": 0}`."""
    unconditional_update = True
    """Whether a PUT without resourceVersion is taken."""
    create_on_update = False
    """Whether a PUT to a name that does not exist creates (leases, endpoints, ...)."""
    cleanup_finalizer = ""
    """What holds an object from its first deletion on."""
    requires_by_schema = True
    """Whether what the schema requires is asked for; some judge all of it themselves, in upstream's words."""
    counts_generation = True
    """Whether metadata.generation counts changes of the spec."""

    def prepare_create(self, obj: Object) -> None:
        """Remove what a client may not set, set what must be there."""
        if self.has_status:
            obj.pop("status", None)
            if self.empty_status is not None:
                obj["status"] = copy.deepcopy(self.empty_status)
        if self.counts_generation:
            metadata(obj)["generation"] = 1

    def settle_create(self, obj: Object) -> None:
        """After mutating admission: what of its first status depends on what admission made of the spec."""

    def note_requester(self, obj: Object, user: User) -> None:
        """Write down who creates it, for the few objects that say so. Whatever the client wrote there is no evidence of anything."""

    def prepare_update(self, new: Object, old: Object) -> None:
        """The same for a PUT or PATCH of the object itself: the status stays what it was."""
        if self.has_status:
            _take("status", new, old)
        if self.counts_generation:
            before = metadata(old).get("generation", 1)
            metadata(new)["generation"] = before + (1 if self.spec_of(new) != self.spec_of(old) else 0)

    def prepare_status_update(self, new: Object, old: Object) -> None:
        """For a write to /status: everything but the status stays what it was."""
        status = new.get("status")
        managed = metadata(new).get("managedFields")
        resource_version = metadata(new).get("resourceVersion")
        for key in [key for key in new if key not in ("apiVersion", "kind", "status")]:
            new.pop(key)
        new.update({key: value for key, value in old.items() if key not in ("apiVersion", "kind", "status")})
        new["metadata"] = dict(old.get("metadata") or {})
        for key, value in (("managedFields", managed), ("resourceVersion", resource_version)):
            if value is not None:
                new["metadata"][key] = value
        if status is not None:
            new["status"] = status

    def spec_of(self, obj: Object) -> Any:
        """What `generation` counts the changes of."""
        return {key: value for key, value in obj.items() if key not in ("metadata", "status", "apiVersion", "kind")}

    def validate(self, obj: Object) -> list[Cause]:
        """Faults that no schema can state. Metadata is checked for all resources elsewhere."""
        return []

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Faults of the change; `validate(new)` is asked as well."""
        return []

    def validate_change(self, new: Object, old: Object) -> list[Cause]:
        """Everything that is asked of an update."""
        return self.validate(new) + self.validate_update(new, old)

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        return []

    def warnings(self, obj: Object) -> list[str]:
        """Told to the client, who may go on."""
        return []

    def grace_period_s(self, obj: Object, asked_s: int | None) -> int:
        """How long a deletion waits for the object's own end; 0 deletes at once. Pods are the ones that wait."""
        return 0


def _take(key: str, new: Object, old: Object) -> None:
    if key in old:
        new[key] = old[key]
    else:
        new.pop(key, None)
