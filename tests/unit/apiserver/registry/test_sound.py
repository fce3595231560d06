"""The fast questions agree with the slow answers, on objects as they come and as they should not."""

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from apiserver.machinery.resources import resource
from apiserver.registry import duplicates
from apiserver.registry.schemas import check
from apiserver.registry.shapes import faults, missing, normalize
from apiserver.registry.sound import complete, sound
from tests.unit.apiserver.registry.strategies.rich import RICH

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 2**33), st.floats(-1, 1), st.sampled_from(["", "1", "0.5", "a:b", "2026-01-01T00:00:00Z", "YQ=="])
) | st.sampled_from([{}, [], {"x": None}, [None], {"name": ""}])


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of an object."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in [(value, key), *places(inner)]]


@given(st.sampled_from(sorted(RICH)), st.lists(VALUES, max_size=3), st.data())
def test_sound_means_that_there_is_nothing_to_do_and_complete_that_nothing_is_missing(kind: str, values: list[Any], data: st.DataObject) -> None:
    obj = copy.deepcopy(RICH[kind])
    for value in values:
        holder, key = data.draw(st.sampled_from(places(obj))) if places(obj) else (obj, "metadata")
        holder[key] = copy.deepcopy(value)
    shape = check(resource(kind)).shape
    after = copy.deepcopy(obj)
    unknown: list[str] = []
    normalize(shape, after, "", unknown)
    nothing_to_do = json.dumps(after) == json.dumps(obj) and not unknown and next(faults(shape, after), None) is None
    assert sound(shape, obj) == nothing_to_do
    assert complete(shape, obj) == (next(missing(shape, obj), None) is None)


@given(st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b:c", "é"]), inner, max_size=3)))
def test_an_honest_text_is_never_doubted_and_a_doubled_name_always(value: Any) -> None:
    assert duplicates.none_for_sure(json.dumps(value), value)
    text = f'{{"k": 0, "k": {json.dumps(value)}}}'
    assert not duplicates.none_for_sure(text, json.loads(text))
    assert duplicates.fields(text) == ["k"]
