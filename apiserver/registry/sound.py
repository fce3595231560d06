"""The two questions that nearly every object answers with yes, asked without building a path or a list: is it in its form, and is it complete?

`sound` says yes if neither `normalize` nor `faults` would find anything to do: no unknown field, no null, no zero that is never written, every value
of its type and in its one spelling. Only if it says no are those asked, which are slow and can tell what and where. The law that binds them is a
test.
"""

from typing import Any

from apiserver.registry.shapes import CHECKS, Form, Shape, spelled, zero

EXACT = frozenset((Form.TIME, Form.MICRO_TIME, Form.QUANTITY))
STRUCTURED = (dict, list)


def sound(shape: Shape, value: Any) -> bool:
    form = shape.form
    if form is Form.STRUCT:
        return type(value) is dict and _struct(shape, value)
    if form is Form.MAP:
        inner = shape.each
        return type(value) is dict and inner is not None and all(_good(inner, element) for element in value.values())
    if form is Form.ARRAY:
        inner = shape.each
        return type(value) is list and (inner is None or all(_good(inner, element) for element in value))
    return _good(shape, value)


def _struct(shape: Shape, value: dict[str, Any]) -> bool:
    omits = shape.omits
    for key, element in value.items():
        inner = shape.field(key)
        if inner is None:
            if shape.keeps_unknown or key in shape.kept:
                continue
            return False
        if not element and key in omits and type(element) is type(zero(inner)):
            return False
        if not _good(inner, element):
            return False
    return True


def _good(shape: Shape, value: Any) -> bool:
    form = shape.form
    if form is Form.STRING:
        return type(value) is str or (value is None and shape.custom and shape.nullable)
    if value is None:
        return form is Form.ANY or (shape.custom and shape.nullable)
    if form is Form.STRUCT or form is Form.ARRAY or form is Form.MAP:
        return sound(shape, value)
    if not CHECKS[form](shape, value):
        return False
    return form not in EXACT or shape.custom or bool(spelled(shape, value) == value)


def complete(shape: Shape, value: Any) -> bool:
    """Whether `missing` would find nothing."""
    if type(value) is dict:
        if shape.form is Form.STRUCT:
            for name in shape.required:
                if name not in value:
                    return False
            for name in shape.hollow:
                if name not in value:
                    return False
            for key, element in value.items():
                if type(element) in STRUCTURED and (inner := shape.field(key)) is not None and not complete(inner, element):
                    return False
        elif shape.form is Form.MAP and (each := shape.each) is not None:
            return all(type(element) not in STRUCTURED or complete(each, element) for element in value.values())
    elif type(value) is list and shape.form is Form.ARRAY and (each := shape.each) is not None:
        return all(type(element) not in STRUCTURED or complete(each, element) for element in value)
    return True
