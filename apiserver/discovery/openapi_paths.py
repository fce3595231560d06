"""The paths of a resource as OpenAPI 3 describes them: every verb with its parameters, bodies and answers.

kubectl reads from them whether the server validates fields (`fieldValidation` among PATCH's parameters) and which patches it takes (the media types
of PATCH's body): k8s.io/kubectl/pkg/util/openapi and k8s.io/cli-runtime/pkg/resource/query_param_verifier_v3.go. `x-kubernetes-action` and
`x-kubernetes-group-version-kind` are upstream's (apiserver/pkg/endpoints/installer.go).
"""

from typing import Any

from apiserver.discovery.openapi_schemas import name_of
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import Resource

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml")
PATCHES_OF_CUSTOM = tuple(each for each in PATCHES if "strategic" not in each)

METHODS = {"create": "post", "delete": "delete", "deletecollection": "delete", "get": "get", "list": "get", "patch": "patch", "update": "put"}
ACTIONS = {"create": "post", "update": "put"}
"""Where `x-kubernetes-action` is not the verb itself."""


def parameter(name: str, kind: str, description: str, where: str = "query") -> Object:
    found: Object = {"name": name, "in": where, "description": description, "schema": {"type": kind, "uniqueItems": True}}
    return {**found, "required": True} if where == "path" else found


