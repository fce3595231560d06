"""A request as authorization, admission and audit see it."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from msgspec import Struct, field

from apiserver.machinery.objects import Object
from apiserver.machinery.resources import Resource


class User(Struct, frozen=True):
    """Who asks. `extra` as in authentication.k8s.io UserInfo, keys in lower case."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Attributes(Struct, frozen=True):
    """What is asked, for an authorizer (k8s.io/apiserver/pkg/authorization/authorizer).

    `verb`: get, list, watch, create, update, patch, delete, deletecollection, proxy; for paths that are no resources the HTTP method in lower case.
    """

    user: User
    verb: str
    path: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""


class Decision(Struct, frozen=True):
    """`allowed` None means "no opinion": the next authorizer is asked; nobody's opinion is a refusal."""

    allowed: bool | None
    reason: str = ""


class Authorizer(Protocol):
    async def authorize(self, attributes: Attributes) -> Decision: ...


class Reader(Protocol):
    """What server-side rules may read of the cluster. Objects are shared: never change one.

    `resource` is the qualified plural: `pods`, `deployments.apps`.
    """

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """From the watch cache: at once, and at most a moment old."""

    def list(self, resource: str, namespace: str = "") -> Iterable[Object]:
        """From the watch cache; all namespaces if none is named."""

    def version(self, resource: str) -> int:
        """Another number after every change of what `list` gives: whoever builds an index over it builds it anew only then."""

    async def fresh(self, resource: str, namespace: str, name: str) -> Object | None:
        """From the store: as new as can be."""


class Change(Protocol):
    def __call__(self, obj: Object, /) -> Object:
        """The object to store: a new one, or the argument itself if there is nothing to do. Raises ApiError to give up."""


class Writer(Protocol):
    """What server-side rules may write by themselves, past admission: default roles, quota's usage."""

    async def create(self, resource: str, obj: Object) -> bool:
        """Whether it was created; False if something of its name is there."""

    async def update(self, resource: str, namespace: str, name: str, change: Change) -> Object | None:
        """Store what `change` makes of the newest state, again until nobody came in between, and return it; None if there is no such object."""


class Write(Struct):
    """A write on its way through admission (k8s.io/apiserver/pkg/admission Attributes). `object` may be changed by mutating plug-ins, in place or by
    putting another one there; `old_object` must not."""

    user: User
    operation: str
    """CREATE, UPDATE, DELETE or CONNECT."""
    resource: Resource
    namespace: str
    name: str
    object: Object | None
    old_object: Object | None
    subresource: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    """Told to the client as Warning headers; plug-ins add to it."""
    annotations: dict[str, str] = field(default_factory=dict)
    """For the audit event; plug-ins add to it."""


class Admission(Protocol):
    """One plug-in. Both raise ApiError to refuse; a plug-in without one of the two inherits from `Passive`."""

    name: str

    async def admit(self, write: Write) -> None:
        """May change `write.object`."""

    async def validate(self, write: Write) -> None:
        """After all changes: only looks."""


class Passive:
    """Nothing to say: the base of plug-ins."""

    name = ""

    async def admit(self, write: Write) -> None:
        return None

    async def validate(self, write: Write) -> None:
        return None
