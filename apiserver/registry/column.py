"""What a table of a kind is made of: its columns, and the function that makes an object's cells. Pure: the time comes in as an argument."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from apiserver.machinery import timestamps
from apiserver.machinery.objects import Object, name_of
from apiserver.machinery.selectors import from_label_selector

Cells = Callable[[Object, datetime], list[Any]]
NONE, UNSET, UNKNOWN = "<none>", "<unset>", "<unknown>"


class Column(Struct, frozen=True):
    """`priority` 0 is always shown, more only with `-o wide`. `format` as in OpenAPI; `name` marks the object's name."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0

    def definition(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type, "format": self.format, "description": self.description, "priority": self.priority}


class Printer(Struct, frozen=True):
    columns: tuple[Column, ...]
    cells: Cells
    conditions: Callable[[Object], list[Any]] | None = None
    """Conditions of the row: only finished pods have one."""


DESCRIPTIONS = {
    "Name": "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the "
    "generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be "
    "updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
    "Age": "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in "
    "happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated "
    "by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
    "Containers": "Names of each container in the template.",
    "Images": "Images referenced by each container in the template.",
}


def columns(text: str, wide: str = "") -> tuple[Column, ...]:
    """Columns from a line: names separated by `, `, a type after a colon where it is not string; `wide` are those of priority 1."""
    found = []
    for part, priority in ((text, 0), (wide, 1)):
        for entry in filter(None, part.split(", ")):
            name, _, type_ = entry.partition(":")
            format_ = "name" if name == "Name" else ""
            found.append(Column(name, type_ or "string", format_, DESCRIPTIONS.get(name, ""), priority))
    return tuple(found)


def at(obj: Any, path: str, default: Any = None) -> Any:
    """What stands at `a.b.c`; `default` where there is nothing, or null."""
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return default if obj is None else obj


def age(obj: Object, now: datetime) -> str:
    return timestamps.age(at(obj, "metadata.creationTimestamp", ""), now)


def flag(value: Any) -> str:
    """Go's printBoolPtr."""
    return UNSET if value is None else "True" if value else "False"


def labels(found: dict[str, str] | None) -> str:
    """Labels as Kubernetes formats them: sorted, or <none>."""
    return ",".join(f"{key}={value}" for key, value in sorted(found.items())) if found else NONE


def selector(found: Object | None) -> str:
    """A LabelSelector as text."""
    try:
        return str(from_label_selector(found)) or NONE
    except ValueError:
        return "<error>"


def containers(spec: Object) -> tuple[str, str]:
    """(names, images) of a pod spec's containers."""
    found = spec.get("containers") or ()
    return ",".join(each.get("name", "") for each in found), ",".join(each.get("image", "") for each in found)


def more(found: Sequence[str], count: int, limit: int = 3) -> str:
    """`a,b,c + 2 more...`"""
    text = ",".join(found[:limit])
    return f"{text} + {count - limit} more..." if count > limit else text


def creation_cells(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), at(obj, "metadata.creationTimestamp", "")]


DEFAULT = Printer(columns("Name, Created At:date"), creation_cells)
"""For kinds without columns of their own (registry/rest/table.go)."""
