"""The columns of custom resources: `additionalPrinterColumns` of a version, by JSON path (apiextensions-apiserver tableconvertor)."""

from datetime import datetime
from typing import Any

import msgspec

from apiserver.machinery import jsonpath, timestamps
from apiserver.machinery.objects import Object, name_of
from apiserver.registry.column import DESCRIPTIONS, Column, Printer, columns

AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def printer(additional: list[Object]) -> Printer:
    """The table of one version; with Name and Age if it names no columns, or one that cannot be read."""
    named = (_readable(additional) and additional) or [{**AGE, "description": DESCRIPTIONS["Age"]}]
    found = tuple(Column(each["name"], each["type"], each.get("format", ""), _description(each), each.get("priority") or 0) for each in named)

    def cells(obj: Object, now: datetime) -> list[Any]:
        return [name_of(obj), *(cell(each["type"], each["jsonPath"], obj, now) for each in named)]

    return Printer(columns("Name") + found, cells)


def _readable(additional: list[Object]) -> bool:
    try:
        for each in additional:
            jsonpath.parse(each["jsonPath"])
    except ValueError:
        return False
    return True


def _description(column: Object) -> str:
    return column.get("description") or f"Custom resource definition column (in JSONPath format): {column['jsonPath']}"


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
