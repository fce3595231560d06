"""Decoded JSON as Go's fmt prints it, for messages that quote values so."""

import json
import sys
from typing import Any

TYPES = {str: "string", int: "int64", float: "float64", bool: "bool", list: "[]interface {}", dict: "map[string]interface {}", type(None): "<nil>"}


def type_of(value: Any) -> str:
    """%T. Integers that int64 cannot hold are decoded as floats."""
    if type(value) is int and not -(2**63) <= value < 2**63:
        return "float64"
    return TYPES[type(value)]


def printed(value: Any) -> str:
    """%v."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{printed(value[name])}" for name in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(printed, value)) + "]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    is_float = type_of(value) == "float64" and abs(value) <= sys.float_info.max
    return f"{float(value):.17g}" if is_float and float(value).is_integer() else str(value)


def syntax(value: Any) -> str:
    """%#v."""
    if isinstance(value, dict):
        return "map[string]interface {}{" + ", ".join(f"{json.dumps(name)}:{syntax(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(map(syntax, value)) + "}"
    return json.dumps(value) if isinstance(value, str) else "interface {}(nil)" if value is None else printed(value)
