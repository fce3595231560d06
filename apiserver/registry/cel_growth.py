"""How large a CEL expression can make what it is given, found from its tree before it is evaluated. Pure.

The engine bounds its iterations and not what it makes: twenty-four `cel.bind(b, a + a, ...)` in a row are gigabytes, and so is `self.map(x, self)`
of a large object. A size is a sum of terms: of the constant 1, of all that the expression was given, and of the element that a loop is at. The
elements of a loop are together as large as what it goes over, everything else is there once for each of them.
"""

from collections.abc import Iterator
from typing import Any

from apiserver.registry import protobuf

ITERATIONS_MAX = 10_000
"""The engine's own bound, of all loops together."""
ELEMENT_BYTES = 16
"""The least that an element of a list or an entry of a map takes."""
SCALAR_BYTES = 16
NOTHING = "#unused"
"""The variable of a loop that cel.bind is."""

Size = dict[str, float]
ONE, GIVEN = "1", "given"
SCALARS = frozenset(
    (
        *("_&&_", "_||_", "!_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in", "_-_", "-_", "_*_", "_/_", "_%_", "@not_strictly_false"),
        *("size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "bool", "type", "duration", "timestamp"),
        *("indexOf", "lastIndexOf", "hasValue", "isSorted", "isQuantity", "isURL", "isIP", "isCIDR", "isInteger", "sign", "compareTo"),
    )
)
PARTS = frozenset(("_[_]", "_?._", "_[?_]", "value", "orValue", "or", "optional.of", "optional.ofNonZeroValue", "min", "max", "substring", "trim"))
"""Whose result is a part of, or no larger than, what they are given."""
PRODUCTS = {"replace": 1, "join": 0}
"""Whose result may have one of their arguments as often as the receiver has characters or elements; which one it is."""


class Growth:
    """Of one compiled expression."""

    def __init__(self, checked: bytes) -> None:
        """`checked`: a cel.expr.CheckedExpr, in an Any or not."""
        found = dict(_fields(checked))
        if isinstance(found.get(1), bytes) and found[1].startswith(b"type.googleapis.com/"):
            found = dict(_fields(found[2]))
        self._tree = found[4]

    def largest(self, given_bytes: int) -> float:
        """The most bytes that any value on the way can have."""
        walk = _Walk(given_bytes)
        walk.size(self._tree, {})
        return walk.largest


def weight(value: Any) -> int:
    """Bytes, about, of a value that is given."""
    total, left = 0, [value]
    while left:
        each = left.pop()
        total += ELEMENT_BYTES
        if isinstance(each, dict):
            total += sum(len(key) for key in each)
            left.extend(each.values())
        elif isinstance(each, (list, tuple)):
            left.extend(each)
        elif isinstance(each, (str, bytes)):
            total += len(each)
    return total


class _Walk:
    def __init__(self, given_bytes: int) -> None:
        self._worth: dict[str, float] = {ONE: 1.0, GIVEN: float(given_bytes)}
        self._loops = 0
        self.largest = 0.0

    def size(self, node: bytes, scope: dict[str, Size]) -> Size:
        found = self._size(node, scope)
        self.largest = max(self.largest, self._bytes(found))
        return found

    def _bytes(self, size: Size) -> float:
        return sum(times * self._worth[term] for term, times in size.items())

    def _size(self, node: bytes, scope: dict[str, Size]) -> Size:
        for number, value in _fields(node):
            if number == 3:
                return {ONE: float(len(value))}
            if number == 4:
                return scope.get(_text(value, 1), {GIVEN: 1.0})
            if number == 5:
                parts = dict(_fields(value))
                operand = self.size(parts[1], scope)
                return {ONE: SCALAR_BYTES} if parts.get(3) else operand
            if number == 6:
                return self._call(value, scope)
            if number in (7, 8):
                return self._literal(value, scope)
            if number == 9:
                return self._loop(value, scope)
        return {}

    def _literal(self, node: bytes, scope: dict[str, Size]) -> Size:
        total: Size = {ONE: ELEMENT_BYTES}
        for number, value in _fields(node):
            entry = [each for at, each in _fields(value) if at in (3, 4)] if number == 2 and isinstance(value, bytes) else []
            inner = [value] if number == 1 else entry
            for each in inner:
                if isinstance(each, bytes):
                    total = _sum(total, {ONE: ELEMENT_BYTES}, self.size(each, scope))
        return total

    def _call(self, node: bytes, scope: dict[str, Size]) -> Size:
        function, given = _text(node, 2), [self.size(value, scope) for number, value in _fields(node) if number in (1, 3)]
        if function in SCALARS:
            return {ONE: SCALAR_BYTES}
        if function == "_?_:_":
            return _larger(given[1], given[2])
        if function in PARTS:
            return _larger(*given)
        if function in PRODUCTS and len(given) > PRODUCTS[function] + 1:
            return _times(given[0], 1 + self._bytes(given[PRODUCTS[function] + 1]))
        if function in ("split", "findAll"):
            return _times(_sum({ONE: 1.0}, given[0]), ELEMENT_BYTES)
        return _sum({ONE: SCALAR_BYTES}, *given) if function == "_+_" else _times(_sum({ONE: SCALAR_BYTES}, *given), 2)

    def _loop(self, node: bytes, scope: dict[str, Size]) -> Size:
        parts = dict(_fields(node))
        accumulator, variable = _decoded(parts.get(3, b"")), _decoded(parts.get(1, b""))
        begun = self.size(parts[4], scope)
        if variable == NOTHING:
            return self.size(parts[7], {**scope, accumulator: begun})
        over = self.size(parts[2], scope)
        times = min(self._bytes(over) / ELEMENT_BYTES, ITERATIONS_MAX)
        self._loops += 1
        element, before = f"element {self._loops}", f"before {self._loops}"
        self._worth[element], self._worth[before] = self._bytes(over), 0.0
        inner = {**scope, variable: {element: 1.0}, accumulator: {before: 1.0}}
        if 8 in parts:
            inner[_decoded(parts[8])] = {element: 1.0}
        self.size(parts[5], inner)
        step = self.size(parts[6], inner)
        made = _sum(begun, _times(over, step.get(element, 0.0)))
        made = _sum(made, *({term: factor * times} for term, factor in step.items() if term not in (element, before)))
        return self.size(parts[7], {**scope, accumulator: made})


def _sum(*sizes: Size) -> Size:
    total: Size = {}
    for each in sizes:
        for term, times in each.items():
            total[term] = total.get(term, 0.0) + times
    return total


def _larger(*sizes: Size) -> Size:
    found: Size = {}
    for each in sizes:
        for term, times in each.items():
            found[term] = max(found.get(term, 0.0), times)
    return found


def _times(size: Size, factor: float) -> Size:
    return {term: times * factor for term, times in size.items()}


def _text(node: bytes, number: int) -> str:
    return next((_decoded(value) for at, value in _fields(node) if at == number), "")


def _decoded(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else ""


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of a protobuf message: integers, and bytes for everything that has a length."""
    return ((number, value) for number, _, value in protobuf.fields(data))
