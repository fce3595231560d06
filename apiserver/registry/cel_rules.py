"""`x-kubernetes-validations`: the CEL rules in a custom resource's schema (apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go).

A rule with `oldSelf` is a rule of transitions: it is asked only where there was a value before; list elements are found again by their keys. Rules
are compiled when the definition is written; one that cannot be is a fault of the definition. `optionalOldSelf` is refused there.
"""

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct, field

from apiserver.machinery.patches import same
from apiserver.machinery.status import Cause, invalid_value
from apiserver.registry import custom_values
from apiserver.registry.cel import TYPED_FORMATS, CelError, compile_expression, escaped, typed

RULES = "x-kubernetes-validations"
VARIABLES = ("self", "oldSelf")
_FIELD_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\['((?:[^'\\]|\\.)+)'\]")
_FIELD_PATH = re.compile(r"(?:\.[A-Za-z_][A-Za-z0-9_-]*|\['(?:[^'\\]|\\.)+'\])+")
_OLD_SELF = re.compile(r"\boldSelf\b")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_TEXTS = {"FieldValueForbidden": "Forbidden: ", "FieldValueRequired": "Required value: "}
MISSING = custom_values.MISSING


class Rule(Struct, frozen=True):
    text: str
    message: str
    message_expression: str
    reason: str
    field_path: str
    is_transition: bool


class Place(Struct):
    """One place of a schema and what lies below it, as far as there are rules."""

    raw: dict[str, Any]
    rules: tuple[Rule, ...] = ()
    fields: dict[str, "Place"] = field(default_factory=dict)
    each: "Place | None" = None


def compiled(raw: dict[str, Any]) -> Place | None:
    """The rules of a schema; None if it has none."""
    rules = tuple(_rule(each) for each in raw.get(RULES) or ())
    fields = {name: place for name, below in (raw.get("properties") or {}).items() if (place := compiled(below)) is not None}
    inner = raw.get("items") if raw.get("type") == "array" else raw.get("additionalProperties")
    each = compiled(inner) if isinstance(inner, dict) else None
    return Place(raw, rules, fields, each) if rules or fields or each is not None else None


def _rule(given: dict[str, Any]) -> Rule:
    text = given.get("rule", "")
    return Rule(
        text,
        given.get("message", ""),
        given.get("messageExpression", ""),
        given.get("reason") or "FieldValueInvalid",
        given.get("fieldPath", ""),
        _OLD_SELF.search(text) is not None,
    )


def faults_of(raw: dict[str, Any], path: str) -> Iterator[Cause]:
    """What is wrong with the rules of one place of a definition."""
    for number, each in enumerate(raw.get(RULES) or ()):
        where = f"{path}.{RULES}[{number}]"
        text = each.get("rule", "")
        if not text.strip():
            yield Cause("FieldValueRequired", "Required value: rule is not specified", f"{where}.rule")
            continue
        if each.get("optionalOldSelf") and _OLD_SELF.search(text) is None:
            yield invalid_value(f"{where}.optionalOldSelf", True, "may not be set if oldSelf is not used in rule")
            continue
        if each.get("optionalOldSelf"):
            yield Cause("FieldValueForbidden", "Forbidden: optionalOldSelf is not supported by this server", f"{where}.optionalOldSelf")
            continue
        try:
            kind = compile_expression(text, VARIABLES).kind
        except CelError as wrong:
            yield invalid_value(f"{where}.rule", _internal(each), f"compilation failed: {wrong}")
            continue
        if kind not in ("BOOL", "DYN"):
            yield invalid_value(f"{where}.rule", _internal(each), "cel expression must evaluate to a bool")
        yield from _message_faults(each, text, where)
        if each.get("reason") and each["reason"] not in _REASONS:
            supported = ", ".join(f'"{one}"' for one in _REASONS)
            yield Cause("FieldValueNotSupported", f'Unsupported value: "{each["reason"]}": supported values: {supported}', f"{where}.reason")
        if each.get("fieldPath") and not _leads_somewhere(raw, each["fieldPath"]):
            yield invalid_value(f"{where}.fieldPath", each["fieldPath"], "must be a valid path")
        if each.get("messageExpression") and not each["messageExpression"].strip():
            yield Cause("FieldValueRequired", "Required value: messageExpression must be non-empty if specified", f"{where}.messageExpression")
        elif each.get("messageExpression"):
            try:
                kind = compile_expression(each["messageExpression"], VARIABLES).kind
            except CelError as wrong:
                yield invalid_value(f"{where}.messageExpression", _internal(each), f"messageExpression compilation failed: {wrong}")
                continue
            if kind not in ("STRING", "DYN"):
                yield invalid_value(f"{where}.messageExpression", _internal(each), "messageExpression must evaluate to a string")


