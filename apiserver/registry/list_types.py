"""`x-kubernetes-list-type`: sets hold an element once, maps have one element for each combination of their keys
(apiextensions-apiserver/pkg/apiserver/schema/listtype)."""

import json
from collections.abc import Hashable, Iterator
from typing import Any

from apiserver.machinery.status import Cause, duplicate, invalid_value


def faults(raw: dict[str, Any], value: Any, path: str = "") -> Iterator[Cause]:
    """The first repetition of each element that stands there more than once."""
    if isinstance(value, dict):
        properties, extra = raw.get("properties") or {}, raw.get("additionalProperties")
        for name, each in value.items():
            if name in properties:
                yield from faults(properties[name], each, f"{path}.{name}" if path else name)
            elif isinstance(extra, dict):
                yield from faults(extra, each, f"{path}[{name}]")
    elif isinstance(value, list):
        kind = raw.get("x-kubernetes-list-type")
        if kind == "set":
            yield from _repeated(value, path)
        elif kind == "map":
            yield from _map(raw.get("x-kubernetes-list-map-keys") or [], value, path)
        if isinstance(raw.get("items"), dict):
            for index, each in enumerate(value):
                yield from faults(raw["items"], each, f"{path}[{index}]")


def _map(keys: list[str], value: list[Any], path: str) -> Iterator[Cause]:
    for index, each in enumerate(value):
        if each is not None and not isinstance(each, dict):
            yield invalid_value(f"{path}[{index}]", each, "must be an object for an array of list-type map")
            return
    yield from _repeated([{key: each[key] for key in sorted(keys) if key in each} for each in (one or {} for one in value)], path)


def _repeated(value: list[Any], path: str) -> Iterator[Cause]:
    times: dict[Hashable, int] = {}
    for index, each in enumerate(value):
        # Go keeps apart what JSON spells alike: 1 and 1.0, 1 and true.
        key = (type(each), json.dumps(each, sort_keys=True))
        times[key] = times.get(key, 0) + 1
        if times[key] == 2:
            yield duplicate(f"{path}[{index}]", each)
