"""Label selectors: the text grammar of `?labelSelector=` and the LabelSelector objects (apimachinery/pkg/labels, meta/v1 LabelSelectorAsSelector).

`parse_labels(text)` and `from_label_selector(obj)` give a `Selector`; `.matches(labels)` asks it, `str()` prints it again. Raises ValueError with
Kubernetes' text; `field_selectors` holds the other kind.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

from apiserver.machinery import field_selectors
from apiserver.machinery.names import label_key, label_value
from apiserver.machinery.objects import Object
from apiserver.machinery.status import bad_request, shown

FieldSelector = field_selectors.FieldSelector
parse_fields = field_selectors.parse_fields

TEXT_MAX = 64 * 1024
"""Longer selectors are refused: an URL does not hold more."""

IN, NOT_IN, EXISTS, MISSING, EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER, LESS = "in", "notin", "exists", "!", "=", "==", "!=", "gt", "lt"
_BINARY_OPERATORS = (IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER, LESS)
_SYMBOLS = "=!(),><"
_TOKENS = {")": ")", ",": ",", "!": "!", "==": "==", "=": "=", ">": ">", "<": "<", "!=": "!=", "(": "(", "in": "in", "notin": "notin"}
_OPERATOR_OF_TOKEN = {"in": IN, "=": EQUALS, "==": DOUBLE_EQUALS, ">": GREATER, "<": LESS, "notin": NOT_IN, "!=": NOT_EQUALS}
END, NAME = "end", "name"


class Requirement(Struct, frozen=True):
    """One term. `values` are sorted and without doubles; their number fits the operator."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return _MATCH[self.operator](self, labels)

    def __str__(self) -> str:
        if self.operator == MISSING:
            return f"!{self.key}"
        if self.operator == EXISTS:
            return self.key
        if self.operator in (IN, NOT_IN):
            return f"{self.key} {self.operator} ({','.join(self.values)})"
        sign = {GREATER: ">", LESS: "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{self.values[0]}"


def _is_in(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    return labels.get(requirement.key) in requirement.values


def _is_not_in(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    return labels.get(requirement.key) not in requirement.values


def _compared(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    try:
        found, limit = int(labels.get(requirement.key, "")), int(requirement.values[0])
    except ValueError:
        return False
    return found > limit if requirement.operator == GREATER else found < limit


_MATCH: dict[str, Callable[[Requirement, Mapping[str, str]], bool]] = {
    IN: _is_in,
    EQUALS: _is_in,
    DOUBLE_EQUALS: _is_in,
    NOT_IN: _is_not_in,
    NOT_EQUALS: _is_not_in,
    EXISTS: lambda requirement, labels: requirement.key in labels,
    MISSING: lambda requirement, labels: requirement.key not in labels,
    GREATER: _compared,
    LESS: _compared,
}


class Selector(Struct, frozen=True):
    """All requirements must hold. `nothing` is the selector that no object has: a LabelSelector that is not there."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    @property
    def is_everything(self) -> bool:
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        labels = labels or {}
        return all(_MATCH[each.operator](each, labels) for each in self.requirements)

    def exact(self, key: str) -> str | None:
        """The one value that `key` must have, if the selector says so."""
        for each in self.requirements:
            if each.key == key and each.operator in (IN, EQUALS, DOUBLE_EQUALS) and len(each.values) == 1:
                return each.values[0]
        return None

    def __str__(self) -> str:
        return ",".join(str(each) for each in self.requirements)


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def requirement(key: str, operator: str, values: tuple[str, ...] = ()) -> Requirement:
    """A checked requirement. Raises ValueError with Kubernetes' text."""
    if faults := label_key(key):
        raise ValueError(f"key: Invalid value: {shown(key)}: {'; '.join(faults)}")
    listed = "[" + ",".join(shown(each) for each in values) + "]"
    if operator in (IN, NOT_IN) and not values:
        raise ValueError("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in (EQUALS, DOUBLE_EQUALS, NOT_EQUALS) and len(values) != 1:
        raise ValueError(f"values: Invalid value: {listed}: exact-match compatibility requires one single value")
    if operator in (EXISTS, MISSING) and values:
        raise ValueError(f"values: Invalid value: {listed}: values set must be empty for exists and does not exist")
    if operator in (GREATER, LESS):
        if len(values) != 1:
            raise ValueError(f"values: Invalid value: {listed}: for 'Gt', 'Lt' operators, exactly one value is required")
        if not _is_integer(values[0]):
            raise ValueError(f"values[0]: Invalid value: {shown(values[0])}: for 'Gt', 'Lt' operators, the value must be an integer")
    for at, value in enumerate(values):
        if faults := label_value(value):
            raise ValueError(f"values[{at}][{key}]: Invalid value: {shown(value)}: {'; '.join(faults)}")
    return Requirement(key, operator, tuple(sorted(set(values))))


def _is_integer(text: str) -> bool:
    digits = text[1:] if text[:1] in ("-", "+") else text
    return digits.isascii() and digits.isdigit()


@lru_cache(maxsize=1024)
def parse_labels(text: str) -> Selector:
    """The selector that `text` says; an empty text selects everything. Raises ValueError."""
    if not text:
        return EVERYTHING
    if len(text) > TEXT_MAX:
        raise ValueError(f"a label selector has at most {TEXT_MAX} characters, this one has {len(text)}")
    return Selector(tuple(sorted(_Parser(text).requirements(), key=lambda each: each.key)))


def labels_of_request(text: str) -> Selector:
    """`parse_labels` for a client's text. Raises ApiError 400."""
    try:
        return parse_labels(text)
    except ValueError as wrong:
        raise bad_request(str(wrong)) from None


def from_labels(labels: Mapping[str, str]) -> Selector:
    """Every one of these labels (a Service's or ReplicationController's selector); no labels select everything."""
    return Selector(tuple(Requirement(key, EQUALS, (value,)) for key, value in sorted(labels.items())))


_OBJECT_OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": MISSING}


def from_label_selector(obj: Object | None) -> Selector:
    """A LabelSelector object: none selects nothing, an empty one everything. Raises ValueError."""
    if obj is None:
        return NOTHING
    found = [requirement(key, EQUALS, (value,)) for key, value in (obj.get("matchLabels") or {}).items()]
    for each in obj.get("matchExpressions") or ():
        operator = _OBJECT_OPERATORS.get(each.get("operator", ""))
        if operator is None:
            raise ValueError(f'"{each.get("operator", "")}" is not a valid label selector operator')
        found.append(requirement(each.get("key", ""), operator, tuple(each.get("values") or ())))
    return Selector(tuple(sorted(found, key=lambda each: each.key)))


def to_label_selector(selector: Selector) -> Object:
    """The LabelSelector object for a selector (without `<` and `>`, which objects cannot say)."""
    names = {operator: name for name, operator in _OBJECT_OPERATORS.items()} | {NOT_EQUALS: "NotIn"}
    answer: dict[str, Any] = {}
    for each in selector.requirements:
        if each.operator in (EQUALS, DOUBLE_EQUALS):
            answer.setdefault("matchLabels", {})[each.key] = each.values[0]
        elif each.operator in names:
            entry: dict[str, Any] = {"key": each.key, "operator": names[each.operator]}
            answer.setdefault("matchExpressions", []).append(entry | ({"values": list(each.values)} if each.values else {}))
        else:
            raise ValueError(f'"{each.operator}" is not a valid label selector operator')
    return answer


class _Parser:
    """Recursive descent with one token of look-ahead; `in` and `notin` are words only where an operator may stand."""

    def __init__(self, text: str) -> None:
        self.tokens = list(_scanned(text))
        self.at = 0

    def peek(self, *, operators: bool = False) -> tuple[str, str]:
        kind, literal = self.tokens[self.at] if self.at < len(self.tokens) else (END, "")
        return (NAME, literal) if kind in ("in", "notin") and not operators else (kind, literal)

    def take(self, *, operators: bool = False) -> tuple[str, str]:
        found = self.peek(operators=operators)
        self.at += 1
        return found

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while True:
            kind, literal = self.peek()
            if kind == END:
                return found
            if kind not in (NAME, "!"):
                raise ValueError(f"found '{literal}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self.requirement())
            except ValueError as wrong:
                raise ValueError(f"unable to parse requirement: {wrong}") from None
            kind, literal = self.take()
            if kind == END:
                return found
            if kind != ",":
                raise ValueError(f"found '{literal}', expected: ',' or 'end of string'")
            kind, literal = self.peek()
            if kind not in (NAME, "!"):
                raise ValueError(f"found '{literal}', expected: identifier after ','")

    def requirement(self) -> Requirement:
        kind, key = self.take()
        missing = kind == "!"
        if missing:
            kind, key = self.take()
        if kind != NAME:
            raise ValueError(f"found '{key}', expected: identifier")
        if faults := label_key(key):
            raise ValueError(f"key: Invalid value: {shown(key)}: {'; '.join(faults)}")
        if missing:
            return requirement(key, MISSING)
        if self.peek()[0] in (END, ","):
            return requirement(key, EXISTS)
        kind, literal = self.take(operators=True)
        if kind not in _OPERATOR_OF_TOKEN:
            raise ValueError(f"found '{literal}', expected: {', '.join(_BINARY_OPERATORS)}")
        operator = _OPERATOR_OF_TOKEN[kind]
        return requirement(key, operator, self.set_of_values() if operator in (IN, NOT_IN) else (self.exact_value(),))

    def exact_value(self) -> str:
        if self.peek()[0] in (END, ","):
            return ""
        kind, literal = self.take()
        if kind != NAME:
            raise ValueError(f"found '{literal}', expected: identifier")
        return literal

    def set_of_values(self) -> tuple[str, ...]:
        kind, literal = self.take()
        if kind != "(":
            raise ValueError(f"found '{literal}' expected: '('")
        values: list[str] = []
        if self.peek()[0] == ")":
            self.take()
            return ("",)
        while True:
            # A value may be left out: `in (a,)` and `in (,a)` name the empty value, too.
            values.append(self.take()[1] if self.peek()[0] == NAME else "")
            kind, literal = self.take()
            if kind == ")":
                return tuple(values)
            if kind != ",":
                raise ValueError(f"found '{literal}', expected: ',' or ')'")


def _scanned(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        if text[at] in " \t\r\n":
            at += 1
            continue
        end = at
        if text[at] in _SYMBOLS:
            while end < len(text) and text[at : end + 1] in _TOKENS:
                end += 1
            literal = text[at:end]
        else:
            while end < len(text) and text[end] not in _SYMBOLS and text[end] not in " \t\r\n":
                end += 1
            literal = text[at:end]
        found.append((_TOKENS.get(literal, NAME), literal))
        at = end
    return found
