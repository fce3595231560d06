"""What this server serves: every resource in every version, with what is known of it. Routes, discovery and OpenAPI are read off this table.

Built-in resources are there from the start; custom resources are added and removed at run time by whoever watches their definitions. Versions of one
resource share one place in the store, so an object written in one is read in all.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec
from msgspec import Struct, field

from apiserver.machinery.objects import Object
from apiserver.machinery.resources import Resource
from apiserver.machinery.schema import Node
from apiserver.machinery.status import Cause
from apiserver.registry import go_types
from apiserver.registry.column import Printer
from apiserver.registry.go_types import Told
from apiserver.registry.strategy import Strategy

Path = tuple[str, ...]
Convert = Callable[[Object, str], Object]
"""(object in any version, the apiVersion wanted) -> the object in that version. Must not change its argument."""


class Checker(Protocol):
    """What the schema of a kind says of an object; `registry.schemas` has it."""

    def decode(self, obj: Object, *, validation: str = "Strict", text: bytes | str | None = None, told: Told = go_types.told) -> list[str]: ...
    def default(self, obj: Object) -> None: ...
    def required(self, obj: Object) -> list[Cause]: ...


class Scale(Struct, frozen=True):
    """Where a resource keeps what autoscaling/v1 Scale shows. `selector` may lead to a LabelSelector, a map of labels or a string."""

    spec_replicas: Path = ("spec", "replicas")
    status_replicas: Path = ("status", "replicas")
    selector: Path = ("spec", "selector")


class Served(Struct, frozen=True, eq=False):
    """One resource in one version as this server has it."""

    resource: Resource
    prefix: str
    """Where its objects stand in the store, with a slash at the end; empty for what is kept elsewhere."""
    storage_version: str
    """The apiVersion in which they stand there."""
    strategy: Strategy = field(default_factory=Strategy)
    checker: Checker | None = None
    node: Node | None = None
    """The schema as patches walk it."""
    convert: Convert | None = None
    """None: versions differ by apiVersion alone."""
    webhook: Object | None = None
    """Who converts a custom resource (spec.conversion.webhook): then `conversion_webhooks` does what `in_version` and `stored` do for all others."""
    selectable: tuple[str, ...] = ()
    """What field selectors may ask for of a custom resource, as paths without the leading point."""
    scale: Scale | None = None
    printer: Printer | None = None
    """The columns of a custom resource; those of built-in kinds are in registry/columns.py."""
    custom: bool = False
    form: str = ""
    """What an object's look in this version is remembered under: apiVersion, and after a # the way of converting, which may change."""
    deprecation: str = ""
    """A warning for everybody who uses this version."""

    def __post_init__(self) -> None:
        if not self.form:
            msgspec.structs.force_setattr(self, "form", self.resource.api_version)

    def in_version(self, obj: Object) -> Object:
        """A stored object as this version shows it; the same object if it is in this version."""
        if obj.get("apiVersion") == self.resource.api_version:
            return obj
        assert self.webhook is None, "its objects are converted by somebody else"
        if self.convert is not None:
            return self.convert(obj, self.resource.api_version)
        return {**obj, "apiVersion": self.resource.api_version}

    def stored(self, obj: Object) -> Object:
        """An object of this version as it is stored."""
        if self.storage_version == self.resource.api_version:
            return obj
        assert self.webhook is None, "its objects are converted by somebody else"
        if self.convert is not None:
            return self.convert(obj, self.storage_version)
        return {**obj, "apiVersion": self.storage_version}


Listener = Callable[[Served, bool], None]
"""(what, True if it was added and False if it was removed)"""


class Registry:
    def __init__(self, served: Iterable[Served] = ()) -> None:
        self._table: dict[tuple[str, str, str], Served] = {}
        self._qualified: dict[str, Served] = {}
        self.listeners: list[Listener] = []
        self.generation = 0
        """Grows with each change: discovery and OpenAPI keep what they made of one generation."""
        for each in served:
            self.add(each)

    def add(self, served: Served) -> None:
        """Serve it from now on, in place of what was served under the same name and version."""
        resource = served.resource
        key = resource.group, resource.version, resource.plural
        before = self._table.get(key)
        self._table[key] = served
        self._qualified[resource.qualified] = served
        self.generation += 1
        if before is not None and before.prefix != served.prefix:
            self._tell(before, False)
        self._tell(served, True)

    def remove(self, group: str, version: str, plural: str) -> None:
        served = self._table.pop((group, version, plural), None)
        if served is not None:
            self.generation += 1
            self._qualified = {each.resource.qualified: each for each in self._table.values()}
            self._tell(served, False)

    def find(self, group: str, version: str, plural: str) -> Served | None:
        return self._table.get((group, version, plural))

    def served(self) -> list[Served]:
        return list(self._table.values())

    def resources(self) -> list[Resource]:
        return [each.resource for each in self._table.values()]

    def by_qualified(self, qualified: str) -> Served | None:
        """Any version of `deployments.apps`: good for whatever the versions share, such as where it is stored."""
        return self._qualified.get(qualified)

    def by_kind(self, group: str, version: str, kind: str) -> Served | None:
        return next((each for key, each in self._table.items() if key[:2] == (group, version) and each.resource.kind == kind), None)

    def _tell(self, served: Served, added: bool) -> None:
        for listener in self.listeners:
            listener(served, added)
