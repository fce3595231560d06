"""Whatever a schema lets through, no strategy falls over: it finds faults or it does not."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from apiserver.machinery.objects import metadata
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from apiserver.registry.conversion import conversion_of
from apiserver.registry.schemas import check
from apiserver.registry.strategies.registry import strategy_for
from tests.unit.apiserver.registry.strategies.rich import RICH
from tests.unit.apiserver.registry.test_sound import VALUES, places


@settings(max_examples=200)
@given(st.sampled_from(sorted(RICH)), st.lists(VALUES, min_size=1, max_size=4), st.booleans(), st.data())
def test_no_strategy_falls_over(kind: str, values: list[Any], whether_gone: bool, data: st.DataObject) -> None:
    which = resource(kind)
    obj = {"apiVersion": which.api_version, "kind": which.kind, "metadata": {"name": "x", "namespace": "default"}, **copy.deepcopy(RICH[kind])}
    for value in values:
        holder, key = data.draw(st.sampled_from(places(obj)))
        if whether_gone and isinstance(holder, dict):
            del holder[key]
        else:
            holder[key] = copy.deepcopy(value)
        if not isinstance(obj.get("metadata"), dict):
            obj["metadata"] = {}
    checker, strategy = check(which), strategy_for(which)
    try:
        checker.decode(obj, validation="Ignore")
    except ApiError:
        return
    checker.default(obj)
    metadata(obj).setdefault("uid", "u")
    old = copy.deepcopy(obj)
    strategy.prepare_create(obj)
    checker.required(obj)
    strategy.validate(obj)
    strategy.warnings(obj)
    strategy.grace_period_s(obj, None)
    new = copy.deepcopy(obj)
    strategy.prepare_update(new, old)
    strategy.validate_update(new, old)
    strategy.validate_update(old, new)
    strategy.validate_status_update(new, old)
    convert = conversion_of(which)
    if convert is not None:
        other = {"autoscaling/v2": "autoscaling/v1", "v1": "events.k8s.io/v1"}.get(which.api_version, which.api_version)
        convert(convert(obj, other), which.api_version)
