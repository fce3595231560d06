"""Who owns whom in the whole cluster, by uid (pkg/controller/garbagecollector, graph.go and graph_builder.go). Pure: objects in, work out.

An owner that is named and was never seen stands as a virtual node until a live look says whether it exists. Work is of two kinds: nodes that may
have to
be deleted, and owners whose dependents are to be set free first.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from apiserver.machinery.objects import Object, is_terminating, name_of, namespace_of, uid_of
from apiserver.machinery.resources import Resource

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


class Identity(Struct, frozen=True):
    """`api_version` and `kind` stand in for a resource that discovery does not name (then `resource` is None)."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource: Resource | None = None


class Node(Struct):
    identity: Identity
    owners: dict[str, Object] = field(default_factory=dict)
    """Its owner references, by uid."""
    dependents: set[str] = field(default_factory=set)
    virtual: bool = False
    terminating: bool = False
    foreground: bool = False
    """Terminating, and waits for dependents that block it."""


class Work(Struct):
    """What a change asks for."""

    delete: set[str] = field(default_factory=set)
    orphan: set[str] = field(default_factory=set)


class Graph:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def seen(self, obj: Object, resource: Resource) -> Work:
        """An object as it is now."""
        work = Work()
        uid = uid_of(obj)
        identity = Identity(resource.api_version, resource.kind, namespace_of(obj), name_of(obj), uid, resource)
        node = self.nodes.get(uid)
        if node is None:
            node = self.nodes[uid] = Node(identity)
        elif node.virtual:
            node.virtual = False
            self._check_namespaces(node, identity, work)
        node.identity = identity
        before = node.owners
        node.owners = {str(each["uid"]): each for each in obj["metadata"].get("ownerReferences") or ()}
        self._connect(node, before, work)
        self._mark(node, obj, work)
        return work

    def gone(self, uid: str) -> Work:
        """An object that is no more."""
        work = Work()
        node = self.nodes.pop(uid, None)
        if node is None:
            return work
        for owner_uid in node.owners:
            self._leave(owner_uid, uid, work)
        work.delete |= node.dependents
        if node.dependents:
            # It stays as a virtual node, so that what still names it finds it, and is looked at once more should it fail now.
            self.nodes[uid] = Node(node.identity, {}, set(node.dependents), virtual=True)
        return work

    def dependents(self, uid: str) -> list[Node]:
        node = self.nodes.get(uid)
        return [self.nodes[each] for each in sorted(node.dependents) if each in self.nodes] if node is not None else []

    def blocking(self, uid: str) -> list[Node]:
        """Dependents for which a foreground deletion waits."""
        return [each for each in self.dependents(uid) if each.owners.get(uid, {}).get("blockOwnerDeletion")]

    def of_resource(self, resource: Resource) -> Iterable[Node]:
        return [node for node in self.nodes.values() if node.identity.resource == resource]

    def _leave(self, owner_uid: str, uid: str, work: Work) -> None:
        """An owner has one dependent less."""
        owner = self.nodes.get(owner_uid)
        if owner is None:
            return
        owner.dependents.discard(uid)
        if owner.foreground:
            work.delete.add(owner_uid)
        self._forget_if_unneeded(owner)

    def _connect(self, node: Node, before: Mapping[str, Object], work: Work) -> None:
        uid = node.identity.uid
        for owner_uid, reference in node.owners.items():
            owner = self.nodes.get(owner_uid)
            if owner is None:
                namespace = node.identity.namespace
                missing = Identity(str(reference.get("apiVersion")), str(reference.get("kind")), namespace, str(reference.get("name")), owner_uid)
                owner = self.nodes[owner_uid] = Node(missing, virtual=True)
            owner.dependents.add(uid)
            if owner.virtual and owner_uid not in before:
                work.delete.add(owner_uid)  # is it there at all?
            elif not owner.virtual and not _fits(owner.identity, node.identity):
                work.delete.add(uid)
            if owner.foreground and before.get(owner_uid, {}).get("blockOwnerDeletion") and not reference.get("blockOwnerDeletion"):
                work.delete.add(owner_uid)
        for owner_uid in before.keys() - node.owners.keys():
            self._leave(owner_uid, uid, work)
        if before.keys() - node.owners.keys() or (before and node.owners != before):
            work.delete.add(uid)  # the owner that kept it may be the one that left

    def _mark(self, node: Node, obj: Object, work: Work) -> None:
        finalizers = obj["metadata"].get("finalizers") or ()
        node.terminating = is_terminating(obj)
        if node.terminating and ORPHAN in finalizers:
            work.orphan.add(node.identity.uid)
        elif node.terminating and FOREGROUND in finalizers and not node.foreground:
            node.foreground = True
            work.delete |= {node.identity.uid, *node.dependents}

    def _check_namespaces(self, node: Node, identity: Identity, work: Work) -> None:
        """References that named it in a namespace where it is not: their objects are looked at."""
        for uid in node.dependents:
            dependent = self.nodes.get(uid)
            if dependent is not None and not _fits(identity, dependent.identity):
                work.delete.add(uid)

    def _forget_if_unneeded(self, owner: Node) -> None:
        if owner.virtual and not owner.dependents:
            self.nodes.pop(owner.identity.uid, None)


def _fits(owner: Identity, dependent: Identity) -> bool:
    """An owner is in the namespace of what it owns, or in none."""
    return not owner.namespace or owner.namespace == dependent.namespace
