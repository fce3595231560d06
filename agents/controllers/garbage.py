"""What has lost its owners goes (pkg/controller/garbagecollector).

Three ways for an owner to go. Background: it is gone, then its dependents follow. Foreground: it waits, marked, until those that block it are gone.
Orphan: first
its dependents are set free. An owner is only taken for absent after the server was asked for it by name and answered with nothing, or with another
uid; every deletion names uid and resourceVersion of what was looked at, so that nobody is deleted whose owners changed meanwhile.

The graph follows every resource that discovery names, custom ones included; discovery is asked again every half minute.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from agents.controllers.ownergraph import FOREGROUND, ORPHAN, Graph, Identity, Node, Work
from agents.kit import discovery
from agents.kit.actions import WARNING
from agents.kit.controller import Context, Controller
from agents.kit.informer import Informer
from apiserver.client.errors import Unreachable
from apiserver.machinery.objects import Object, name_of, namespace_of, resource_version_of, uid_of
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError
from keelson.cogs.logs import fields

log = logging.getLogger(__name__)

SYNC_PERIOD_S = 30.0
SYNCED_WITHIN_S = 30.0
ABSENT_MAX = 500
IGNORED = frozenset({("", "events"), ("events.k8s.io", "events")})
"""Nobody owns events, and there are too many of them."""

ORPHAN_KEY, DELETE_KEY = "orphan/", "delete/"


class Owners(Struct):
    """References of an object by what became of the owner: there, gone, or waiting (in the foreground) for its dependents."""

    solid: list[Object]
    dangling: list[Object]
    waiting: list[Object]


class GarbageCollector(Controller):
    """Keys of its queue: `delete/UID` and `orphan/UID`."""

    name = "garbage-collector-controller"
    component = "garbage-collector-controller"
    workers = 20

    def __init__(self, context: Context) -> None:
        self.graph = Graph()
        self._followed: dict[tuple[str, str], tuple[Resource, Informer]] = {}
        self._by_kind: dict[tuple[str, str], Resource] = {}
        self._absent: OrderedDict[tuple[str, str], None] = OrderedDict()
        super().__init__(context)

    # --- what is followed ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            try:
                await self._follow()
                break
            except (ApiError, Unreachable) as error:
                log.warning("discovery failed", extra=fields(controller=self.name, error=str(error)))
                await asyncio.sleep(1.0)
        # Before every owner has been heard of, each of them would be asked for by name: right, but a thousand requests.
        await self._heard_all()
        await super().run()

    def background(self) -> Any:
        return (("discovery", self._keep_following()),)

    async def _keep_following(self) -> None:
        while True:
            await asyncio.sleep(SYNC_PERIOD_S)
            try:
                await self._follow()
            except (ApiError, Unreachable) as error:
                log.warning("discovery failed", extra=fields(controller=self.name, error=str(error)))

    async def _follow(self) -> None:
        """Watch each resource that can be listed, watched and deleted; let go of those that exist no more."""
        known = await discovery.resources(self.client)
        self._by_kind = {(each.group, each.kind): each for each in known if discovery.supports(each, "get")}
        wanted = {
            (each.group, each.plural): each
            for each in known
            if discovery.supports(each, "list", "watch", "delete") and (each.group, each.plural) not in IGNORED
        }
        for key in self._followed.keys() - wanted.keys():
            self._let_go(key)
        for key, each in wanted.items():
            if key in self._followed and self._followed[key][0].version != each.version:
                self._let_go(key)
            if key not in self._followed:
                informer = self.context.informers.of(each)
                self._followed[key] = (each, informer)
                informer.handle(add=self._seen(each), update=self._updated(each), delete=self._gone)

    async def _heard_all(self) -> None:
        try:
            async with asyncio.timeout(SYNCED_WITHIN_S):
                for _, informer in list(self._followed.values()):
                    await informer.synced.wait()
        except TimeoutError:
            log.warning("some resources could not be listed: their objects are asked for by name", extra=fields(controller=self.name))

    def _let_go(self, key: tuple[str, str]) -> None:
        """A resource that is no more (its definition was deleted): so are its objects."""
        resource, informer = self._followed.pop(key)
        self.context.informers.drop(informer)
        for node in self.graph.of_resource(resource):
            self._asked(self.graph.gone(node.identity.uid))

    def _seen(self, resource: Resource) -> Any:
        return lambda obj: self._asked(self.graph.seen(obj, resource))

    def _updated(self, resource: Resource) -> Any:
        return lambda old, new: self._asked(self.graph.seen(new, resource))

    def _gone(self, obj: Object) -> None:
        self._asked(self.graph.gone(uid_of(obj)))

    def _asked(self, work: Work) -> None:
        for uid in work.delete:
            self.queue.add(DELETE_KEY + uid)
        for uid in work.orphan:
            self.queue.add(ORPHAN_KEY + uid)

    # --- one node -----------------------------------------------------------------------------------------------------

    async def sync(self, key: str) -> float | None:
        kind, _, uid = key.partition("/")
        node = self.graph.nodes.get(uid)
        if node is None:
            return None
        if kind == "orphan":
            await self._orphan(node)
        else:
            await self._attempt_to_delete(node)
        return None

    async def _attempt_to_delete(self, node: Node) -> None:
        if node.terminating and not node.foreground:
            return  # its own end is under way
        live = await self._live(node.identity)
        if live is None:
            self._asked(self.graph.gone(node.identity.uid))
            self._forget_absent(node)
            return
        resource = self._resource(node.identity)
        assert resource is not None, "what was read has a resource"
        if node.virtual:
            self._asked(self.graph.seen(live, resource))
        if node.foreground:
            await self._foreground(node, resource, live)
            return
        references = live["metadata"].get("ownerReferences") or []
        if not references:
            return
        owners = await self._classified(node, references)
        if owners.solid:
            lost = {str(each["uid"]) for each in (*owners.dangling, *owners.waiting)}
            if lost:
                kept = [each for each in references if each["uid"] not in lost]
                await self._patch(resource, live, {"ownerReferences": kept})
        elif owners.waiting and self.graph.dependents(node.identity.uid):
            if any(each.foreground for each in self.graph.dependents(node.identity.uid)):
                # A circle: everybody would wait for everybody. This one stops blocking.
                kept = [{key: value for key, value in each.items() if key != "blockOwnerDeletion"} for each in references]
                await self._patch(resource, live, {"ownerReferences": kept})
            await self._delete(resource, live, "Foreground")
        elif owners.waiting or owners.dangling:
            finalizers = live["metadata"].get("finalizers") or ()
            await self._delete(resource, live, "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background")

    async def _foreground(self, node: Node, resource: Resource, live: Object) -> None:
        blocking = self.graph.blocking(node.identity.uid)
        if not blocking:
            await self._drop_finalizer(resource, live, FOREGROUND)
            return
        for each in blocking:
            if not each.foreground:
                self.queue.add(DELETE_KEY + each.identity.uid)

    async def _orphan(self, node: Node) -> None:
        """Set the dependents free, then let the owner go."""
        for dependent in self.graph.dependents(node.identity.uid):
            resource = self._resource(dependent.identity)
            live = await self._live(dependent.identity)
            if live is None or resource is None:
                continue
            kept = [each for each in live["metadata"].get("ownerReferences") or () if each["uid"] != node.identity.uid]
            if kept != (live["metadata"].get("ownerReferences") or []):
                await self._patch(resource, live, {"ownerReferences": kept})
        owner, of = await self._live(node.identity), self._resource(node.identity)
        if owner is not None and of is not None:
            await self._drop_finalizer(of, owner, ORPHAN)

    # --- owners -------------------------------------------------------------------------------------------------------

    async def _classified(self, node: Node, references: Iterable[Object]) -> Owners:
        found = Owners([], [], [])
        for reference in references:
            owner = await self._owner(node, reference)
            if owner is None:
                found.dangling.append(reference)
            elif owner["metadata"].get("deletionTimestamp") and FOREGROUND in (owner["metadata"].get("finalizers") or ()):
                found.waiting.append(reference)
            else:
                found.solid.append(reference)
        return found

    async def _owner(self, node: Node, reference: Object) -> Object | None:
        """The owner as it is now, or None if it is gone for sure. Raises ApiError as long as that cannot be known."""
        uid = str(reference["uid"])
        group, slash, _ = str(reference.get("apiVersion")).rpartition("/")
        resource = self._by_kind.get((group if slash else "", str(reference.get("kind"))))
        if resource is None:
            raise ApiError("NotFound", f"no resource is known for owner {reference.get('apiVersion')} {reference.get('kind')}")
        if resource.namespaced and not node.identity.namespace:
            self._warn(node, reference)
            raise ApiError("Invalid", "a namespaced owner of an object of the whole cluster")
        if (node.identity.namespace, uid) in self._absent:
            return None
        namespace = node.identity.namespace if resource.namespaced else ""
        try:
            owner = await self.client.get(resource, str(reference["name"]), namespace)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            self._remember_absent(node.identity.namespace, uid)
            return None
        if uid_of(owner) != uid:
            self._remember_absent(node.identity.namespace, uid)
            return None
        return owner

    def _warn(self, node: Node, reference: Object) -> None:
        identity = node.identity
        about = {"apiVersion": identity.api_version, "kind": identity.kind, "metadata": {"name": identity.name, "uid": identity.uid}}
        text = (
            f"ownerRef [{reference.get('apiVersion')}/{reference.get('kind')}, namespace: , name: {reference.get('name')}, uid: {reference['uid']}]"
        )
        self.recorder.event(about, WARNING, "OwnerRefInvalidNamespace", f'{text} does not exist in namespace ""')

    def _remember_absent(self, namespace: str, uid: str) -> None:
        """Uids never come back: what is gone once need not be asked for again by each of a thousand dependents."""
        self._absent[namespace, uid] = None
        while len(self._absent) > ABSENT_MAX:
            self._absent.popitem(last=False)

    def _forget_absent(self, node: Node) -> None:
        if node.virtual:
            self._remember_absent(node.identity.namespace, node.identity.uid)

    # --- requests -----------------------------------------------------------------------------------------------------

    def _resource(self, identity: Identity) -> Resource | None:
        if identity.resource is not None:
            return identity.resource
        group, slash, _ = identity.api_version.rpartition("/")
        return self._by_kind.get((group if slash else "", identity.kind))

    async def _live(self, identity: Identity) -> Object | None:
        """The object of that uid as it is now; None if it is gone."""
        resource = self._resource(identity)
        if resource is None:
            raise ApiError("NotFound", f"no resource is known for {identity.api_version} {identity.kind}")
        try:
            found = await self.client.get(resource, identity.name, identity.namespace if resource.namespaced else "")
        except ApiError as error:
            if error.reason == "NotFound":
                return None
            raise
        return found if uid_of(found) == identity.uid else None

    async def _patch(self, resource: Resource, live: Object, metadata: Object) -> None:
        """Refused with Conflict if the object changed since it was read: then it is looked at again."""
        patch = {"metadata": {**metadata, "resourceVersion": resource_version_of(live), "uid": uid_of(live)}}
        await self.client.patch(resource, name_of(live), patch, namespace_of(live))

    async def _drop_finalizer(self, resource: Resource, live: Object, finalizer: str) -> None:
        before = live["metadata"].get("finalizers") or []
        if finalizer in before:
            await self._patch(resource, live, {"finalizers": [each for each in before if each != finalizer]})

    async def _delete(self, resource: Resource, live: Object, propagation: str) -> None:
        log.info("delete", extra=fields(kind=resource.kind, namespace=namespace_of(live), name=name_of(live), propagation=propagation))
        try:
            await self.client.delete(
                resource, name_of(live), namespace_of(live), propagation=propagation, uid=uid_of(live), resource_version=resource_version_of(live)
            )
        except ApiError as error:
            if error.reason != "NotFound":
                raise
