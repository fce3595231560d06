"""The columns of custom resources: `additionalPrinterColumns` of a version, by JSON path (apiextensions-apiserver tableconvertor)."""

from datetime import datetime
from typing import Any

import msgspec

from apiserver.machinery import jsonpath, timestamps
from apiserver.machinery.objects import Object, name_of
from apiserver.registry.column import Column, Printer, columns

AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_SWAGGER_AGE = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before "
    "order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC."
)


def printer(additional: list[Object]) -> Printer:
    """The table of one version; with Name and Age if it names no columns."""
    named = additional or [{**AGE, "description": _SWAGGER_AGE}]
    found = tuple(
        Column(each["name"], each["type"], each.get("format", ""), each.get("description", ""), each.get("priority") or 0) for each in named
    )

    def cells(obj: Object, now: datetime) -> list[Any]:
        return [name_of(obj), *(cell(each["type"], each["jsonPath"], obj, now) for each in named)]

    return Printer(columns("Name") + found, cells)


def cell(kind: str, path: str, obj: Object, now: datetime) -> Any:
    """What the path leads to, in the column's type; nothing where it leads nowhere or the value is of another type."""
    found = jsonpath.find(path, obj)
    if not found or found[0] is None:
        return None
    value = found[0]
    if kind == "string":
        return value if isinstance(value, str) else _printed(value)
    if kind == "date":
        return timestamps.age(value, now) if isinstance(value, str) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if kind == "integer" else float(value)


def _printed(value: Any) -> str:
    return msgspec.json.encode(value).decode()
