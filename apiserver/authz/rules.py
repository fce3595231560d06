"""What one RBAC rule says of one request (pkg/apis/rbac/v1/evaluation_helpers.go), and whether some rules cover others
(component-helpers/auth/rbac/validation/policy_comparator.go)."""

from collections.abc import Iterable, Sequence
from typing import Any

from apiserver.request import Attributes

Rule = dict[str, Any]

ALL = "*"


def allows(rule: Rule, attributes: Attributes) -> bool:
    """Whether a PolicyRule lets the request pass."""
    verbs = rule.get("verbs") or ()
    if attributes.verb not in verbs and ALL not in verbs:
        return False
    if not attributes.is_resource:
        return any(url_matches(url, attributes.path) for url in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if attributes.group not in groups and ALL not in groups:
        return False
    if not resource_matches(rule.get("resources") or (), attributes.resource, attributes.subresource):
        return False
    names = rule.get("resourceNames")
    return not names or attributes.name in names


def resource_matches(resources: Sequence[str], resource: str, subresource: str) -> bool:
    wanted = f"{resource}/{subresource}" if subresource else resource
    return wanted in resources or ALL in resources or bool(subresource and f"*/{subresource}" in resources)


def url_matches(rule_url: str, path: str) -> bool:
    """A star at the end stands for anything that follows."""
    return rule_url in (ALL, path) or (rule_url.endswith(ALL) and path.startswith(rule_url.rstrip(ALL)))


def uncovered(owned: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """Of `wanted`, broken down to one verb, group, resource and name each, what no rule of `owned` covers whole."""
    return [part for rule in wanted for part in _parts(rule) if not any(_covers(each, part) for each in owned)]


def compact(parts: Iterable[Rule]) -> list[Rule]:
    """Parts that differ in the verb alone joined again, as messages tell them (validation.CompactRules), in a stable order."""
    joined: dict[tuple[tuple[str, tuple[str, ...]], ...], Rule] = {}
    for part in parts:
        key = tuple((name, tuple(part.get(name) or ())) for name in ("apiGroups", "resources", "resourceNames", "nonResourceURLs"))
        if key in joined:
            joined[key]["verbs"] = [*joined[key]["verbs"], *(verb for verb in part["verbs"] if verb not in joined[key]["verbs"])]
        else:
            joined[key] = dict(part)
    return sorted(joined.values(), key=shown)


def shown(rule: Rule) -> str:
    """As upstream prints a rule in messages (rbac.CompactString)."""
    names = (
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("ResourceNames", "resourceNames"),
        ("Verbs", "verbs"),
    )
    told = [f"{word}:[{' '.join(_quoted(each) for each in rule[key])}]" for word, key in names if rule.get(key)]
    return "{" + ", ".join(told) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _parts(rule: Rule) -> Iterable[Rule]:
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in rule.get("verbs") or ():
                names = rule.get("resourceNames") or ()
                if not names:
                    yield {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                for name in names:
                    yield {"apiGroups": [group], "resources": [resource], "verbs": [verb], "resourceNames": [name]}
    for url in rule.get("nonResourceURLs") or ():
        for verb in rule.get("verbs") or ():
            yield {"nonResourceURLs": [url], "verbs": [verb]}


def _covers(owned: Rule, part: Rule) -> bool:
    verbs = owned.get("verbs") or ()
    if ALL not in verbs and part["verbs"][0] not in verbs:
        return False
    if "nonResourceURLs" in part:
        url = part["nonResourceURLs"][0]
        return any(each in (ALL, url) or (each.endswith(ALL) and url.startswith(each.rstrip(ALL))) for each in owned.get("nonResourceURLs") or ())
    groups = owned.get("apiGroups") or ()
    if ALL not in groups and part["apiGroups"][0] not in groups:
        return False
    if not _covers_resource(owned.get("resources") or (), part["resources"][0]):
        return False
    names = owned.get("resourceNames")
    wanted = part.get("resourceNames")
    return not names or bool(wanted and wanted[0] in names)


def _covers_resource(owned: Sequence[str], resource: str) -> bool:
    if ALL in owned or resource in owned:
        return True
    _, found, subresource = resource.partition("/")
    return bool(found) and f"*/{subresource}" in owned
