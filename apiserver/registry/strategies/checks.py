"""The checks that all kinds share, each giving the faults it finds. Paths are Kubernetes' (`spec.ports[0].name`), so are the words.

Sources: pkg/apis/core/validation/validation.go and apimachinery/pkg/api/validation. Fields whose absence the schema reports are passed over here.
"""

import ipaddress
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from apiserver.machinery import names, selectors
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, duplicate, forbidden_value, invalid_value, not_supported, required, shown

IMMUTABLE = "field is immutable"
NEGATIVE = "must be greater than or equal to 0"


def each(items: Any, path: str) -> list[tuple[str, Object]]:
    """The objects of a list with their paths."""
    return [(f"{path}[{index}]", item) for index, item in enumerate(items or ()) if isinstance(item, dict)]


def one_of(value: Any, path: str, allowed: Sequence[str], *, needed: bool = False) -> list[Cause]:
    """An enumeration; nothing said is good unless it is `needed`."""
    if value in (None, ""):
        return [required(path)] if needed else []
    return [] if value in allowed else [not_supported(path, value, sorted(allowed))]


def text(value: Any, path: str, detail: str = "") -> list[Cause]:
    """A string that must be there and not be empty; its absence is the schema's to tell."""
    return [required(path, detail)] if value == "" else []


def needed(value: Any, path: str, detail: str = "") -> list[Cause]:
    """Like `text`, for fields that no schema requires."""
    return [] if value else [required(path, detail)]


def named(value: Any, path: str, rule: Callable[[str], list[str]]) -> list[Cause]:
    """A string that a rule of `machinery.names` is asked about, if there is one."""
    return [invalid_value(path, value, fault) for fault in rule(value)] if value else []


def given(value: Any, path: str, rule: Callable[[str], list[str]]) -> list[Cause]:
    """Like `named`, where the empty string is a value as any other: a pointer to a string, or an item of a list."""
    return [invalid_value(path, value, fault) for fault in rule(value)] if isinstance(value, str) else []


def at_least_zero(value: Any, path: str) -> list[Cause]:
    return [invalid_value(path, value, NEGATIVE)] if isinstance(value, int) and value < 0 else []


def above_zero(value: Any, path: str) -> list[Cause]:
    return [invalid_value(path, value, "must be greater than 0")] if isinstance(value, int) and value <= 0 else []


def port(value: Any, path: str) -> list[Cause]:
    return [invalid_value(path, value, fault) for fault in names.port_number(value)] if isinstance(value, int) else []


def port_or_name(value: Any, path: str) -> list[Cause]:
    return [invalid_value(path, value, fault) for fault in names.port_name(value)] if isinstance(value, str) else port(value, path)


def address(value: Any, path: str) -> list[Cause]:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return [invalid_value(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    return []


def outside_address(value: Any, path: str) -> list[Cause]:
    """One that can be another machine's (ValidateNonSpecialIP)."""
    if wrong := address(value, path):
        return wrong
    found = ipaddress.ip_address(value)
    special = {
        "unspecified (0.0.0.0)": found.is_unspecified,
        "in the loopback range (127.0.0.0/8, ::1/128)": found.is_loopback,
        "in the link-local range (169.254.0.0/16, fe80::/10)": found.is_link_local,
        "in the link-local multicast range (224.0.0.0/24, ff02::/10)": found.is_multicast,
    }
    return [invalid_value(path, value, f"may not be {what}") for what, is_it in special.items() if is_it]


def network(value: Any, path: str) -> list[Cause]:
    try:
        if "/" in str(value):
            ipaddress.ip_network(value)
            return []
    except ValueError:
        pass
    return [invalid_value(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")]


def unchanged(new: Any, old: Any, path: str, why: str = IMMUTABLE) -> list[Cause]:
    return [] if new == old else [invalid_value(path, new, why)]


def unique(values: Iterable[tuple[str, Hashable]]) -> list[Cause]:
    """(path, value) pairs of which no two may have the same value."""
    seen, found = set[Hashable](), []
    for path, value in values:
        if value in seen:
            found.append(duplicate(path, value))
        seen.add(value)
    return found


def not_found(path: str, value: Any) -> Cause:
    return Cause("FieldValueNotFound", f"Not found: {shown(value)}", path)


def too_many(path: str, limit: int, detail: str = "") -> Cause:
    return Cause("FieldValueTooMany", f"Too many: must have at most {limit} items{detail}", path)


def labels(value: Any, path: str) -> list[Cause]:
    return [invalid_value(path, faulty, fault) for faulty, fault in names.label_faults(value or {})]


def selector(value: Any, path: str) -> list[Cause]:
    """A LabelSelector object (meta/v1/validation, ValidateLabelSelector)."""
    if not isinstance(value, dict):
        return []
    found = [invalid_value(f"{path}.matchLabels", faulty, fault) for faulty, fault in names.label_faults(value.get("matchLabels") or {})]
    for at, term in each(value.get("matchExpressions"), f"{path}.matchExpressions"):
        operator, values = term.get("operator"), term.get("values") or []
        if operator in ("In", "NotIn"):
            found += [] if values else [required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")]
        elif operator in ("Exists", "DoesNotExist"):
            found += [forbidden_value(f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")] if values else []
        else:
            found.append(invalid_value(f"{at}.operator", operator, "not a valid selector operator"))
        found += given(term.get("key"), f"{at}.key", names.label_key)
        found += [cause for index, one in enumerate(values) for cause in named(one, f"{at}.values[{index}]", names.label_value)]
    return found


def is_empty_selector(value: Object) -> bool:
    return not value.get("matchLabels") and not value.get("matchExpressions")


def matches(value: Any, its_labels: Any) -> bool:
    """Whether a LabelSelector selects these labels; one that is faulty is told elsewhere."""
    try:
        return selectors.from_label_selector(value).matches(its_labels or {})
    except ValueError:
        return True


def count_or_percent(value: Any, path: str) -> list[Cause]:
    """A count, or a share in percent, as rolling updates have them."""
    if isinstance(value, str):
        return [invalid_value(path, value, fault) for fault in names.percent(value)]
    return at_least_zero(value, path)


def over_hundred_percent(value: Any, path: str) -> list[Cause]:
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit() and int(value[:-1]) > 100:
        return [invalid_value(path, value, "must not be greater than 100%")]
    return []


def is_zero(value: Any) -> bool:
    return value == 0 or (isinstance(value, str) and value.removesuffix("%").strip("0") == "")
