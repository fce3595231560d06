"""Table answers (`as=Table`): what kubectl prints, made by the server, for one object, a list or an event of a watch (registry/rest/table.go)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from apiserver.handlers.call import Call
from apiserver.machinery.objects import Object
from apiserver.machinery.status import bad_request
from apiserver.registry import columns as built_in
from apiserver.registry.column import Printer
from apiserver.registry.registry import Served

META = "meta.k8s.io"
LIST_METADATA = ("resourceVersion", "continue", "remainingItemCount", "selfLink")


def table(call: Call, objects: Sequence[Object], metadata: Object, version: str, *, columns: bool, now: datetime) -> Object:
    """Raises ApiError (400) for an `includeObject` that is none."""
    include = call.query.get("includeObject") or "Metadata"
    if include not in ("None", "Metadata", "Object"):
        raise bad_request(f'unrecognized includeObject value: "{include}"')
    printer = printer_of(call.served)
    api_version = f"{META}/{version}"
    rows = []
    for obj in objects:
        row: Object = {"cells": printer.cells(obj, now)}
        if printer.conditions is not None and (found := printer.conditions(obj)):
            row["conditions"] = found
        if include == "Metadata":
            row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": obj.get("metadata") or {}}
        elif include == "Object":
            row["object"] = obj
        else:
            row["object"] = None
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": {key: value for key, value in metadata.items() if key in LIST_METADATA},
        "columnDefinitions": [each.definition() for each in printer.columns] if columns else [],
        "rows": rows,
    }


def printer_of(served: Served) -> Printer:
    return served.printer or built_in.printer(served.resource.qualified)