def _leads_somewhere(raw: dict[str, Any], path: str) -> bool:
    """Whether a field's path, `.a.b` or `.a['b']`, is one of the schema's."""
    place: Any = raw
    if not path or _FIELD_PATH.fullmatch(path) is None:
        return False
    for step in _FIELD_STEP.finditer(path):
        name = step[1] or step[2]
        place = (place.get("properties") or {}).get(name) or (place.get("additionalProperties") if place.get("type") == "object" else None)
        if not isinstance(place, dict):
            return False
    return True


def _internal(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule as messages show it: the struct that upstream keeps it in."""
    texts = {name[0].upper() + name[1:]: rule.get(name) or "" for name in ("rule", "message", "messageExpression")}
    return texts | {"Reason": rule.get("reason"), "FieldPath": rule.get("fieldPath") or "", "OptionalOldSelf": rule.get("optionalOldSelf")}


def _message_faults(rule: dict[str, Any], text: str, where: str) -> Iterator[Cause]:
    message = rule.get("message") or ""
    if message and not message.strip():
        yield invalid_value(f"{where}.message", message, "must be non-empty if specified")
    elif "\n" in message.strip():
        yield invalid_value(f"{where}.message", message, "must not contain line breaks")
    elif not message and "\n" in text.strip():
        yield Cause("FieldValueRequired", "Required value: message must be specified if rule contains line breaks", f"{where}.message")


def validate(place: Place, value: Any, old: Any = MISSING, path: str = "") -> Iterator[Cause]:
    """Every rule that does not hold. Of a value that is as it was only rules of transitions are asked."""
    if value is None:
        return
    unchanged = old is not MISSING and same(old, value)
    if place.rules:
        variables = {"self": cel_value(place.raw, value)}
        if old is not MISSING and old is not None:
            variables["oldSelf"] = cel_value(place.raw, old)
        for rule in place.rules:
            if "oldSelf" not in variables if rule.is_transition else unchanged:
                continue
            if (cause := _broken(rule, variables, place.raw, path, value)) is not None:
                yield cause
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, below in value.items():
            inner = place.fields.get(name) or (place.each if name not in (place.raw.get("properties") or {}) else None)
            if inner is not None:
                known = name in (place.raw.get("properties") or {})
                yield from validate(inner, below, before.get(name, MISSING), _below(path, name) if known else f"{path}[{name}]")
    elif isinstance(value, list) and place.each is not None:
        olds = custom_values.correlated(place.raw, value, old)
        for number, below in enumerate(value):
            yield from validate(place.each, below, olds[number], f"{path}[{number}]")


def _broken(rule: Rule, variables: dict[str, Any], raw: dict[str, Any], path: str, value: Any) -> Cause | None:
    where = _below(path, rule.field_path.removeprefix(".")) if rule.field_path else path or "<nil>"
    try:
        if compile_expression(rule.text, VARIABLES).evaluate(variables) is True:
            return None
    except CelError as wrong:
        told = f"{wrong} evaluating rule: {rule.message or rule.text.strip()}"
        return Cause("FieldValueInvalid", f'Invalid value: "{raw.get("type") or "object"}": {told}', path or "<nil>")
    # Objects and lists are left out: they may be long, and the path says which it is.
    shown = "" if isinstance(value, (dict, list)) else f": {custom_values.number(value)}"
    if rule.reason == "FieldValueDuplicate":
        return Cause(rule.reason, f"Duplicate value{shown}", where)
    told = _message(rule, variables)
    return Cause(rule.reason, _TEXTS.get(rule.reason, f"Invalid value{shown}: ") + told, where)


def _message(rule: Rule, variables: dict[str, Any]) -> str:
    if rule.message_expression:
        try:
            told = compile_expression(rule.message_expression, VARIABLES).evaluate(variables)
            if isinstance(told, str) and told.strip() and "\n" not in told:
                return told
        except CelError:
            pass
    return rule.message or f"failed rule: {rule.text.strip()}"


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def cel_value(raw: dict[str, Any], value: Any) -> Any:
    """A value as rules see it: names of fields escaped, numbers of the schema's type."""
    if isinstance(value, dict):
        properties = raw.get("properties") or {}
        extra = raw.get("additionalProperties")
        other = extra if isinstance(extra, dict) else {}
        return {
            escaped(name) if name in properties or name in ("apiVersion", "kind", "metadata") else name: cel_value(properties.get(name, other), each)
            for name, each in value.items()
        }
    if isinstance(value, list):
        items = raw.get("items") if isinstance(raw.get("items"), dict) else {}
        return [cel_value(items or {}, each) for each in value]
    if isinstance(value, str) and raw.get("format") in TYPED_FORMATS:
        return typed(value, raw["format"])
    if raw.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if raw.get("type") == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
