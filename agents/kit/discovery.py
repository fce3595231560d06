"""Which resources the server has now, custom ones included (client-go's discovery): for controllers that work on everything."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from apiserver.client.errors import from_answer
from apiserver.client.rest import Client
from apiserver.machinery.resources import Resource, preference

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def resources(client: Client) -> list[Resource]:
    """Every resource in the preferred version of its group. Raises ApiError and Unreachable."""
    found: dict[tuple[str, str], Resource] = {}
    for path in ("/api", "/apis"):
        code, _, body = await client.request("GET", path, headers={"Accept": AGGREGATED})
        if code >= 400:
            raise from_answer(code, body)
        for each in parsed(msgspec.json.decode(body)):
            key = (each.group, each.plural)
            # Versions come with the preferred one first; a resource that only an older version has is there all the same.
            if key not in found or (each.group == "" and preference(each.version) > preference(found[key].version)):
                found[key] = each
    return sorted(found.values(), key=lambda each: (each.group, each.plural))


def parsed(document: Mapping[str, Any]) -> Iterator[Resource]:
    """The resources of an APIGroupDiscoveryList."""
    for group in document.get("items") or ():
        name = str((group.get("metadata") or {}).get("name") or "")
        for version in group.get("versions") or ():
            for each in version.get("resources") or ():
                kind = str((each.get("responseKind") or {}).get("kind") or "")
                namespaced = each.get("scope") == "Namespaced"
                yield Resource(name, str(version["version"]), kind, str(each["resource"]), namespaced, tuple(each.get("verbs") or ()))


def supports(resource: Resource, *verbs: str) -> bool:
    return all(verb in resource.verbs for verb in verbs)
