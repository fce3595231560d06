"""What an expression could make of what it is given, before it is evaluated."""

import pytest

from apiserver.registry.cel import MADE_BYTES_MAX, CelError, compile_expression
from apiserver.registry.cel_growth import Growth, weight

VARIABLES = ("self", "oldSelf")


def growth(text: str) -> Growth:
    return Growth(compile_expression(text, VARIABLES)._expression.serialize())


def doubled(times: int, begin: str) -> str:
    text = f"a{times}.size() > 0"
    for number in range(times, 0, -1):
        text = f"cel.bind(a{number}, a{number - 1} + a{number - 1}, {text})"
    return f"cel.bind(a0, {begin}, {text})"


def test_what_doubles_itself_is_refused_with_its_definition() -> None:
    """24 of them took 20 seconds and 3 GB."""
    with pytest.raises(CelError, match="could make"):
        compile_expression(doubled(24, "[1, 2, 3]"), VARIABLES)
    assert compile_expression(doubled(4, "[1, 2, 3]"), VARIABLES).evaluate({"self": 1}) is True


@pytest.mark.parametrize(
    ("text", "large"),
    [
        ("self.map(x, self).size() > 0", list(range(6000))),
        ("self.replace('a', self).size() > 0", "a" * 20_000),
        ("self.replace('a', self).replace('a', self).size() > 0", "a" * 1000),
        ("self.map(x, self.map(y, self)).size() > 0", list(range(300))),
        (doubled(15, "self"), "a" * 20_000),
    ],
)
def test_what_makes_too_much_of_a_large_object_is_not_begun(text: str, large: object) -> None:
    with pytest.raises(CelError, match="could make"):
        compile_expression(text, VARIABLES).evaluate({"self": large})
    assert compile_expression(text, VARIABLES).evaluate({"self": large[:1]}) is True  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        "self.all(x, self.exists(y, y.name == x.name))",
        "self.filter(x, x.a in self.b).map(y, y.z + 'a').all(k, k.size() > 3)",
        "self.map(x, x.name).size() == 3",
        "self.a.replace('-', '').lowerAscii() == self.b.trim()",
        "has(self.x) ? self.x + self.y == 'a' : self.?z.orValue('x') == 'x'",
        "self.x.map(y, y.z).join(',').size() < 100",
        "self.all(key, key.matches('^a+$') && quantity(self[key]).isLessThan(quantity('1Gi')))",
        "[self.a, self.b].all(x, x.split(',').all(y, y.find('[0-9]+') != ''))",
    ],
)
def test_ordinary_rules_may_be_given_megabytes(text: str) -> None:
    assert growth(text).largest(3 << 20) <= MADE_BYTES_MAX


def test_weight() -> None:
    assert weight({"a": [1, "xy"]}) == 16 * 4 + 1 + 2
