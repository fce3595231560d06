"""What a structural schema says of values: types, required fields, limits, patterns, enums, formats, junctors, in Kubernetes' words and as many at
once as it tells (kube-openapi/pkg/validation/validate; apiextensions-apiserver/pkg/apiserver/validation).

A check goes on after a wrong type, since upstream's does: clients are told all that is wrong. Every check also counts what was right, because of an
anyOf or oneOf that nobody fulfils the alternative with the most is told.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct, field

from apiserver.machinery.fieldset import MissingKey, steps
from apiserver.machinery.patches import same
from apiserver.machinery.schema import Node
from apiserver.machinery.status import Cause, not_supported, shown
from apiserver.registry import formats, patterns

JUNCTORS = ("allOf", "anyOf", "oneOf", "not")
INT_OR_STRING = ("integer", "string")
INT32, INT64 = 2**31, 2**63
EXACT = 2**53 - 1
"""Up to here a float holds every integer; a float beyond it counts as none."""
MISSING: Any = object()


class Result(Struct):
    causes: list[Cause] = field(default_factory=list)
    matches: int = 0

    def add(self, other: "Result") -> None:
        self.causes += other.causes
        self.matches += other.matches


class Work(Struct):
    """What is left of the steps that the patterns of one object may take."""

    left: int = patterns.STEPS_MAX

    def takes(self, steps: int) -> bool:
        self.left -= steps
        return self.left >= 0


class Place(Struct, frozen=True):
    """Where a value stands: `name` is what messages call it, `root` what stands before it in the path of the field."""

    name: str = ""
    root: str = ""
    work: Work = field(default_factory=Work)

    @property
    def path(self) -> str:
        name = self.name.removeprefix(".")
        return ".".join(each for each in (self.root, name) if each) or "<nil>"

    def below(self, key: str) -> "Place":
        return Place(f"{self.name}.{key}" if self.name else key, self.root, self.work)

    def dotted(self, key: str) -> "Place":
        """Upstream puts a dot even before the first name of values without a property of their own, and of what is required."""
        return Place(f"{self.name}.{key}", self.root, self.work)

    def at(self, index: int) -> "Place":
        return Place(f"{self.name}[{index}]", self.root, self.work)


def faults(raw: dict[str, Any], value: Any, path: str = "", old: Any = MISSING, *, root: str = "") -> Iterator[Cause]:
    """Every value that breaks a rule of the schema.

    What is as it was in `old` is passed over: who tightens a schema does not lock up the objects that stand (KEP-4008, ratcheting). `root` is the
    field that the value is the whole of, if the path does not say it: that of a status."""
    yield from check(raw, value, Place(path, root), old).causes


def check(raw: dict[str, Any], value: Any, place: Place, old: Any = MISSING) -> Result:
    result = Result()
    types = _types(raw)
    told_as = formats.supported(types[0] if len(types) == 1 else "", raw.get("format") or "")
    if types or told_as:
        _type(result, types, told_as, raw, value, place)
    if value is not None:
        _junctors(result, raw, value, place)
        if isinstance(value, str):
            _text(result, raw, told_as, value, place)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            _number(result, raw, types, told_as, value, place)
        elif isinstance(value, list):
            _list(result, raw, value, place, old)
        elif isinstance(value, dict):
            _map(result, raw, value, place, old)
    enum = raw.get("enum")
    if enum and not any(each is not None and same(value, each) for each in enum):
        listed = [each if isinstance(each, str) else shown(each) for each in enum]
        result.causes.append(not_supported(place.path, value, listed))
    result.matches += 2
    if result.causes and old is not MISSING and same(old, value):
        return Result([], result.matches)
    return result


def _types(raw: dict[str, Any]) -> tuple[str, ...]:
    if raw.get("x-kubernetes-int-or-string"):
        return INT_OR_STRING
    kind = raw.get("type")
    return (kind,) if kind else ()


def kind_of(value: Any) -> tuple[str, str]:
    """A value's type and format, as Go's decoder leaves it: integers that int64 cannot hold are floats."""
    if isinstance(value, bool):
        return "boolean", ""
    if isinstance(value, int) and -INT64 <= value < INT64:
        return "integer", "int64"
    if isinstance(value, (int, float)):
        return "number", "float64"
    return ("string", "") if isinstance(value, str) else ("array", "") if isinstance(value, list) else ("object", "")


def _is_whole(value: int | float) -> bool:
    """Also of integers that no float can hold."""
    return isinstance(value, int) or value.is_integer()


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= EXACT and float(value).is_integer()


def _type(result: Result, types: tuple[str, ...], told_as: str, raw: dict[str, Any], value: Any, place: Place) -> None:
    if value is None:
        if types and not raw.get("nullable"):
            result.causes.append(_wrong_type(place, ",".join(types), "null"))
        else:
            result.matches += 2
        return
    kind, its_format = kind_of(value)
    fits = kind in types or (kind == "number" and "integer" in types and _is_integer(value)) or (kind == "integer" and "number" in types)
    if told_as and kind not in ("string", "array"):
        if not fits and its_format != told_as:
            result.causes.append(_wrong_type(place, told_as, its_format))
            return
    elif told_as and "number" not in types and "integer" not in types:
        result.matches += 2
        return
    if not fits:
        result.causes.append(_wrong_type(place, ",".join(types), kind))
        return
    result.matches += 2


def _wrong_type(place: Place, wanted: str, came: str) -> Cause:
    return Cause("FieldValueTypeInvalid", f"Invalid value: {shown(came)}: {place.name} in body must be of type {wanted}: {shown(came)}", place.path)


def _wrong(place: Place, value: Any, told: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {number(value)}: {place.name} in body {told}", place.path)


def _composed(told: str) -> Cause:
    """What upstream tells without a place."""
    return Cause("FieldValueInvalid", f'Invalid value: "": {told}', "<nil>")


def number(value: Any) -> str:
    """As Go prints it: a float that is whole has no point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else shown(value)


