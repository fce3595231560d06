"""The table of resources: what each is called, how far it reaches, which verbs and subresources it has.

The built-in ones come from lightkube-models by way of `generate_resources`; custom resources are added at run time by the registry, with the same
record.
"""

from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

TABLE = "resources.json"


class Subresource(Struct, frozen=True):
    """`group`, `version`, `kind` are of what it takes and gives, often not the parent's: a Deployment's scale is autoscaling/v1 Scale."""

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


class Resource(Struct, frozen=True):
    """One kind of one group and version. `schema` is the name of its definition among the schemas (empty for custom resources)."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: tuple[str, ...]
    subresources: tuple[Subresource, ...] = ()
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`deployments.apps`, or `pods`: the same for all versions of it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def collection_path(self) -> str:
        """`/apis/apps/v1`, `/api/v1`: what comes before `/namespaces/...` or the plural."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def subresource(self, name: str) -> Subresource | None:
        return next((each for each in self.subresources if each.name == name), None)

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, an object or a subresource."""
        parts = [self.collection_path]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [each for each in (self.plural, name, subresource) if each]
        return "/".join(parts)


@cache
def built_in() -> tuple[Resource, ...]:
    """Every built-in resource in every version, in no order that means anything."""
    return msgspec.json.decode(Path(__file__).with_name(TABLE).read_bytes(), type=tuple[Resource, ...])


@cache
def _by_qualified() -> dict[str, list[Resource]]:
    table: dict[str, list[Resource]] = {}
    for resource in built_in():
        table.setdefault(resource.qualified, []).append(resource)
    for versions in table.values():
        versions.sort(key=lambda each: preference(each.version), reverse=True)
    return table


def preference(version: str) -> tuple[int, int, int]:
    """Sorts versions by how stable they are: v2 > v1 > v1beta2 > v1beta1 > v1alpha1 (apimachinery/pkg/version, CompareKubeAwareVersionStrings)."""
    rest = version.removeprefix("v")
    for level, word in ((1, "beta"), (0, "alpha")):
        major, found, minor = rest.partition(word)
        if found and major.isdigit() and minor.isdigit():
            return (level, int(major), int(minor))
    return (2, int(rest), 0) if rest.isdigit() else (-1, 0, 0)


def resource(qualified: str, version: str = "") -> Resource:
    """The built-in resource called `pods`, `deployments.apps`, ... in `version`, or in its most stable one. Raises KeyError."""
    versions = _by_qualified()[qualified]
    if not version:
        return versions[0]
    for each in versions:
        if each.version == version:
            return each
    raise KeyError(f"{qualified} has no version {version}")
