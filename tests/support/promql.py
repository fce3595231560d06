"""Which series a PromQL expression selects, found without knowing the language: what is neither function, keyword, label nor text."""

import re

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_SELECTOR = re.compile(r"\{[^{}]*\}")
_WINDOW = re.compile(r"\[[^\[\]]*\]")
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_NAME = re.compile(r"(?<![\w:.$])([a-zA-Z_:][\w:]*)(\s*\()?")
"""With the parenthesis of a function or an aggregation, if it is one."""
_KEYWORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right", "inf", "nan"}


def series_of(expression: str) -> set[str]:
    """Names of all series in `expression`."""
    text = _TEXT.sub('""', expression)
    for pattern in (_SELECTOR, _WINDOW, _LABELS):
        text = pattern.sub(" ", text)
    return {found[1] for found in _NAME.finditer(text) if not found[2]} - _KEYWORDS


def labels_selected(expression: str) -> list[tuple[str, set[str]]]:
    """(series, names of the labels by which it is selected), for each selector with braces."""
    text = _TEXT.sub('""', expression)
    return [(found[1], set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", found[2]))) for found in re.finditer(r"([a-zA-Z_:][\w:]*)\{([^{}]*)\}", text)]
