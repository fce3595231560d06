"""ControllerRevisions: the templates that a stateful or daemon set had (pkg/controller/history). Pure.

`data` is a patch that makes the set what it was: kubectl's `rollout undo` applies it, so it has upstream's form.
"""

import copy
from collections.abc import Sequence

import msgspec

from agents.controllers.rollout import safe_hash
from agents.kit.actions import Action, Create, Update
from agents.kit.owners import owner_reference
from agents.kit.times import created_s
from apiserver.machinery.objects import Object, is_terminating, name_of, namespace_of
from apiserver.machinery.resources import Resource, resource

REVISIONS = resource("controllerrevisions.apps")
HASH_LABEL = "controller-revision-hash"
HASH_OF_REVISION = "controller.kubernetes.io/hash"


def data_of(owner: Object) -> Object:
    """The owner's template as a patch that replaces it whole."""
    return {"spec": {"template": {**copy.deepcopy(owner["spec"]["template"]), "$patch": "replace"}}}


def template_of(revision: Object) -> Object:
    template: Object = copy.deepcopy(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    return template


def new_revision(owner: Object, of: Resource, number: int) -> Object:
    """The revision of the owner's template. `status.collisionCount` seeds its name."""
    data = data_of(owner)
    collisions = (owner.get("status") or {}).get("collisionCount")
    hashed = safe_hash(msgspec.json.encode(data, order="deterministic"), b"" if collisions is None else str(collisions).encode())
    labels = dict((owner["spec"]["template"].get("metadata") or {}).get("labels") or {})
    return {
        "apiVersion": REVISIONS.api_version,
        "kind": REVISIONS.kind,
        "metadata": {
            "name": f"{name_of(owner)}-{hashed}",
            "namespace": namespace_of(owner),
            "labels": {**labels, HASH_OF_REVISION: hashed},
            "annotations": dict(owner["metadata"].get("annotations") or {}),
            "ownerReferences": [owner_reference(owner, of)],
        },
        "data": data,
        "revision": number,
    }


def hash_of(revision: Object) -> str:
    return str((revision["metadata"].get("labels") or {}).get(HASH_OF_REVISION, name_of(revision)))


def in_order(revisions: Sequence[Object]) -> list[Object]:
    return sorted(revisions, key=lambda each: (each.get("revision", 0), created_s(each), name_of(each)))


def next_number(revisions: Sequence[Object]) -> int:
    return max((each.get("revision", 0) for each in revisions), default=0) + 1


def equal_to(revisions: Sequence[Object], data: Object) -> Object | None:
    """The newest revision of that data."""
    return next((each for each in reversed(in_order(revisions)) if each.get("data") == data and not is_terminating(each)), None)


def surplus(revisions: Sequence[Object], live: set[str], limit: int) -> list[Object]:
    """Those beyond the limit, oldest first; `live` are names that pods or the status still have."""
    unused = [each for each in in_order(revisions) if name_of(each) not in live and hash_of(each) not in live]
    return unused[: max(len(unused) - limit, 0)]


def newest(owner: Object, of: Resource, revisions: Sequence[Object]) -> tuple[Object, list[Action]]:
    """The revision of the template as it is, and what makes it the newest: a template that comes back gets a new number."""
    there = equal_to(revisions, data_of(owner))
    number = next_number(revisions)
    if there is None:
        new = new_revision(owner, of, number)
        return new, [Create(REVISIONS, new)]
    if there.get("revision", 0) < number - 1:
        renewed = {**there, "revision": number}
        return renewed, [Update(REVISIONS, renewed)]
    return there, []
