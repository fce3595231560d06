"""What the API server serves: aggregated discovery (v2, v2beta1), the legacy lists, and /version.

Pure functions over the resources that stand at this moment, so that a custom resource is seen with the next request. Sources:
apiserver/pkg/endpoints/discovery (legacy and aggregated), pkg/controlplane/apiserver/aggregator.go for the order of groups.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import msgspec
from msgspec import Struct, field

from apiserver.discovery.negotiation import wants
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import Resource, built_in, preference
from apiserver.machinery.schema import VERSION
from apiserver.machinery.status import ApiError, bad_request

JSON = "application/json"
DISCOVERY_GROUP = "apidiscovery.k8s.io"

GROUP_ORDER = (
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
)
"""Clients take the first group that has a name: `events` is the core group's. All others follow by name."""


class Answer(Struct, frozen=True):
    """What a handler sends. `headers` without Content-Type."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(value: object, content_type: str = JSON, **headers: str) -> Answer:
    return Answer(200, content_type, msgspec.json.encode(value), headers)


def tagged(body: bytes, content_type: str, if_none_match: str) -> Answer:
    """With an ETag, or 304 to a client that has it already."""
    tag = f'"{hashlib.sha512(body).hexdigest().upper()}"'
    headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "public"}
    if tag in [each.strip() for each in if_none_match.split(",")]:
        return Answer(304, content_type, b"", headers)
    return Answer(200, content_type, body, headers)


def grouped(resources: Iterable[Resource]) -> dict[str, dict[str, list[Resource]]]:
    """Groups in their order, versions the preferred one first, resources by name."""
    found: dict[str, dict[str, list[Resource]]] = {}
    for resource in resources:
        found.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
    place = {group: index for index, group in enumerate(GROUP_ORDER)}
    return {
        group: {version: sorted(versions[version], key=lambda each: each.plural) for version in sorted(versions, key=preference, reverse=True)}
        for group, versions in sorted(found.items(), key=lambda item: (place.get(item[0], len(place)), item[0]))
    }


def root(resources: Iterable[Resource], path: str, accept: str = "", if_none_match: str = "", server_address: str = "") -> Answer:
    """GET /api or /apis. Raises ApiError 406 if the client accepts no form of it."""
    version = wants(accept, "APIGroupDiscoveryList", DISCOVERY_GROUP, ("v2", "v2beta1"))
    if version is None:
        raise not_acceptable()
    core = path.rstrip("/") == "/api"
    groups = {group: versions for group, versions in grouped(resources).items() if (group == "") == core}
    if version:
        body = msgspec.json.encode(aggregated(groups, version))
        return tagged(body, f"{JSON};g={DISCOVERY_GROUP};v={version};as=APIGroupDiscoveryList", if_none_match)
    if core:
        return answer(api_versions(groups, server_address), JSON, Vary="Accept")
    return answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name, groups[name]) for name in groups]}, JSON, Vary="Accept")


def not_acceptable(offered: str = "application/json") -> ApiError:
    return ApiError("NotAcceptable", f"only the following media types are accepted: {offered}")


def aggregated(groups: Mapping[str, Mapping[str, Sequence[Resource]]], version: str) -> Object:
    """The APIGroupDiscoveryList; its two versions have the same fields."""
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"{DISCOVERY_GROUP}/{version}",
        "metadata": {},
        "items": [
            {
                "metadata": {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None},
                "versions": [
                    {"version": each, "resources": [_discovered(resource) for resource in versions[each]], "freshness": "Current"}
                    for each in versions
                ],
            }
            for name, versions in groups.items()
        ],
    }


def _discovered(resource: Resource) -> Object:
    found: Object = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular or resource.kind.lower(),
    }
    found["verbs"] = sorted(resource.verbs)
    if resource.short_names:
        found["shortNames"] = list(resource.short_names)
    if resource.categories:
        found["categories"] = list(resource.categories)
    if resource.subresources:
        found["subresources"] = [
            {
                "subresource": each.name,
                "responseKind": {"group": each.group, "version": each.version, "kind": each.kind},
                "verbs": sorted(each.verbs),
            }
            for each in sorted(resource.subresources, key=lambda each: each.name)
        ]
    return found


def api_versions(groups: Mapping[str, Mapping[str, list[Resource]]], server_address: str) -> Object:
    return {
        "kind": "APIVersions",
        "versions": list(groups.get("", {})),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    }


def _group(name: str, versions: Iterable[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group(resources: Iterable[Resource], name: str) -> Answer | None:
    """GET /apis/GROUP; None if nobody serves it."""
    versions = grouped(resources).get(name)
    return answer({"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}) if name and versions else None


def group_version(resources: Iterable[Resource], name: str, version: str) -> Answer | None:
    """GET /api/v1 or /apis/GROUP/VERSION; None if nobody serves it."""
    served = [each for each in resources if each.group == name and each.version == version]
    if not served:
        return None
    listed = sorted((entry for each in served for entry in _listed(each)), key=lambda entry: str(entry["name"]))
    group_version = served[0].api_version
    return answer({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed})


def _listed(resource: Resource) -> list[Object]:
    own: Object = {
        "name": resource.plural,
        "singularName": resource.singular or resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": sorted(resource.verbs),
    }
    if resource.short_names:
        own["shortNames"] = list(resource.short_names)
    if resource.categories:
        own["categories"] = list(resource.categories)
    if (stored := _stored_versions().get(resource.qualified)) and "watch" in resource.verbs:
        own["storageVersionHash"] = _version_hash(resource.group, stored, resource.kind)
    entries = [own]
    for each in resource.subresources:
        entry: Object = {"name": f"{resource.plural}/{each.name}", "singularName": "", "namespaced": resource.namespaced}
        if (each.group, each.version) != (resource.group, resource.version):
            entry |= {"group": each.group, "version": each.version}
        entries.append({**entry, "kind": each.kind, "verbs": sorted(each.verbs)})
    return entries


@cache
def _stored_versions() -> dict[str, str]:
    """By qualified name, the version that a built-in resource is stored in: its preferred one."""
    found: dict[str, str] = {}
    for each in sorted(built_in(), key=lambda each: preference(each.version)):
        found[each.qualified] = each.version
    return found


def _version_hash(group: str, version: str, kind: str) -> str:
    """How clients see that the stored version has changed (endpoints/discovery/storageversionhash.go)."""
    return base64.b64encode(hashlib.sha256(f"{group}/{version}/{kind}".encode()).digest()[:8]).decode()


def version(git_commit: str = "", build_date: str = "1970-01-01T00:00:00Z", *, runtime: str = "", platform: str = "linux/amd64") -> Answer:
    """GET /version. `runtime` is told where Kubernetes tells Go's version: ours is Python's."""
    major, minor, _ = VERSION.removeprefix("v").split(".")
    return answer(
        {
            "major": major,
            "minor": minor,
            "emulationMajor": major,
            "emulationMinor": minor,
            "minCompatibilityMajor": major,
            "minCompatibilityMinor": str(int(minor) - 1),
            "gitVersion": f"{VERSION}+keelson",
            "gitCommit": git_commit,
            "gitTreeState": "clean",
            "buildDate": build_date,
            "goVersion": runtime,
            "compiler": "cpython",
            "platform": platform,
        }
    )


def serve(resources: Iterable[Resource], path: str, accept: str = "", if_none_match: str = "", server_address: str = "") -> Answer | None:
    """The discovery document at a path; None if there is none: the caller says 404."""
    parts = [part for part in path.split("/") if part]
    if parts in (["api"], ["apis"]):
        return root(resources, f"/{parts[0]}", accept, if_none_match, server_address)
    if wants(accept, "", "", ()) is None:
        raise not_acceptable()
    if len(parts) == 2 and parts[0] == "api":
        return group_version(resources, "", parts[1])
    if len(parts) == 2 and parts[0] == "apis":
        return group(resources, parts[1])
    if len(parts) == 3 and parts[0] == "apis":
        return group_version(resources, parts[1], parts[2])
    raise bad_request(f"{path} is no path of discovery")