PRETTY = parameter("pretty", "string", "If 'true', then the output is pretty printed.")
DRY_RUN = parameter("dryRun", "string", "When present, indicates that modifications should not be persisted. Valid values are: All.")
FIELD_MANAGER = parameter("fieldManager", "string", "A name associated with the actor or entity that is making these changes.")
FIELD_VALIDATION = parameter("fieldValidation", "string", "What to do with unknown or duplicate fields: Ignore, Warn or Strict.")
FORCE = parameter("force", "boolean", "Take ownership of conflicting fields; for apply patches.")
WRITE = (DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION)
SELECT = (
    parameter("continue", "string", "Where a list that came in chunks goes on."),
    parameter("fieldSelector", "string", "Restrict the objects by their fields. Defaults to everything."),
    parameter("labelSelector", "string", "Restrict the objects by their labels. Defaults to everything."),
    parameter("limit", "integer", "The most objects in one answer."),
    parameter("resourceVersion", "string", "What the answer must be as new as."),
    parameter("resourceVersionMatch", "string", "How resourceVersion is meant: NotOlderThan or Exact."),
    parameter("sendInitialEvents", "boolean", "Let a watch begin with the objects that stand, and mark where they end."),
    parameter("timeoutSeconds", "integer", "How long the call may last."),
)
WATCH = (
    parameter("allowWatchBookmarks", "boolean", "Let a watch send BOOKMARK events."),
    parameter("watch", "boolean", "Watch for changes instead of listing."),
)
DELETE = (
    DRY_RUN,
    parameter("gracePeriodSeconds", "integer", "How long to wait for the object's own end; zero is at once."),
    parameter("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
    parameter("propagationPolicy", "string", "Orphan, Background or Foreground."),
)
PARAMETERS: dict[str, tuple[Object, ...]] = {
    "create": WRITE,
    "update": WRITE,
    "patch": (*WRITE, FORCE),
    "list": (*SELECT, *WATCH),
    "deletecollection": (*DELETE, *SELECT),
    "delete": DELETE,
    "get": (),
}
NAMESPACE = parameter("namespace", "string", "object name and auth scope, such as for teams and projects", "path")
CODES = {"create": ("200", "201", "202"), "update": ("200", "201"), "patch": ("200", "201"), "delete": ("200", "202")}


class Kind:
    """What an operation takes or gives: its group, version and kind, and where its schema is."""

    def __init__(self, group: str, version: str, kind: str, schema: str = "") -> None:
        self.gvk = {"group": group, "version": version, "kind": kind}
        self.schema = schema or name_of(group, version, kind)

    def content(self, *media_types: str) -> Object:
        if not self.schema:
            return {media_type: {"schema": {"type": "string"}} for media_type in media_types}
        return {media_type: {"schema": {"$ref": f"#/components/schemas/{self.schema}"}} for media_type in media_types}


def paths(resource: Resource, *, schema: str = "", list_schema: str = "") -> Object:
    """All paths of a resource. `schema` and `list_schema` name the definitions of a custom resource."""
    own = Kind(resource.group, resource.version, resource.kind, schema)
    listed = Kind(resource.group, resource.version, f"{resource.kind}List", list_schema)
    patches = PATCHES_OF_CUSTOM if schema else PATCHES
    namespaced = (NAMESPACE,) if resource.namespaced else ()
    collection = resource.path("{namespace}") if resource.namespaced else resource.path()
    name = parameter("name", "string", f"name of the {resource.kind}", "path")
    found: Object = {}
    operations = {
        METHODS[verb]: _operation(resource, verb, own, listed, patches) for verb in ("create", "list", "deletecollection") if verb in resource.verbs
    }
    if operations:
        found[collection] = {**operations, "parameters": [*namespaced, PRETTY]}
    if resource.namespaced and "list" in resource.verbs:
        found[resource.path()] = {"get": _operation(resource, "list", own, listed, patches, "ForAllNamespaces"), "parameters": [PRETTY]}
    single = {
        METHODS[verb]: _operation(resource, verb, own, listed, patches) for verb in ("get", "update", "patch", "delete") if verb in resource.verbs
    }
    if single:
        found[f"{collection}/{{name}}"] = {**single, "parameters": [name, *namespaced, PRETTY]}
    for each in resource.subresources:
        kind = Kind(each.group, each.version, each.kind, schema if (each.kind == resource.kind and schema) else "")
        found[f"{collection}/{{name}}/{each.name}"] = {
            **{METHODS[verb]: _operation(resource, verb, kind, listed, patches, _camel(each.name)) for verb in each.verbs if verb in METHODS},
            "parameters": [name, *namespaced, PRETTY],
        }
    return found


def _camel(text: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in text.replace("-", ".").replace("_", ".").split("."))


def _operation(resource: Resource, verb: str, kind: Kind, listed: Kind, patches: tuple[str, ...], suffix: str = "") -> Object:
    words = {"create": "create", "update": "replace", "patch": "patch", "get": "read", "list": "list", "delete": "delete"}
    scope = "Namespaced" if resource.namespaced and suffix != "ForAllNamespaces" else ""
    group = _camel(resource.group.removesuffix(".k8s.io")) if resource.group else "Core"
    word = words.get(verb, "deleteCollection")
    answers = listed if verb == "list" else kind
    if verb in ("delete", "deletecollection"):
        answers = Kind("", "v1", "Status")
    made: Object = {
        "tags": [f"{group[:1].lower()}{group[1:]}_{resource.version}"],
        "description": f"{word} {resource.kind}{f' ({suffix})' if suffix else ''}",
        "operationId": f"{word}{group}{_camel(resource.version)}{scope}{resource.kind}{suffix}",
        "responses": {
            **{code: {"description": "OK", "content": answers.content("application/json")} for code in CODES.get(verb, ("200",))},
            "401": {"description": "Unauthorized"},
        },
        "x-kubernetes-action": ACTIONS.get(verb, verb),
        "x-kubernetes-group-version-kind": kind.gvk,
    }
    if PARAMETERS[verb]:
        made["parameters"] = list(PARAMETERS[verb])
    body = _body(verb, kind, patches)
    return {**made, "requestBody": body} if body else made


def _body(verb: str, kind: Kind, patches: tuple[str, ...]) -> dict[str, Any] | None:
    if verb in ("create", "update") and kind.schema:
        return {"content": kind.content("*/*"), "required": True}
    if verb == "patch":
        reference = {"schema": {"$ref": f"#/components/schemas/{META}Patch"}}
        return {"content": dict.fromkeys(patches, reference), "required": True}
    if verb in ("delete", "deletecollection"):
        return {"content": {"*/*": {"schema": {"$ref": f"#/components/schemas/{META}DeleteOptions"}}}}
    return None
