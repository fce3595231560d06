"""CEL: Kubernetes' own functions, and what goes wrong."""

from typing import Any

import pytest

from apiserver.registry.cel import CelError, compile_expression, escaped
from apiserver.registry.cel_rules import cel_value


def evaluated(text: str, value: Any = None) -> Any:
    return compile_expression(text, ("self", "oldSelf")).evaluate({"self": value})


@pytest.mark.parametrize(
    "text",
    [
        "quantity('1Gi').isGreaterThan(quantity('1Mi'))",
        "quantity('1.5').add(quantity('500m')).compareTo(quantity('2')) == 0",
        "isQuantity('12m') && !isQuantity('x')",
        "'abc 123'.find('[0-9]+') == '123'",
        "'a1b2'.findAll('[0-9]') == ['1', '2']",
        "[1, 2, 3].isSorted() && [1, 2].sum() == 3 && [3, 1].max() == 3",
        "url('https://example.com:80/p?a=b').getHost() == 'example.com:80'",
        "isURL('https://x') && !isURL('x')",
        "isIP('::1') && ip('10.0.0.1').family() == 4",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP('11.0.0.1')",
        "'a-b'.split('-') == ['a', 'b'] && 'x'.upperAscii() == 'X'",
        "self.?a.orValue(7) == 7",
        "cel.bind(x, 3, x * x == 9)",
    ],
)
def test_functions(text: str) -> None:
    assert evaluated(text, {}) is True


def test_faults() -> None:
    with pytest.raises(CelError, match="Syntax error"):
        compile_expression("self.", ("self",))
    with pytest.raises(CelError, match="no matching overload"):
        compile_expression("'a' == 1", ("self",))
    with pytest.raises(CelError, match="Key not found"):
        evaluated("self.a", {})
    with pytest.raises(CelError, match="budget"):
        evaluated("self.all(x, self.all(y, self.all(z, x + y + z >= 0)))", list(range(200)))
    with pytest.raises(CelError, match="at most"):
        compile_expression("1" * 20_000, ("self",))


@pytest.mark.parametrize(
    "text",
    [
        "self.t > timestamp('2020-01-01T00:00:00Z')",
        "self.d <= duration('1h') && self.d.getSeconds() == 90",
        "size(self.b) == 2",
        "self.day.getFullYear() == 2021",
    ],
)
def test_formats_are_types(text: str) -> None:
    formats = {"t": "date-time", "d": "duration", "b": "byte", "day": "date"}
    schema = {"properties": {name: {"type": "string", "format": form} for name, form in formats.items()}}
    assert evaluated(text, cel_value(schema, {"t": "2021-01-01T00:00:00Z", "d": "1m30s", "b": "aGk=", "day": "2021-05-05"})) is True
    assert cel_value(schema, {"d": "soon"}) == {"d": "soon"}


def test_values_as_rules_see_them() -> None:
    assert (escaped("namespace"), escaped("a-b.c/d__e")) == ("__namespace__", "a__dash__b__dot__c__slash__d__underscores__e")
    schema = {"properties": {"a-b": {"type": "number"}, "m": {"additionalProperties": {"type": "integer"}}}}
    assert cel_value(schema, {"a-b": 1, "m": {"x-y": 2.0}}) == {"a__dash__b": 1.0, "m": {"x-y": 2}}


def test_patterns_do_not_backtrack() -> None:
    for text in ("self.matches('^(a+)+$')", "self.find('^(a+)+$') != ''", "self.findAll('^(a+)+$').size() > 0"):
        assert evaluated(text, "a" * 4000 + "b") is False
    with pytest.raises(CelError, match="invalid or unsupported Perl syntax"):
        evaluated("self.find('(?=a)') == ''", "a")
    with pytest.raises(CelError, match="steps"):
        evaluated("self.find('.{0,900}.{0,900}') == ''", "a" * 100_000)