def _many(place: Place, count: int, limit: int) -> Cause:
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {limit} item{'' if limit == 1 else 's'}", place.path)


def _map(result: Result, raw: dict[str, Any], value: dict[str, Any], place: Place, old: Any) -> None:
    limit, least = raw.get("maxProperties"), raw.get("minProperties")
    if least is not None and len(value) < least:
        result.causes.append(_wrong(place, len(value), f"should have at least {least} properties"))
    if limit is not None and len(value) > limit:
        result.causes.append(_many(place, len(value), limit))
    properties, extra = raw.get("properties") or {}, raw.get("additionalProperties")
    before = old if isinstance(old, dict) else {}
    for name, each in value.items():
        if name in properties:
            result.add(check(properties[name], each, place.below(name), before.get(name, MISSING)))
        elif isinstance(extra, dict):
            result.add(check(extra, each, place.dotted(name), before.get(name, MISSING)))
    for name in raw.get("required") or ():
        if name not in value:
            result.causes.append(Cause("FieldValueRequired", "Required value", place.dotted(name).path))
    result.matches += 1


def _list(result: Result, raw: dict[str, Any], value: list[Any], place: Place, old: Any) -> None:
    if isinstance(raw.get("items"), dict):
        olds = correlated(raw, value, old)
        for index, each in enumerate(value):
            result.add(check(raw["items"], each, place.at(index), olds[index]))
    limit, least = raw.get("maxItems"), raw.get("minItems")
    if least is not None and len(value) < least:
        result.causes.append(_wrong(place, len(value), f"should have at least {least} items"))
    if limit is not None and len(value) > limit:
        result.causes.append(_many(place, len(value), limit))
    result.matches += 2


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


def _text(result: Result, raw: dict[str, Any], told_as: str, value: str, place: Place) -> None:
    limit, least = raw.get("maxLength"), raw.get("minLength")
    if limit is not None and len(value) > limit:
        result.causes.append(Cause("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", place.path))
    elif least is not None and len(value) < least:
        result.causes.append(_wrong(place, value, f"should be at least {least} chars long"))
    elif raw.get("pattern"):
        _pattern(result, raw["pattern"], value, place)
    result.matches += 1
    test = formats.check_of(told_as) if told_as else None
    if test is not None:
        result.matches += 1
        try:
            test(value)
        except ValueError:
            result.causes.append(_wrong_type(place, told_as, value))


