"""What a reconcile wants done. Frozen records: tests compare them, `performer.Performer` carries them out."""

from typing import Any

from msgspec import Struct

from apiserver.client.rest import MERGE, STRATEGIC
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import Resource

NORMAL, WARNING = "Normal", "Warning"
STRATEGIC_STATUS = (STRATEGIC, "status")
"""The last two fields of a `Patch` that merges conditions by their type."""


class Create(Struct, frozen=True):
    """`expected_by` is the owner's key among the controller's expectations; `told_to` the object that gets the events SuccessfulCreate and
    FailedCreate."""

    resource: Resource
    object: Object
    expected_by: str = ""
    told_to: Object | None = None


class Update(Struct, frozen=True):
    """The whole object as it shall be; its resourceVersion refuses it if somebody was faster."""

    resource: Resource
    object: Object
    subresource: str = ""


class UpdateStatus(Struct, frozen=True):
    resource: Resource
    object: Object


class Patch(Struct, frozen=True):
    resource: Resource
    namespace: str
    name: str
    patch: Any
    kind: str = MERGE
    subresource: str = ""


class Delete(Struct, frozen=True):
    """`uid` makes sure that nobody else of that name is meant. What is gone already is no failure."""

    resource: Resource
    namespace: str
    name: str
    uid: str = ""
    propagation: str = ""
    expected_by: str = ""
    told_to: Object | None = None
    grace_s: int | None = None
    """0 does not wait for the pod's own end."""


class Event(Struct, frozen=True):
    """An event about `about`; `type` is Normal or Warning."""

    about: Object
    type: str
    reason: str
    message: str


class SlowStart(Struct, frozen=True):
    """Many of a kind: one, then two, four, ... at once, and none after the first failure: a refused pod costs one request, not five hundred."""

    actions: "tuple[Action, ...]"


class Together(Struct, frozen=True):
    """All at once; the first failure is raised when all have ended."""

    actions: "tuple[Action, ...]"


class Requeue(Struct, frozen=True):
    """Look again after so long, without having failed."""

    after_s: float


Action = Create | Update | UpdateStatus | Patch | Delete | Event | SlowStart | Together | Requeue
