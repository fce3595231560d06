"""The law behind the check against escalation: rules that cover others let everything pass that those let pass, so nobody gains by writing a role."""

from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from apiserver.authz.rules import allows, uncovered
from apiserver.request import Attributes, User

VERBS, GROUPS, RESOURCES, SUBRESOURCES, NAMES = ("get", "list"), ("", "apps"), ("pods", "nodes"), ("", "log", "scale"), ("", "a", "b")
PATHS = ("/", "/api", "/api/v1", "/apis")


def some(*words: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(words), min_size=1, max_size=2, unique=True)


resource_rules = st.fixed_dictionaries(
    {
        "verbs": some(*VERBS, "*"),
        "apiGroups": some(*GROUPS, "*"),
        "resources": some(*RESOURCES, "*", "pods/log", "*/scale", "nodes/scale"),
    },
    optional={"resourceNames": some("a", "b")},
)
path_rules = st.fixed_dictionaries({"verbs": some(*VERBS, "*"), "nonResourceURLs": some(*PATHS, "*", "/api/*", "/a*")})
rules = st.lists(resource_rules | path_rules, max_size=3)

USER = User("x")
REQUESTS = [
    *(
        Attributes(USER, verb, "", True, *rest[:1], "v1", *rest[1:3], "", rest[3])
        for verb, *rest in product(VERBS, GROUPS, RESOURCES, SUBRESOURCES, NAMES)
    ),
    *(Attributes(USER, verb, path) for verb in VERBS for path in (*PATHS, "/abc")),
]


def passes(of: list[dict[str, Any]], request: Attributes) -> bool:
    return any(allows(rule, request) for rule in of)


@given(rules, rules)
def test_what_is_covered_lets_nothing_new_pass(owned, wanted):
    if not uncovered(owned, wanted):
        assert [request for request in REQUESTS if passes(wanted, request) and not passes(owned, request)] == []


@given(rules)
def test_rules_cover_themselves_and_what_is_added_is_told(owned):
    assert uncovered(owned, owned) == []
    told = uncovered([], owned)
    for request in REQUESTS:
        assert passes(told, request) == passes(owned, request)
