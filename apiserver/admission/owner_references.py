"""OwnerReferencesPermissionEnforcement, off unless asked for: who changes an object's owners must be allowed to delete it, and who lets it block an
owner's deletion must be allowed to change that owner's finalizers (plugin/pkg/admission/gc)."""

from apiserver.admission.plugin import refusal
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import built_in
from apiserver.request import Attributes, Authorizer, Passive, Write


class OwnerReferencesPermissionEnforcement(Passive):
    name = "OwnerReferencesPermissionEnforcement"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, write: Write) -> None:
        if write.operation not in ("CREATE", "UPDATE") or write.subresource == "status" or write.object is None:
            return
        new, old = _owners(write.object), _owners(write.old_object or {})
        if new == old:
            return
        if write.operation == "UPDATE" and not await self._may(
            write, "delete", write.resource.group, write.resource.plural, write.namespace, write.name
        ):
            raise refusal(write, "cannot set an ownerRef on a resource you can't delete: , <nil>")
        for owner in new:
            if owner.get("blockOwnerDeletion") and not any(each.get("uid") == owner.get("uid") and each.get("blockOwnerDeletion") for each in old):
                await self._insist(write, owner)

    async def _insist(self, write: Write, owner: Object) -> None:
        group, _, version = str(owner.get("apiVersion") or "").rpartition("/")
        kind, name = str(owner.get("kind") or ""), str(owner.get("name") or "")
        found = next((each for each in built_in() if (each.group, each.version, each.kind) == (group, version, kind)), None)
        plural = found.plural if found is not None else f"{kind.lower()}s"
        namespace = write.namespace if found is None or found.namespaced else ""
        if not await self._may(write, "update", group, plural, namespace, name, "finalizers"):
            told = "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>"
            raise refusal(write, told)

    async def _may(self, write: Write, verb: str, group: str, plural: str, namespace: str, name: str, subresource: str = "") -> bool:
        attributes = Attributes(write.user, verb, "", True, group, "*", plural, subresource, namespace, name)
        return (await self._authorizer.authorize(attributes)).allowed is True


def _owners(obj: Object) -> list[Object]:
    return (obj.get("metadata") or {}).get("ownerReferences") or []
