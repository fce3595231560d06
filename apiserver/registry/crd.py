"""CustomResourceDefinitions: what a definition must keep to, which conditions it gets, and what is served because of it. Pure.

(apiextensions-apiserver: pkg/apis/apiextensions/validation, pkg/controller/status/naming_controller.go, pkg/apiserver/customresource_handler.go)
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from apiserver.machinery import jsonpath, names
from apiserver.machinery.objects import Object, annotations_of, is_terminating, name_of
from apiserver.machinery.resources import Resource, Subresource, preference
from apiserver.machinery.schema import Node, definitions
from apiserver.machinery.status import Cause, duplicate, forbidden_value, invalid_value, not_supported, required
from apiserver.registry import custom_columns, schemas, structural
from apiserver.registry.custom_strategy import CustomStrategy
from apiserver.registry.registry import Path, Scale, Served
from apiserver.registry.strategies.webhooks import client_config
from apiserver.storage import keys

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
APPROVED = "api-approved.kubernetes.io"
GROUP = "apiextensions.k8s.io"
VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
VERSIONS_MAX = 64
COLUMNS_MAX = 100
WARNING_MAX = 256
SELECTABLE_MAX = 8
INTERNAL = (
    ("Name", "name", ""),
    ("Served", "served", False),
    ("Storage", "storage", False),
    ("Deprecated", "deprecated", False),
    ("DeprecationWarning", "deprecationWarning", None),
)
SHARED = ("schema", "subresources", "additionalPrinterColumns", "selectableFields")
IMMUTABLE = "field is immutable"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def versions_of(crd: Object) -> list[Object]:
    return list((crd.get("spec") or {}).get("versions") or ())


def complete(crd: Object) -> None:
    """Names that follow from others (SetDefaults_CustomResourceDefinitionSpec). In place."""
    found = (crd.get("spec") or {}).get("names") or {}
    if found.get("kind"):
        found["singular"] = found.get("singular") or found["kind"].lower()
        found["listKind"] = found.get("listKind") or found["kind"] + "List"
    for each in versions_of(crd):
        each.setdefault("served", False)
        each.setdefault("storage", False)
    conversion = (crd.get("spec") or {}).get("conversion") or {}
    service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
    if service is not None and not service.get("port"):
        service["port"] = 443


def validate(crd: Object) -> list[Cause]:
    spec = crd.get("spec") or {}
    found = [*_identity_faults(crd, spec), *_name_faults(spec.get("names") or {}), *_version_faults(spec), *_conversion_faults(spec)]
    if not (crd.get("status") or {}).get("storedVersions"):
        found.append(invalid_value("status.storedVersions", None, "must have at least one stored version"))
    return found


def _identity_faults(crd: Object, spec: Object) -> Iterator[Cause]:
    plural, group = (spec.get("names") or {}).get("plural") or "", spec.get("group") or ""
    if name_of(crd) and name_of(crd) != f"{plural}.{group}":
        yield invalid_value("metadata.name", name_of(crd), 'must be spec.names.plural+"."+spec.group')
    if not group:
        yield required("spec.group")
    elif faults := names.dns1123_subdomain(group):
        yield invalid_value("spec.group", group, ",".join(faults))
    elif "." not in group:
        yield invalid_value("spec.group", group, "should be a domain with at least one dot")
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        yield not_supported("spec.scope", spec.get("scope") or "", ("Cluster", "Namespaced")) if spec.get("scope") else required("spec.scope")
    protected = any(group == each or group.endswith(f".{each}") for each in ("k8s.io", "kubernetes.io"))
    if protected:
        yield from _approval_faults(annotations_of(crd).get(APPROVED) or "")
    if spec.get("preserveUnknownFields"):
        yield invalid_value(
            "spec.preserveUnknownFields",
            True,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        )


def _approval_faults(given: str) -> Iterator[Cause]:
    """(apihelpers.GetAPIApprovalState)"""
    where, see = f"metadata.annotations[{APPROVED}]", "see https://github.com/kubernetes/enhancements/pull/1111"
    if not given:
        yield required(where, f'protected groups must have approval annotation "{APPROVED}", {see}')
    elif not given.startswith("unapproved") and not _is_url(given):
        told = f'protected groups must have approval annotation "{APPROVED}" with either a URL or a reason starting with "unapproved", {see}'
        yield invalid_value(where, given, told)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


def _name_faults(found: Object) -> Iterator[Cause]:
    for name in ("plural", "singular", "kind", "listKind"):
        value = found.get(name) or ""
        if not value:
            yield required(f"spec.names.{name}")
        elif faults := names.dns1035_label(value.lower() if name in ("kind", "listKind") else value):
            told = "may have mixed case, but should otherwise match: " if name in ("kind", "listKind") else ""
            yield invalid_value(f"spec.names.{name}", value, told + ",".join(faults))
    if found.get("kind") and found.get("kind") == found.get("listKind"):
        yield invalid_value("spec.names.listKind", found["listKind"], "kind and listKind may not be the same")
    for name in ("shortNames", "categories"):
        for number, value in enumerate(found.get(name) or ()):
            if faults := names.dns1035_label(value):
                yield invalid_value(f"spec.names.{name}[{number}]", value, ",".join(faults))


def _version_faults(spec: Object) -> Iterator[Cause]:
    found = list(spec.get("versions") or ())
    if len(found) > VERSIONS_MAX:
        yield Cause("FieldValueTooMany", f"Too many: {len(found)}: must have at most {VERSIONS_MAX} items", "spec.versions")
        return
    listed = [each.get("name") for each in found]
    if len(set(listed)) != len(listed):
        yield invalid_value("spec.versions", listed, "must contain unique version names")
    # What is the same in all versions is told as the definition's own, and once: upstream keeps it there.
    shared = {name for name in SHARED if all(each.get(name) == found[0].get(name) for each in found)}
    if sum(bool(each.get("storage")) for each in found) != 1:
        given = spec.get("versions") and [_internal(each, shared) for each in found]
        yield invalid_value("spec.versions", given, "must have exactly one version marked as storage version")
    for number, each in enumerate(found):
        path = f"spec.versions[{number}]"
        if faults := names.dns1035_label(each.get("name") or ""):
            if not number and each.get("name"):
                yield invalid_value("spec.version", each["name"], ",".join(faults))
            yield invalid_value(f"{path}.name", each.get("name") or "", ",".join(faults))
        if schema_given(each) is None:
            yield required(f"{path}.schema.openAPIV3Schema")
        yield from _parts_faults({name: each.get(name) for name in SHARED if name not in shared}, path, schema_of(each))
    if found:
        yield from _parts_faults({name: found[0].get(name) for name in shared}, "spec", schema_of(found[0]))
    for number, each in enumerate(found):
        yield from _deprecation_faults(each, f"spec.versions[{number}].deprecationWarning")


def _deprecation_faults(version: Object, path: str) -> Iterator[Cause]:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    if not version.get("deprecated"):
        yield invalid_value(path, warning, "can only be set for deprecated versions")
    if len(warning) > WARNING_MAX:
        yield invalid_value(path, warning, f"must be <= {WARNING_MAX} characters long")
    if not warning:
        yield invalid_value(path, warning, "must not be an empty string")


def _internal(version: Object, shared: Collection[str]) -> Object:
    """A version as messages show it: the fields of the struct that upstream keeps it in."""
    found = {name: version.get(json) or zero for name, json, zero in INTERNAL}
    return found | {name[0].upper() + name[1:]: None if name in shared else version.get(name) for name in SHARED}


def _parts_faults(version: Object, path: str, whole: Object) -> Iterator[Cause]:
    """Of the parts that versions may share."""
    if (schema := schema_given(version)) is not None:
        at = "spec.validation" if path == "spec" else f"{path}.schema"
        yield from structural.validate(schema, f"{at}.openAPIV3Schema")
    columns = version.get("additionalPrinterColumns") or ()
    if len(columns) > COLUMNS_MAX:
        yield Cause("FieldValueTooMany", f"Too many: {len(columns)}: must have at most {COLUMNS_MAX} items", f"{path}.additionalPrinterColumns")
    for number, column in enumerate(columns):
        yield from _column_faults(column, f"{path}.additionalPrinterColumns[{number}]")
    yield from _selectable_faults(version, path, whole)
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        for name, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status."), ("labelSelectorPath", "")):
            value = scale.get(name) or ""
            where = f"{path}.subresources.scale.{name}"
            if not value and name != "labelSelectorPath":
                yield required(where)
            elif value and not value.startswith(root or (".spec.", ".status.")):
                wanted = f"should be a json path under {root.rstrip('.')}" if root else "should be a json path under either .spec or .status"
                yield invalid_value(where, value, wanted)


def _column_faults(column: Object, path: str) -> Iterator[Cause]:
    if not column.get("name"):
        yield required(f"{path}.name")
    if not column.get("type"):
        yield required(f"{path}.type", f"must be one of {','.join(COLUMN_TYPES)}")
    elif column["type"] not in COLUMN_TYPES:
        yield invalid_value(f"{path}.type", column["type"], f"must be one of {','.join(COLUMN_TYPES)}")
    if column.get("format") and column["format"] not in COLUMN_FORMATS:
        yield invalid_value(f"{path}.format", column["format"], f"must be one of {','.join(COLUMN_FORMATS)}")
    yield from _path_faults(column.get("jsonPath") or "", f"{path}.JSONPath")


def _path_faults(text: str, path: str) -> Iterator[Cause]:
    if not text:
        yield required(path)
    elif not text.startswith("."):
        yield invalid_value(path, text, "must be a simple json path starting with .")


def _selectable_faults(version: Object, path: str, schema: Object) -> Iterator[Cause]:
    found = version.get("selectableFields") or ()
    seen: set[str] = set()
    for number, each in enumerate(found):
        text = each.get("jsonPath") or ""
        where = f"{path}.selectableFields[{number}].jsonPath"
        yield from _path_faults(text, where)
        if text in seen:
            yield duplicate(where, text)
        seen.add(text)
        if text.startswith(".") and schema:
            yield from _selected_faults(schema, text, where)
    if len(seen) > SELECTABLE_MAX:
        yield Cause("FieldValueTooMany", f"Too many: {len(seen)}: must have at most {SELECTABLE_MAX} items", f"{path}.selectableFields")


def _selected_faults(schema: Object, text: str, path: str) -> Iterator[Cause]:
    place: Any = {} if text.startswith(".metadata") else schema
    for name in text[1:].split("."):
        place = (place.get("properties") or {}).get(name) if place else None
    if not place:
        yield invalid_value(path, text, "is an invalid path: does not refer to a valid field")
    elif place.get("type") not in ("string", "boolean", "integer"):
        told = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
        yield invalid_value(path, text, told)


def _conversion_faults(spec: Object) -> Iterator[Cause]:
    given = spec.get("conversion")
    strategy = (given or {}).get("strategy") or "None"
    if given is not None and not given.get("strategy"):
        yield required("spec.conversion.strategy")
    if strategy not in ("None", "Webhook"):
        yield not_supported("spec.conversion.strategy", strategy, ("None", "Webhook"))
        return
    webhook = (spec.get("conversion") or {}).get("webhook")
    if strategy == "None":
        for name, field in (("clientConfig", "webhookClientConfig"), ("conversionReviewVersions", "conversionReviewVersions")):
            if (webhook or {}).get(name):
                yield forbidden_value(f"spec.conversion.{field}", "should not be set when strategy is not set to Webhook")
        return
    webhook = webhook or {}
    if webhook.get("clientConfig") is None:
        yield required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook")
    else:
        yield from client_config(webhook["clientConfig"], "spec.conversion.webhookClientConfig")
    yield from _review_version_faults(webhook.get("conversionReviewVersions") or [])


def _review_version_faults(versions: list[str]) -> Iterator[Cause]:
    path = "spec.conversion.conversionReviewVersions"
    if not versions:
        yield required(path)
    elif not {"v1", "v1beta1"} & set(versions):
        yield invalid_value(path, versions, "must include at least one of v1, v1beta1")
    for number, each in enumerate(versions):
        if faults := names.dns1035_label(each):
            yield invalid_value(f"{path}[{number}]", each, ",".join(faults))
        if each in versions[:number]:
            yield invalid_value(f"{path}[{number}]", each, "duplicate version")


def warnings(crd: Object) -> list[str]:
    """What a valid definition says and nobody here asks for."""
    return [told for each in versions_of(crd) for told in structural.warnings(schema_of(each))]


def validate_update(new: Object, old: Object) -> list[Cause]:
    found: list[Cause] = []
    if is_established(old):
        places = (("spec.group", "group"), ("spec.scope", "scope"))
        found += [invalid_value(path, new["spec"].get(name), IMMUTABLE) for path, name in places if new["spec"].get(name) != old["spec"].get(name)]
        now, before = new["spec"]["names"], old["spec"]["names"]
        found += [invalid_value(f"spec.names.{name}", now.get(name), IMMUTABLE) for name in ("kind", "plural") if now.get(name) != before.get(name)]
    kept = {each.get("name") for each in versions_of(new)}
    for number, stored in enumerate((new.get("status") or {}).get("storedVersions") or ()):
        if stored not in kept:
            told = (
                f"missing from spec.versions; {stored} was previously a storage version, and must remain in spec.versions until a storage migration "
            )
            told += f"ensures no data remains persisted in {stored} and removes {stored} from status.storedVersions"
            found.append(invalid_value(f"status.storedVersions[{number}]", stored, told))
    return found


def store_version(crd: Object) -> None:
    """Notes in the status which version is stored from now on. In place."""
    status = crd.setdefault("status", {})
    stored = status.setdefault("storedVersions", [])
    for each in versions_of(crd):
        name = each.get("name")  # validation comes later, and may find that there is none
        if each.get("storage") and name and name not in stored:
            stored.append(name)


# --- conditions ---------------------------------------------------------------------------------------------------------


def condition(crd: Object, kind: str) -> Object:
    found = ((crd.get("status") or {}).get("conditions")) or ()
    return next((each for each in found if each.get("type") == kind), {})


def is_established(crd: Object) -> bool:
    return condition(crd, "Established").get("status") == "True"


def judged(crd: Object, others: Iterable[Object], now: str) -> Object:
    """The status that a definition is to have, given all others: the same object as its own if nothing is to change.

    Names belong to whoever had them accepted first; what loses waits until they are free."""
    status = crd.get("status") or {}
    wanted = (crd.get("spec") or {}).get("names") or {}
    taken = _taken(crd, others)
    conflicts = [(name, wanted[name]) for name in ("plural", "singular") if wanted.get(name) in taken["resources"]]
    conflicts += [("shortNames", each) for each in wanted.get("shortNames") or () if each in taken["resources"]]
    conflicts += [(name, wanted[name]) for name in ("kind", "listKind") if wanted.get(name) in taken["kinds"]]
    if conflicts:
        field, value = conflicts[-1]
        accepted = status.get("acceptedNames") or {"kind": "", "plural": ""}
        reason = {"plural": "PluralConflict", "singular": "SingularConflict", "kind": "KindConflict", "listKind": "ListKindConflict"}.get(
            field, "ShortNamesConflict"
        )
        names_accepted = ("False", reason, f'"{value}" is already in use')
    else:
        accepted = wanted
        names_accepted = ("True", "NoConflicts", "no conflicts found")
    conditions = list(status.get("conditions") or ())
    _set(conditions, "NamesAccepted", names_accepted, now)
    if not conflicts and not is_established(crd):
        _set(conditions, "Established", ("True", "InitialNamesAccepted", "the initial names have been accepted"), now)
    elif conflicts and not is_established(crd):
        _set(conditions, "Established", ("False", "NotAccepted", "not all names are accepted"), now)
    if is_terminating(crd):
        _set(conditions, "Terminating", ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"), now)
    made = {**status, "conditions": conditions, "acceptedNames": accepted, "storedVersions": status.get("storedVersions") or []}
    return status if made == status else made


def _taken(crd: Object, others: Iterable[Object]) -> dict[str, set[str]]:
    taken: dict[str, set[str]] = {"resources": set(), "kinds": set()}
    group = (crd.get("spec") or {}).get("group")
    for each in others:
        if name_of(each) == name_of(crd) or (each.get("spec") or {}).get("group") != group:
            continue
        accepted = (each.get("status") or {}).get("acceptedNames") or {}
        taken["resources"] |= {accepted.get("plural", ""), accepted.get("singular", ""), *(accepted.get("shortNames") or ())} - {""}
        taken["kinds"] |= {accepted.get("kind", ""), accepted.get("listKind", "")} - {""}
    return taken


def _set(conditions: list[Object], kind: str, told: tuple[str, str, str], now: str) -> None:
    status, reason, message = told
    made = {"type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message}
    for at, each in enumerate(conditions):
        if each.get("type") == kind:
            if (each.get("status"), each.get("reason"), each.get("message")) != told:
                conditions[at] = made if each.get("status") != status else {**made, "lastTransitionTime": each.get("lastTransitionTime", now)}
            return
    conditions.append(made)


# --- what is served -----------------------------------------------------------------------------------------------------


def schema_given(version: Object) -> Object | None:
    found: Object | None = (version.get("schema") or {}).get("openAPIV3Schema")
    return found


def schema_of(version: Object) -> Object:
    found: Object = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    return found


def served_of(crd: Object) -> list[Served]:
    """Every served version of an established definition."""
    spec = crd["spec"]
    storage = next(each["name"] for each in spec["versions"] if each.get("storage"))
    conversion = spec.get("conversion") or {}
    webhook = conversion.get("webhook") if conversion.get("strategy") == "Webhook" else None
    return [_served(spec, each, f"{spec['group']}/{storage}", webhook) for each in spec["versions"] if each.get("served")]


def _served(spec: Object, version: Object, stored_as: str, webhook: Object | None) -> Served:
    resource = _resource(spec, version)
    raw = schema_of(version)
    subresources = version.get("subresources") or {}
    # Metadata is every object's own, whatever the definition says of it.
    properties = {**(raw.get("properties") or {}), "metadata": {"$ref": f"#/definitions/{_META}"}}
    properties.setdefault("apiVersion", {"type": "string"})
    properties.setdefault("kind", {"type": "string"})
    deprecation = ""
    if version.get("deprecated"):
        deprecation = version.get("deprecationWarning") or _deprecation(spec, version["name"])
    return Served(
        resource=resource,
        prefix=keys.prefix(resource, custom=True),
        storage_version=stored_as,
        strategy=CustomStrategy(raw, has_status="status" in subresources, scale=_scale(subresources.get("scale"))),
        checker=schemas.custom(resource.kind, resource.version, {**raw, "properties": _implicit(raw)}),
        node=Node({**raw, "properties": properties}, definitions()),
        selectable=tuple(each["jsonPath"].removeprefix(".") for each in version.get("selectableFields") or ()),
        scale=_scale(subresources.get("scale")),
        printer=custom_columns.printer(version.get("additionalPrinterColumns") or []),
        custom=True,
        webhook=webhook,
        form="" if webhook is None else f"{resource.api_version}#{hashlib.sha256(msgspec.json.encode(webhook, order='sorted')).hexdigest()}",
        deprecation=deprecation,
    )


def _deprecation(spec: Object, version: str) -> str:
    group, kind = spec["group"], spec["names"]["kind"]
    better = [each["name"] for each in spec["versions"] if each.get("served") and not each.get("deprecated")]
    better = [name for name in better if preference(name) > preference(version)]
    told = f"{group}/{version} {kind} is deprecated"
    return f"{told}; use {group}/{max(better, key=preference)} {kind}" if better else told


def _implicit(raw: Object) -> Object:
    found = dict(raw.get("properties") or {})
    for name, kind in (("apiVersion", "string"), ("kind", "string"), ("metadata", "object")):
        found.setdefault(name, {"type": kind})
    return found


def _resource(spec: Object, version: Object) -> Resource:
    group, name, called = spec["group"], version["name"], spec["names"]
    subresources = []
    if "status" in (version.get("subresources") or {}):
        subresources.append(Subresource("status", group, name, called["kind"], ("get", "patch", "update")))
    if (version.get("subresources") or {}).get("scale") is not None:
        subresources.append(Subresource("scale", "autoscaling", "v1", "Scale", ("get", "patch", "update")))
    return Resource(
        group=group,
        version=name,
        kind=called["kind"],
        plural=called["plural"],
        namespaced=spec.get("scope") == "Namespaced",
        verbs=VERBS,
        subresources=tuple(subresources),
        singular=called.get("singular") or called["kind"].lower(),
        short_names=tuple(called.get("shortNames") or ()),
        categories=tuple(called.get("categories") or ()),
    )


def _scale(found: Any) -> Scale | None:
    if found is None:
        return None

    def path(name: str) -> Path:
        return tuple(str(what) for kind, what in jsonpath.parse(found.get(name) or "") if kind == "field")

    return Scale(path("specReplicasPath"), path("statusReplicasPath"), path("labelSelectorPath"))