def _pattern(result: Result, text: str, value: str, place: Place) -> None:
    try:
        pattern = patterns.compiled(text)
    except patterns.BadPattern as wrong:
        # Of a definition that was made before its dialect was asked for.
        result.causes.append(_wrong(place, value, f"should match '{text}, but pattern is invalid: {wrong}'"))
        return
    if not place.work.takes(pattern.cost(value)):
        # Ours: Go would take its time, beside everybody else.
        result.causes.append(_wrong(place, value, f"should match '{text}', which takes too long to find out"))
    elif not pattern.occurs_in(value):
        result.causes.append(_wrong(place, value, f"should match '{text}'"))


def _number(result: Result, raw: dict[str, Any], types: tuple[str, ...], told_as: str, value: int | float, place: Place) -> None:
    if types == ("integer",):
        bound = INT32 if told_as == "int32" else INT64
        if not _is_whole(value) or not -bound <= value < bound:
            form = f"with format {told_as}" if told_as else "(default format)"
            result.causes.append(_composed(f"Checked value must be of type integer {form} in {place.name}"))
    least, limit, step = raw.get("minimum"), raw.get("maximum"), raw.get("multipleOf")
    if step and not _is_multiple(value, step):
        result.causes.append(_wrong(place, value, f"should be a multiple of {number(step)}"))
    if least is not None and (value <= least if raw.get("exclusiveMinimum") else value < least):
        result.causes.append(_wrong(place, value, f"should be greater than {'' if raw.get('exclusiveMinimum') else 'or equal to '}{number(least)}"))
    if limit is not None and (value >= limit if raw.get("exclusiveMaximum") else value > limit):
        result.causes.append(_wrong(place, value, f"should be less than {'' if raw.get('exclusiveMaximum') else 'or equal to '}{number(limit)}"))
    result.matches += 2


def _is_multiple(value: int | float, step: int | float) -> bool:
    if isinstance(value, int) and _is_whole(step):
        return value % int(step) == 0
    # Upstream multiplies by the inverse of a small step, which is the more exact of the two.
    try:
        times = 1 / step * value if step < 1 else value / step
    except OverflowError:
        return False
    return math.isfinite(times) and abs(times - round(times)) <= 1e-9 * max(1.0, abs(times))


def _junctors(result: Result, raw: dict[str, Any], value: Any, place: Place) -> None:
    where = shown(place.name)
    if raw.get("anyOf"):
        found = [check(each, value, place) for each in raw["anyOf"]]
        right = next((each for each in found if not each.causes), None)
        if right is None:
            result.causes.append(_composed(f"{where} must validate at least one schema (anyOf)"))
        result.add(right or _best(found))
    if raw.get("oneOf"):
        found = [check(each, value, place) for each in raw["oneOf"]]
        rights = [each for each in found if not each.causes]
        if len(rights) != 1:
            told = f"Found {len(rights)} valid alternatives" if rights else "Found none valid"
            result.causes.append(_composed(f"{where} must validate one and only one schema (oneOf). {told}"))
        result.add(rights[0] if len(rights) == 1 else Result() if rights else _best(found))
    if raw.get("allOf"):
        found = [check(each, value, place) for each in raw["allOf"]]
        for each in found:
            result.add(each)
        if wrong := sum(bool(each.causes) for each in found):
            none = ". None validated" if wrong == len(found) else ""
            result.causes.append(_composed(f"{where} must validate all the schemas (allOf){none}"))
    if raw.get("not") is not None and not check(raw["not"], value, place).causes:
        result.causes.append(_composed(f"{where} must not validate the schema (not)"))
    result.matches += 2


def _best(found: Iterable[Result]) -> Result:
    """The first with the most matches."""
    return max(found, key=lambda each: each.matches)
