"""Who belongs to whom: owner references, adoption and release (pkg/controller/controller_ref_manager.go).

A controller owns what names it as controller. What matches its selector and has no controller is adopted; what it owns and no longer matches is
released. Nobody takes from another controller, and whoever is being deleted adopts nothing.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct

from apiserver.client.rest import STRATEGIC, Client
from apiserver.machinery.objects import Object, controller_of, is_terminating, name_of, namespace_of, uid_of
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError


def owner_reference(owner: Object, resource: Resource) -> Object:
    """The reference of an object to its controller (metav1.NewControllerRef)."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


class Claim(Struct, frozen=True):
    owned: list[Object]
    adopt: list[Object]
    release: list[Object]


def claim(owner: Object, objects: Iterable[Object], matches: Callable[[Object], bool]) -> Claim:
    """What of `objects` the owner has, takes and lets go."""
    found = Claim([], [], [])
    terminating = is_terminating(owner)
    for obj in objects:
        reference = controller_of(obj)
        if reference is not None:
            if reference["uid"] != uid_of(owner):
                continue
            if matches(obj):
                found.owned.append(obj)
            elif not terminating:
                found.release.append(obj)
        elif not terminating and not is_terminating(obj) and matches(obj) and namespace_of(obj) == namespace_of(owner):
            found.adopt.append(obj)
    return found


async def settle(client: Client, resource: Resource, owner: Object, of: Resource, claimed: Claim) -> list[Object]:
    """Adopt and release as claimed, and tell what the owner has then. `resource` is the owner's, `of` that of the objects.

    Before the first adoption the owner is looked at afresh: the cache may not know yet that it is being deleted, or is another one of its name.
    """
    owned = list(claimed.owned)
    if claimed.adopt:
        fresh = await client.get(resource, name_of(owner), namespace_of(owner))
        if uid_of(fresh) != uid_of(owner):
            text = f"original {resource.kind} {namespace_of(owner)}/{name_of(owner)} is gone: got uid {uid_of(fresh)}, wanted {uid_of(owner)}"
            raise ApiError("NotFound", text)
        if is_terminating(fresh):
            raise ApiError("Conflict", f"{namespace_of(owner)}/{name_of(owner)} has just been deleted at {fresh['metadata']['deletionTimestamp']}")
    for obj in claimed.adopt:
        patch = {"metadata": {"uid": uid_of(obj), "ownerReferences": [owner_reference(owner, resource)]}}
        if await _patched(client, of, obj, patch):
            owned.append(obj)
    for obj in claimed.release:
        await _patched(client, of, obj, {"metadata": {"uid": uid_of(obj), "ownerReferences": [{"$patch": "delete", "uid": uid_of(owner)}]}})
    return owned


async def _patched(client: Client, resource: Resource, obj: Object, patch: Object) -> bool:
    """False if the object is gone, or another one has its name by now: then it is nobody's concern here."""
    try:
        await client.patch(resource, name_of(obj), patch, namespace_of(obj), kind=STRATEGIC)
    except ApiError as error:
        if error.reason in ("NotFound", "Invalid"):
            return False
        raise
    return True
