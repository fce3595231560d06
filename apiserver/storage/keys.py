"""Where objects stand in the store: under the keys that upstream's API server uses (pkg/kubeapiserver/default_storage_factory_builder.go), so that
`get / --prefix --keys-only` shows what people know from other clusters."""

from apiserver.machinery.resources import Resource

ROOT = "/registry/"

SPECIAL = {
    "replicationcontrollers": "controllers",
    "endpoints": "services/endpoints",
    "services": "services/specs",
    "nodes": "minions",
    "ingresses.networking.k8s.io": "ingress",
    "customresourcedefinitions.apiextensions.k8s.io": "apiextensions.k8s.io/customresourcedefinitions",
    "apiservices.apiregistration.k8s.io": "apiregistration.k8s.io/apiservices",
}


def prefix(resource: Resource, *, custom: bool = False) -> str:
    """With a slash at the end. Built-in groups leave the group out; core events and events.k8s.io are the same objects, which comes out by itself."""
    if custom:
        return f"{ROOT}{resource.group}/{resource.plural}/"
    return f"{ROOT}{SPECIAL.get(resource.qualified, resource.plural)}/"


def key(prefix: str, namespace: str, name: str) -> str:
    return f"{prefix}{namespace}/{name}" if namespace else prefix + name
