"""Users' patterns over users' texts: what would keep an engine that backtracks busy for ever is answered, and faults are told in Go's words."""

import pytest

from apiserver.registry import custom_values, patterns, structural


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^(a+)+$", "a" * 4000 + "b"),
        ("^(a|a)*$", "a" * 4000 + "b"),
        ("^(a*)*b$", "a" * 4000),
        ("^([a-z]+)*\\.com$", "x" * 4000),
        ("(x+x+)+y", "x" * 4000),
        ("^(" + "a?" * 100 + ")" + "a" * 100 + "b$", "a" * 100),
    ],
)
def test_nested_repetitions_end(pattern: str, text: str) -> None:
    """With backtracking none of these would end before the machine is scrapped."""
    assert not patterns.compiled(pattern).occurs_in(text)


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        ("^a.c$", "aüc", "abbc"),
        ("^a$", "a", "a\n"),
        (r"^\d$", "7", "٧"),
        (r"^\pL+$", "Größe", "1"),
        (r"\Aab\z", "ab", "abc"),
        (r"^[[:alpha:]]$", "a", "ä"),
        ("(?i)^ab$", "AB", "AC"),
        ("(?s)^a.b$", "a\nb", "ab"),
        (r"\Q.\E", ".", "a"),
    ],
)
def test_meaning(pattern: str, fits: str, does_not: str) -> None:
    assert patterns.compiled(pattern).occurs_in(fits)
    assert not patterns.compiled(pattern).occurs_in(does_not)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("+", "missing argument to repetition operator: `+`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
        (r"a\Z", r"invalid escape sequence: `\Z`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        ("[a", "missing closing ]: `[a`"),
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        (r"(\pL{900}){1}", r"expression too large: `(\pL{900}){1}`"),
    ],
)
def test_faults_in_the_words_of_go(pattern: str, told: str) -> None:
    with pytest.raises(patterns.BadPattern) as fault:
        patterns.compiled(pattern)
    assert str(fault.value) == f"error parsing regexp: {told}"
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    assert [f"{each.field}: {each.message.partition(': ')[2].partition(', but ')[2]}" for each in structural.validate(schema, "s")] == [
        f"s.properties[a].pattern: isn't: error parsing regexp: {told}"
    ]


def test_a_pattern_in_an_alternative_is_judged() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "anyOf": [{"pattern": "("}]}}}
    assert [each.field for each in structural.validate(schema, "s")] == ["s.properties[a].anyOf[0].pattern"]


def test_a_definition_of_before_tells_the_fault() -> None:
    """One that an older server took: values are refused, and the server goes on."""
    (cause,) = custom_values.faults({"type": "string", "pattern": r"a\Z"}, "a", "spec.x")
    assert "should match 'a\\Z, but pattern is invalid: error parsing regexp" in cause.message


def test_what_one_object_may_cost() -> None:
    """Each text for itself is no burden; all of them together are not begun."""
    text = {"type": "string", "pattern": "^(.{0,900}.{0,900})$"}
    size = patterns.compiled(text["pattern"]).size
    many = ["a" * 100] * (patterns.STEPS_MAX // (100 * size) + 1)
    found = list(custom_values.faults({"type": "array", "items": text}, many, "spec.x"))
    assert [each.field for each in found] == [f"spec.x[{len(many) - 1}]"]
    assert found[0].message.endswith("which takes too long to find out")


def test_every_place_that_matches() -> None:
    assert patterns.compiled("é|b").find_all("aébé") == ["é", "b", "é"]
    assert patterns.compiled("b").find_all("abbb", 2) == ["b", "b"]
    assert patterns.compiled("x*").find_all("ax") == ["", "x", ""]
    with pytest.raises(patterns.TooMuch):
        patterns.compiled("a.*?z|a").find_all("a" * 20_000)


def test_memory_is_bounded() -> None:
    patterns._small.cache_clear()
    for number in range(3 * patterns.KEPT):
        patterns.compiled(f"^a{number}$")
    assert patterns._small.cache_info().currsize == patterns.KEPT
