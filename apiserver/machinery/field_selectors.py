"""Field selectors, `?fieldSelector=`: which fields a resource can be selected by, the text, and asking an object (apimachinery/pkg/fields).

Every resource has metadata.name and, in namespaces, metadata.namespace; FIELDS adds what upstream's conversion and registry tables add
(pkg/apis/*/v1/conversion.go); custom resources bring their `selectableFields`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from apiserver.machinery.objects import Object
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError, bad_request

TEXT_MAX = 64 * 1024

FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase", "name"),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicationcontrollers": ("status.replicas",),
    "jobs.batch": ("status.successful",),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "events.events.k8s.io": (
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "reportingController",
        "type",
    ),
    "certificatesigningrequests.certificates.k8s.io": ("spec.signerName",),
    "podcertificaterequests.certificates.k8s.io": ("spec.signerName", "spec.podName", "spec.nodeName"),
    "clustertrustbundles.certificates.k8s.io": ("spec.signerName",),
    "resourceslices.resource.k8s.io": ("spec.nodeName", "spec.driver"),
}
WHEN_MISSING = {"spec.unschedulable": "false", "spec.hostNetwork": "false", "status.successful": "0", "status.replicas": "0"}
"""What a field that is not there counts as, where that is not the empty text: Go's zero values, printed."""
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "name": ("metadata.name",),
    "source": ("source.component", "reportingComponent", "deprecatedSource.component", "reportingController"),
    "reportingComponent": ("reportingComponent", "reportingController"),
    "reportingController": ("reportingController", "reportingComponent"),
}
"""Fields that are found at other places; the first that is not empty counts. Both groups' events are one stored object, in either form."""


class Term(Struct, frozen=True):
    field: str
    operator: str
    """= (also for ==) or !=."""
    value: str

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{_escaped(self.value)}"


class FieldSelector(Struct, frozen=True):
    terms: tuple[Term, ...] = ()

    @property
    def is_everything(self) -> bool:
        return not self.terms

    def matches(self, obj: Object) -> bool:
        return all((value_at(obj, each.field) == each.value) == (each.operator == "=") for each in self.terms)

    def exact(self, field: str) -> str | None:
        """The one value that `field` must have, if the selector says so."""
        return next((each.value for each in self.terms if each.field == field and each.operator == "="), None)

    def __str__(self) -> str:
        return ",".join(str(each) for each in self.terms)

    def check(self, resource: Resource, selectable: Sequence[str] = ()) -> None:
        """Raises ApiError 400 in Kubernetes' words for a field that `resource` cannot be selected by.

        `selectable` are the paths of a custom resource's version without the leading point.
        """
        known = FIELDS.get(resource.qualified)
        common = ("metadata.name", "metadata.namespace") if resource.namespaced else ("metadata.name",)
        for each in self.terms:
            if each.field in common or each.field in (known or ()) or each.field in selectable:
                continue
            raise _unsupported(resource, each.field, known)


def _unsupported(resource: Resource, field: str, known: Sequence[str] | None) -> ApiError:
    if resource.qualified == "jobs.batch":
        return bad_request(f'field label "{field}" not supported for Job')
    if known is not None or ("." in resource.group and not resource.group.endswith(".k8s.io")):
        return bad_request(f"field label not supported: {field}")
    return bad_request(f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"')


@lru_cache(maxsize=1024)
def parse_fields(text: str) -> FieldSelector:
    """The selector that `text` says; empty terms (`a=b,`) are passed over. Raises ValueError."""
    if len(text) > TEXT_MAX:
        raise ValueError(f"a field selector has at most {TEXT_MAX} characters, this one has {len(text)}")
    return FieldSelector(tuple(_term(each, text) for each in _terms(text) if each))


def fields_of_request(text: str) -> FieldSelector:
    """`parse_fields` for a client's text. Raises ApiError 400."""
    try:
        return parse_fields(text)
    except ValueError as wrong:
        raise bad_request(str(wrong)) from None


def _terms(text: str) -> list[str]:
    """Split at commas that no backslash stands before."""
    found, start, escaped = [], 0, False
    for at, each in enumerate(text):
        if escaped:
            escaped = False
        elif each == "\\":
            escaped = True
        elif each == ",":
            found.append(text[start:at])
            start = at + 1
    return [*found, text[start:]]


def _term(term: str, whole: str) -> Term:
    for at in range(len(term)):
        for operator in ("!=", "==", "="):
            if term.startswith(operator, at):
                return Term(term[:at], "!=" if operator == "!=" else "=", _unescaped(term[at + len(operator) :]))
    raise ValueError(f"invalid selector: '{whole}'; can't understand '{term}'")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def _unescaped(value: str) -> str:
    found: list[str] = []
    escaped = False
    for each in value:
        if escaped:
            if each not in "\\,=":
                raise ValueError(f"invalid field selector: invalid escape sequence in value: \\{each}")
            found.append(each)
            escaped = False
        elif each == "\\":
            escaped = True
        elif each in ",=":
            raise ValueError(f"invalid field selector: unescaped character in value: {each}")
        else:
            found.append(each)
    if escaped:
        raise ValueError("invalid field selector: invalid escape sequence in value: \\")
    return "".join(found)


def value_at(obj: Object, field: str) -> str:
    """A field as a selector compares it: text; numbers and booleans printed as Go prints them."""
    for path in ELSEWHERE.get(field, (field,)):
        found: Any = obj
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found not in (None, ""):
            return _printed(found)
    return WHEN_MISSING.get(field, "")


def _printed(found: Any) -> str:
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found) if isinstance(found, (str, int, float)) else ""
