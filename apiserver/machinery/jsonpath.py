"""The JSONPath that printer columns, selectable fields and scale paths are written in (client-go/util/jsonpath), without its templates.

Steps: `.name`, `['name']`, `[3]`, `[-1]`, `[*]`, `.*`, and filters `[?(@.type=="Ready")]` with ==, !=, <, <=, >, >=, or only existence. A point
inside a name is written `\\.`. Raises ValueError for what it does not know.
"""

import re
from functools import lru_cache
from typing import Any

LENGTH_MAX = 4096
_NAME = re.compile(r"(?:\\.|[^.\[\]'\"\\\s(){}])+")
_FILTER = re.compile(r"\?\(\s*@([^=!<>]*?)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?)\s*)?\)\]")

Step = tuple[str, Any]


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[Step, ...]:
    """The steps of a path; a `{...}` around it is taken off."""
    if len(text) > LENGTH_MAX:
        raise ValueError(f"a JSON path has at most {LENGTH_MAX} characters")
    rest = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    rest = rest.removeprefix("$").removeprefix("@")
    found: list[Step] = []
    at = 0
    while at < len(rest):
        if rest[at] == "[":
            step, at = _bracket(text, rest, at + 1)
            found.append(step)
            continue
        if rest[at] == ".":
            at += 1
            if rest.startswith("*", at):
                found.append(("all", None))
                at += 1
                continue
            if at == len(rest) and not found:
                break
        elif found or at:
            raise ValueError(f"unrecognized character in JSON path {text}: {rest[at]}")
        name = _NAME.match(rest, at)
        if name is None:
            raise ValueError(f"a name is missing in JSON path {text}")
        found.append(("field", re.sub(r"\\(.)", r"\1", name[0])))
        at = name.end()
    return tuple(found)


def _bracket(text: str, rest: str, at: int) -> tuple[Step, int]:
    if rest.startswith("*]", at):
        return ("all", None), at + 2
    if found := re.compile(r"'((?:\\.|[^'\\])*)'\]|\"((?:\\.|[^\"\\])*)\"\]").match(rest, at):
        return ("field", re.sub(r"\\(.)", r"\1", found[1] if found[1] is not None else found[2])), found.end()
    if found := re.compile(r"(-?\d{1,9})\]").match(rest, at):
        return ("index", int(found[1])), found.end()
    if found := _FILTER.match(rest, at):
        return ("filter", (parse(found[1] or "."), found[2], _literal(text, found[3]))), found.end()
    raise ValueError(f"unsupported expression in JSON path {text}")


def _literal(text: str, written: str | None) -> Any:
    if written is None:
        return None
    if len(written) >= 2 and written[0] == written[-1] and written[0] in "'\"":
        return written[1:-1]
    if written in ("true", "false"):
        return written == "true"
    try:
        return float(written) if "." in written else int(written)
    except ValueError:
        raise ValueError(f"unsupported value in JSON path {text}: {written}") from None


def find(path: str, value: Any) -> list[Any]:
    """Everything that the path leads to; nothing where something is missing on the way."""
    return _find(parse(path), value)


def _find(steps: tuple[Step, ...], value: Any) -> list[Any]:
    found = [value]
    for kind, what in steps:
        below: list[Any] = []
        for each in found:
            if kind == "field":
                if isinstance(each, dict) and what in each:
                    below.append(each[what])
            elif kind == "index":
                if isinstance(each, list) and -len(each) <= what < len(each):
                    below.append(each[what])
            elif kind == "all":
                below += list(each.values()) if isinstance(each, dict) else each if isinstance(each, list) else []
            else:
                below += [one for one in (each if isinstance(each, list) else []) if _holds(one, *what)]
        found = below
    return found


def _holds(value: Any, steps: tuple[Step, ...], operator: str | None, wanted: Any) -> bool:
    found = _find(steps, value)
    if operator is None:
        return bool(found)
    if not found or isinstance(found[0], bool) != isinstance(wanted, bool):
        return operator == "!=" and bool(found)
    left = found[0]
    if operator in ("==", "!="):
        return bool(left == wanted) == (operator == "==")
    if isinstance(left, str) != isinstance(wanted, str) or not isinstance(left, (str, int, float)):
        return False
    return bool({"<": left < wanted, "<=": left <= wanted, ">": left > wanted, ">=": left >= wanted}[operator])
