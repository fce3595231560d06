"""Which webhooks a write concerns (apiserver/pkg/admission/plugin/webhook/{rules,predicates}). Pure.

The rules name operation, group, version, resource and scope; then the namespace's and the object's labels are looked at. Writes of webhook
configurations themselves go to no webhook: otherwise a broken one could not be removed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from apiserver.machinery.objects import Object, labels_of, name_of
from apiserver.machinery.selectors import from_label_selector
from apiserver.request import Reader, Write

GROUP = "admissionregistration.k8s.io"
MUTATING, VALIDATING = f"mutatingwebhookconfigurations.{GROUP}", f"validatingwebhookconfigurations.{GROUP}"
ALL = "*"


def concerned(reader: Reader, configurations: str, write: Write) -> Iterator[tuple[Object, Object, int]]:
    """(configuration, webhook, its place there) in the order in which they are asked: configurations by name, webhooks as listed."""
    if write.resource.group == GROUP and write.resource.qualified in (MUTATING, VALIDATING):
        return
    for configuration in sorted(reader.list(configurations), key=name_of):
        for index, webhook in enumerate(configuration.get("webhooks") or ()):
            if _is_concerned(reader, webhook, write):
                yield configuration, webhook, index


def _is_concerned(reader: Reader, webhook: Object, write: Write) -> bool:
    exact = webhook.get("matchPolicy") == "Exact"
    if not any(_fits(rule, write, exact=exact) for rule in webhook.get("rules") or ()):
        return False
    return _fits_namespace(reader, webhook.get("namespaceSelector"), write) and _fits_object(webhook.get("objectSelector"), write)


def concerns(reader: Reader, constraints: Object, write: Write, *, must_have_rules: bool = True) -> bool:
    """Whether a write is what a policy's or a binding's MatchResources describe. Without rules it is every write, where they may be left out."""
    exact = constraints.get("matchPolicy") == "Exact"
    rules = constraints.get("resourceRules") or ()
    if (rules or must_have_rules) and not any(_fits_named(rule, write, exact=exact) for rule in rules):
        return False
    if any(_fits_named(rule, write, exact=exact) for rule in constraints.get("excludeResourceRules") or ()):
        return False
    return _fits_namespace(reader, constraints.get("namespaceSelector"), write) and _fits_object(constraints.get("objectSelector"), write)


def _fits_named(rule: Mapping[str, Any], write: Write, *, exact: bool) -> bool:
    names = rule.get("resourceNames")
    return _fits(rule, write, exact=exact) and (not names or (write.name or name_of(write.object or {})) in names)


def _fits(rule: Mapping[str, Any], write: Write, *, exact: bool) -> bool:
    resource = write.resource
    if not _holds(rule.get("operations"), write.operation) or not _holds(rule.get("apiGroups"), resource.group):
        return False
    # Of a resource that is served in several versions a webhook that knows one is told of all: the same objects can be written through each.
    if exact and not _holds(rule.get("apiVersions"), resource.version):
        return False
    scope = rule.get("scope") or ALL
    if scope != ALL and (scope == "Namespaced") != bool(resource.namespaced):
        return False
    return any(_fits_resource(each, resource.plural, write.subresource) for each in rule.get("resources") or ())


def _holds(listed: Any, value: str) -> bool:
    return ALL in (listed or ()) or value in (listed or ())


def _fits_resource(pattern: str, plural: str, subresource: str) -> bool:
    resource, slash, part = pattern.partition("/")
    if resource not in (ALL, plural):
        return False
    return part in (ALL, subresource) if slash else not subresource


def _fits_namespace(reader: Reader, selector: Object | None, write: Write) -> bool:
    if not selector:
        return True
    if write.resource.qualified == "namespaces":
        labels = labels_of(write.object or write.old_object or {})
    elif write.namespace:
        labels = labels_of(reader.get("namespaces", "", write.namespace) or {})
    else:
        return True
    return from_label_selector(selector).matches(labels)


def _fits_object(selector: Object | None, write: Write) -> bool:
    """Either state may fit: an object must not escape its webhook by the very change that the webhook is to look at."""
    if not selector:
        return True
    found = from_label_selector(selector)
    return any(found.matches(labels_of(each)) for each in (write.object, write.old_object) if each is not None)
