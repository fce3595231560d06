"""Nothing is created where there is no namespace or where one is ending, and some namespaces never end (plugin namespace/lifecycle)."""

from apiserver.admission.plugin import refusal
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, forbidden, not_found
from apiserver.request import Passive, Reader, Write

IMMORTAL = ("default", "kube-system", "kube-public")


class NamespaceLifecycle(Passive):
    name = "NamespaceLifecycle"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, write: Write) -> None:
        if write.resource.qualified == "namespaces":
            if write.operation == "DELETE" and write.name in IMMORTAL:
                raise forbidden("", "namespaces", write.name, "this namespace may not be deleted")
            return
        if not write.namespace or write.operation in ("DELETE", "CONNECT") or write.resource.group == "authorization.k8s.io":
            return
        namespace = await self._namespace(write.namespace)
        if namespace is None:
            raise not_found("", "namespaces", write.namespace)
        ending = (namespace.get("status") or {}).get("phase") == "Terminating" or (namespace.get("metadata") or {}).get("deletionTimestamp")
        if write.operation == "CREATE" and ending:
            error = refusal(write, f"unable to create new content in namespace {write.namespace} because it is being terminated")
            error.causes = (Cause("NamespaceTerminating", f"namespace {write.namespace} is being terminated", "metadata.namespace"),)
            raise error

    async def _namespace(self, name: str) -> Object | None:
        """The cache may not have heard of one that was created a moment ago: then the store is asked."""
        found = self._reader.get("namespaces", "", name)
        if found is not None:
            return found
        return await self._reader.fresh("namespaces", "", name)
