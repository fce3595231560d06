"""What a structural schema says of values: limits, patterns, enums, formats, junctors, unique lists, in Kubernetes' words
(kube-openapi/pkg/validation/validate, apiextensions-apiserver/pkg/apiserver/schema/listtype). Types and required fields are `schemas.Checker`'s.
"""

import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache
from math import isclose
from typing import Any

from apiserver.machinery import names, timestamps
from apiserver.machinery.fieldset import MissingKey, steps
from apiserver.machinery.patches import same
from apiserver.machinery.schema import Node
from apiserver.machinery.status import Cause, not_supported, shown

PATTERN_MAX = 10_000
_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.?[^@\s]*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_MAC = re.compile(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}")
_HEX_COLOR = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_POSIX = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
    "space": r"\s",
    "word": r"\w",
}
JUNCTORS = ("allOf", "anyOf", "oneOf", "not")


def _ip(version: int) -> Any:
    def check(text: str) -> None:
        if ipaddress.ip_address(text).version != version:
            raise ValueError

    return check


def _matches(pattern: re.Pattern[str]) -> Any:
    def check(text: str) -> None:
        if pattern.fullmatch(text) is None:
            raise ValueError

    return check


def _label(text: str) -> None:
    if names.dns1123_subdomain(text.lower()):
        raise ValueError


FORMATS: dict[str, Any] = {
    "date-time": timestamps.parse,
    "datetime": timestamps.parse,
    "date": _matches(_DATE),
    "duration": timestamps.parse_duration,
    "ipv4": _ip(4),
    "ipv6": _ip(6),
    "cidr": ipaddress.ip_interface,
    "uuid": _matches(_UUID),
    "uuid3": _matches(_UUID),
    "uuid4": _matches(_UUID),
    "uuid5": _matches(_UUID),
    "email": _matches(_EMAIL),
    "mac": _matches(_MAC),
    "hexcolor": _matches(_HEX_COLOR),
    "byte": _matches(_BASE64),
    "hostname": _label,
}
"""Formats that are checked; others mean nothing, as upstream."""


@lru_cache(maxsize=4096)
def pattern(text: str) -> re.Pattern[str]:
    """A schema's pattern; Go's dialect and Python's agree on what such patterns use, but for the end of text. Raises re.error."""
    if len(text) > PATTERN_MAX:
        raise re.error(f"a pattern has at most {PATTERN_MAX} characters")
    for name, members in _POSIX.items():
        text = text.replace(f"[:{name}:]", members)
    return re.compile(re.sub(r"(?<!\\)((?:\\\\)*)\$$", r"\1\\Z", text).replace(r"\z", r"\Z"), re.ASCII)


MISSING: Any = object()


