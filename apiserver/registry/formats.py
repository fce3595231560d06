"""Formats of strings in a schema (kube-openapi/pkg/validation/strfmt, apiextensions apiserver/validation/formats.go)."""

import ipaddress
import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache

from apiserver.machinery import names, timestamps

_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_UUID3 = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_UUID4 = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}")
_UUID5 = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_MAC = re.compile(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}")
_HEX_COLOR = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})")

Check = Callable[[str], object]
"""Raises ValueError for what is not of the format."""


def _ip(version: int) -> Check:
    def check(text: str) -> None:
        if ipaddress.ip_address(text).version != version:
            raise ValueError

    return check


def _matches(expression: re.Pattern[str]) -> Check:
    def check(text: str) -> None:
        if expression.fullmatch(text) is None:
            raise ValueError

    return check


def _day(text: str) -> None:
    _matches(_DATE)(text)
    date.fromisoformat(text)


def _label(text: str) -> None:
    if names.dns1123_subdomain(text.lower()):
        raise ValueError


CHECKS: dict[str, Check] = {
    "datetime": timestamps.parse,
    "date": _day,
    "duration": timestamps.parse_duration,
    "ipv4": _ip(4),
    "ipv6": _ip(6),
    "cidr": ipaddress.ip_interface,
    "uuid": _matches(_UUID),
    "uuid3": _matches(_UUID3),
    "uuid4": _matches(_UUID4),
    "uuid5": _matches(_UUID5),
    "email": _matches(_EMAIL),
    "mac": _matches(_MAC),
    "hexcolor": _matches(_HEX_COLOR),
    "byte": _matches(_BASE64),
    "hostname": _label,
}
"""Of strings, by the name without its hyphens."""
UNCHECKED = frozenset(("bsonobjectid", "creditcard", "isbn", "isbn10", "isbn13", "k8slongname", "k8sshortname", "password", "rgbcolor", "ssn", "uri"))
"""Known, so that a number of such a format is told to be of the wrong format; any string passes."""
NUMBERS = {"integer": ("int32", "int64"), "number": ("float", "double")}


@lru_cache(maxsize=1024)
def supported(kind: str, name: str) -> str:
    """The format if the type has it; "" for one that means nothing, as upstream."""
    if kind in ("", "string"):
        plain = name.replace("-", "")
        return name if plain in CHECKS or plain in UNCHECKED else ""
    return name if name in NUMBERS.get(kind, ()) else ""


def check_of(name: str) -> Check | None:
    return CHECKS.get(name.replace("-", ""))
