"""The registry as it is at start: every built-in resource, with its schema, its strategy and its place in the store."""

from apiserver.machinery import schema
from apiserver.machinery.resources import Resource, built_in, preference
from apiserver.registry import schemas, short_names
from apiserver.registry.conversion import conversion_of
from apiserver.registry.registry import Registry, Scale, Served
from apiserver.registry.strategies.registry import strategy_for
from apiserver.storage import keys

UNSERVED_LEVELS = (0, 1)
"""Alpha and beta: as upstream, they are not served unless asked for."""

SCALES = {
    "deployments.apps": Scale(),
    "replicasets.apps": Scale(),
    "statefulsets.apps": Scale(),
    "replicationcontrollers": Scale(),
}


DEPRECATIONS = {
    ("v1", "componentstatuses"): "v1 ComponentStatus is deprecated in v1.19+",
    ("v1", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
"""Warnings to whoever uses them (the `APILifecycleDeprecated` methods of k8s.io/api)."""


def registry(*, previews: bool = True) -> Registry:
    """`previews`: alpha and beta versions too."""
    table = [each for each in short_names.completed() if previews or preference(each.version)[0] not in UNSERVED_LEVELS]
    return Registry(served(each, storage_version(each)) for each in table)


def storage_version(resource: Resource) -> str:
    """The most stable version of the same resource. The two groups of events share their objects, which are stored as the core group's."""
    if resource.plural == "events":
        return "v1"
    versions = [each for each in built_in() if each.group == resource.group and each.plural == resource.plural]
    return max(versions, key=lambda each: preference(each.version)).api_version


def served(resource: Resource, stored_as: str) -> Served:
    try:
        node = schema.built_in(resource.group, resource.version, resource.kind)
        checker = schemas.check(resource)
    except KeyError:
        node, checker = None, None
    return Served(
        resource=resource,
        prefix=keys.prefix(resource),
        storage_version=stored_as,
        strategy=strategy_for(resource),
        checker=checker,
        node=node,
        convert=conversion_of(resource),
        deprecation=DEPRECATIONS.get((resource.api_version, resource.plural), ""),
        scale=SCALES.get(resource.qualified),
    )