def faults(raw: dict[str, Any], value: Any, path: str = "", old: Any = MISSING) -> Iterator[Cause]:
    """Every value that breaks a rule of the schema, in the object's order.

    What is as it was in `old` is not looked at: who tightens a schema does not lock up the objects that stand (KEP-4008, ratcheting)."""
    if value is None or (old is not MISSING and same(old, value)):
        return
    if isinstance(value, dict):
        yield from _map_faults(raw, value, path, old)
    elif isinstance(value, list):
        yield from _list_faults(raw, value, path, old)
    elif isinstance(value, str):
        yield from _text_faults(raw, value, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _number_faults(raw, value, path)
    if "enum" in raw and not any(same(value, each) for each in raw["enum"]):
        yield not_supported(path or "<nil>", value, [each if isinstance(each, str) else shown(each) for each in raw["enum"]])
    yield from _junctor_faults(raw, value, path)


def _wrong(path: str, value: Any, told: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {shown(value)}: {path or '<nil>'} in body {told}", path or "<nil>")


def _many(path: str, count: int, limit: int) -> Cause:
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {limit} item{'' if limit == 1 else 's'}", path or "<nil>")


def _map_faults(raw: dict[str, Any], value: dict[str, Any], path: str, old: Any) -> Iterator[Cause]:
    limit, least = raw.get("maxProperties"), raw.get("minProperties")
    if limit is not None and len(value) > limit:
        yield _many(path, len(value), limit)
    if least is not None and len(value) < least:
        yield _wrong(path, value, f"should have at least {least} properties")
    properties, extra = raw.get("properties") or {}, raw.get("additionalProperties")
    before = old if isinstance(old, dict) else {}
    for name, each in value.items():
        below = properties.get(name, extra)
        if isinstance(below, dict):
            yield from faults(below, each, f"{path}.{name}" if path else name, before.get(name, MISSING))


def _list_faults(raw: dict[str, Any], value: list[Any], path: str, old: Any) -> Iterator[Cause]:
    limit, least = raw.get("maxItems"), raw.get("minItems")
    if limit is not None and len(value) > limit:
        yield _many(path, len(value), limit)
    if least is not None and len(value) < least:
        yield _wrong(path, value, f"should have at least {least} items")
    kind = raw.get("x-kubernetes-list-type")
    if kind in ("set", "map"):
        yield from _duplicates(raw, value, path)
    if isinstance(raw.get("items"), dict):
        olds = correlated(raw, value, old)
        for number, each in enumerate(value):
            yield from faults(raw["items"], each, f"{path}[{number}]", olds[number])


def correlated(raw: dict[str, Any], value: list[Any], old: Any) -> list[Any]:
    """The old element of each: by its keys in lists of type map, otherwise none."""
    nothing = [MISSING] * len(value)
    if not isinstance(old, list) or raw.get("x-kubernetes-list-type") != "map":
        return nothing
    try:
        node = Node(raw, {})
        before = dict(zip(steps(old, node), old, strict=True))
        return [before.get(step, MISSING) for step in steps(value, node)]
    except MissingKey:
        return nothing


def _duplicates(raw: dict[str, Any], value: list[Any], path: str) -> Iterator[Cause]:
    node = Node(raw, {})
    try:
        found = steps(value, node)
    except MissingKey as wrong:
        yield Cause("FieldValueRequired", f"Required value: {wrong}", path)
        return
    seen: set[str] = set()
    for number, step in enumerate(found):
        if step in seen:
            yield Cause("FieldValueDuplicate", f"Duplicate value: {step[2:]}", f"{path}[{number}]")
        seen.add(step)


def _text_faults(raw: dict[str, Any], value: str, path: str) -> Iterator[Cause]:
    limit, least = raw.get("maxLength"), raw.get("minLength")
    if limit is not None and len(value) > limit:
        yield Cause("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", path or "<nil>")
    if least is not None and len(value) < least:
        yield _wrong(path, value, f"should be at least {least} chars long")
    if raw.get("pattern") and pattern(raw["pattern"]).search(value) is None:
        yield _wrong(path, value, f"should match '{raw['pattern']}'")
    check = FORMATS.get(raw.get("format", ""))
    if check is not None:
        try:
            check(value)
        except ValueError:
            yield _wrong(path, value, f"must be of type {raw['format']}: {shown(value)}")


def _number_faults(raw: dict[str, Any], value: int | float, path: str) -> Iterator[Cause]:
    least, limit, step = raw.get("minimum"), raw.get("maximum"), raw.get("multipleOf")
    if least is not None and (value <= least if raw.get("exclusiveMinimum") else value < least):
        yield _wrong(path, value, f"should be greater than {'' if raw.get('exclusiveMinimum') else 'or equal to '}{shown(least)}")
    if limit is not None and (value >= limit if raw.get("exclusiveMaximum") else value > limit):
        yield _wrong(path, value, f"should be less than {'' if raw.get('exclusiveMaximum') else 'or equal to '}{shown(limit)}")
    if step and not isclose(value / step, round(value / step), rel_tol=1e-12, abs_tol=1e-12):
        yield _wrong(path, value, f"should be a multiple of {shown(step)}")


def _junctor_faults(raw: dict[str, Any], value: Any, path: str) -> Iterator[Cause]:
    where = f'"{path}"'
    if raw.get("allOf") and not all(holds(each, value) for each in raw["allOf"]):
        for each in raw["allOf"]:
            yield from faults(each, value, path)
        yield Cause("FieldValueInvalid", f"Invalid value: {where}: {where} must validate all the schemas (allOf)", path or "<nil>")
    if raw.get("anyOf") and not any(holds(each, value) for each in raw["anyOf"]):
        yield Cause("FieldValueInvalid", f"Invalid value: {where}: {where} must validate at least one schema (anyOf)", path or "<nil>")
    if raw.get("oneOf"):
        count = sum(holds(each, value) for each in raw["oneOf"])
        if count != 1:
            found = "Found none valid" if not count else f"Found {count} valid alternatives"
            told = f"Invalid value: {where}: {where} must validate one and only one schema (oneOf). {found}"
            yield Cause("FieldValueInvalid", told, path or "<nil>")
    if raw.get("not") is not None and holds(raw["not"], value):
        yield Cause("FieldValueInvalid", f"Invalid value: {where}: {where} must not validate the schema (not)", path or "<nil>")


_KINDS = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer()),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
}


def holds(raw: dict[str, Any], value: Any) -> bool:
    """Whether a value is valid, types and required fields included: what junctors ask of their schemas."""
    kind = raw.get("type")
    if kind in _KINDS and value is not None and not _KINDS[kind](value):
        return False
    if isinstance(value, dict):
        if any(name not in value for name in raw.get("required") or ()):
            return False
        properties, extra = raw.get("properties") or {}, raw.get("additionalProperties")
        if not all(holds(below, each) for name, each in value.items() if isinstance(below := properties.get(name, extra), dict)):
            return False
    if isinstance(value, list) and isinstance(raw.get("items"), dict) and not all(holds(raw["items"], each) for each in value):
        return False
    return next(faults(raw, value), None) is None
