"""Kubernetes' CEL functions (apiserver/pkg/cel/library): quantity, regex, lists, URLs, IPs, CIDRs. Pure.

The engine takes no further overloads of a function that it has: `indexOf` and `lastIndexOf` are those of strings alone.
"""

import ipaddress
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

from apiserver.machinery import quantity
from apiserver.registry import patterns

Overload = tuple[tuple[str, ...], str, bool, Callable[..., Any]]
"""(types of the arguments, the receiver first; type of the result; whether it is a method; what it does)."""


def _is_quantity(text: str) -> bool:
    return _works(quantity.parse, text)


def _works(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _compared(left: str, right: str) -> int:
    one, other = quantity.parse(left), quantity.parse(right)
    return (one > other) - (one < other)


def _sum(left: str, right: Any, sign: int) -> str:
    other = quantity.parse(right)
    return str(quantity.parse(left) + (other if sign > 0 else -other))


def _integer(text: str) -> int:
    found = quantity.parse(text)
    if found.amount.denominator != 1:
        raise ValueError("cannot convert value to integer")
    return int(found.amount)


def _is_integer(text: str) -> bool:
    return quantity.parse(text).amount.denominator == 1


def _find(text: str, pattern: str) -> str:
    return next(iter(patterns.compiled(pattern).find_all(text, 1)), "")


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    return patterns.compiled(pattern).find_all(text, limit)


def _plain(values: Any) -> list[Any]:
    """Elements as Python has them; the engine hands some over wrapped."""
    return [each.plain_value() if hasattr(each, "plain_value") else each for each in values]


def _is_sorted(values: Any) -> bool:
    found = _plain(values)
    return all(one <= other for one, other in pairwise(found))


def _total(values: Any) -> Any:
    return sum(_plain(values))


def _least(values: Any) -> Any:
    return min(_plain(values))


def _greatest(values: Any) -> Any:
    return max(_plain(values))


def _url(text: str) -> str:
    found = urlsplit(text)
    if not found.scheme and not text.startswith("/"):
        raise ValueError(f"URL parse error during conversion from string: {text}")
    return text


def _address(text: str) -> str:
    if "%" in text:
        raise ValueError(f"IP address {text!r} with zone value is not allowed")
    return str(ipaddress.ip_address(text))


def _network(text: str) -> str:
    ipaddress.ip_network(text, strict=False)
    return text


def _contains(network: str, address: str) -> bool:
    outer = ipaddress.ip_network(network, strict=False)
    if "/" not in address:
        return ipaddress.ip_address(address) in outer
    inner = ipaddress.ip_network(address, strict=False)
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version


def _family(text: str) -> int:
    return ipaddress.ip_interface(text).version


def _host(text: str) -> str:
    return urlsplit(text).netloc.rpartition("@")[2]


STRING1 = ("string",)
STRING2 = ("string", "string")
LIST = ("list",)

FUNCTIONS: dict[str, list[Overload]] = {
    "quantity": [(STRING1, "string", False, lambda text: str(quantity.parse(text)))],
    "isQuantity": [(STRING1, "bool", False, _is_quantity)],
    "isInteger": [(STRING1, "bool", True, _is_integer)],
    "asInteger": [(STRING1, "int", True, _integer)],
    "asApproximateFloat": [(STRING1, "double", True, lambda text: float(quantity.parse(text).amount))],
    "sign": [(STRING1, "int", True, lambda text: _compared(text, "0"))],
    "isGreaterThan": [(STRING2, "bool", True, lambda left, right: _compared(left, right) > 0)],
    "isLessThan": [(STRING2, "bool", True, lambda left, right: _compared(left, right) < 0)],
    "compareTo": [(STRING2, "int", True, _compared)],
    "add": [(STRING2, "string", True, lambda left, right: _sum(left, right, 1)), (("string", "int"), "string", True, lambda a, b: _sum(a, b, 1))],
    "sub": [(STRING2, "string", True, lambda left, right: _sum(left, right, -1)), (("string", "int"), "string", True, lambda a, b: _sum(a, b, -1))],
    "find": [(STRING2, "string", True, _find)],
    "findAll": [(STRING2, "list", True, _find_all), (("string", "string", "int"), "list", True, _find_all)],
    "isSorted": [(LIST, "bool", True, _is_sorted)],
    "sum": [(LIST, "dyn", True, _total)],
    "min": [(LIST, "dyn", True, _least)],
    "max": [(LIST, "dyn", True, _greatest)],
    "url": [(STRING1, "string", False, _url)],
    "isURL": [(STRING1, "bool", False, lambda text: _works(_url, text))],
    "getScheme": [(STRING1, "string", True, lambda text: urlsplit(text).scheme)],
    "getHost": [(STRING1, "string", True, _host)],
    "getHostname": [(STRING1, "string", True, lambda text: urlsplit(text).hostname or "")],
    "getPort": [(STRING1, "string", True, lambda text: str(urlsplit(text).port or ""))],
    "getEscapedPath": [(STRING1, "string", True, lambda text: urlsplit(text).path)],
    "getQuery": [(STRING1, "dyn", True, lambda text: parse_qs(urlsplit(text).query, keep_blank_values=True))],
    "ip": [(STRING1, "string", False, _address)],
    "isIP": [(STRING1, "bool", False, lambda text: _works(_address, text))],
    "family": [(STRING1, "int", True, _family)],
    "isLoopback": [(STRING1, "bool", True, lambda text: ipaddress.ip_address(text).is_loopback)],
    "isUnspecified": [(STRING1, "bool", True, lambda text: ipaddress.ip_address(text).is_unspecified)],
    "isGlobalUnicast": [(STRING1, "bool", True, lambda text: not ipaddress.ip_address(text).is_multicast)],
    "cidr": [(STRING1, "string", False, _network)],
    "isCIDR": [(STRING1, "bool", False, lambda text: "/" in text and _works(_network, text))],
    "containsIP": [(STRING2, "bool", True, _contains)],
    "containsCIDR": [(STRING2, "bool", True, _contains)],
    "prefixLength": [(STRING1, "int", True, lambda text: ipaddress.ip_network(text, strict=False).prefixlen)],
    "masked": [(STRING1, "string", True, lambda text: str(ipaddress.ip_network(text, strict=False)))],
}
