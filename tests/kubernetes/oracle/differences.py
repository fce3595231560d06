"""Where our server is meant to answer otherwise than the genuine one, and why: one entry each, as narrow as it can be."""

from collections.abc import Callable

from msgspec import Struct

from tests.kubernetes.oracle.normal import Plain
from tests.kubernetes.oracle.requests import Request


class Difference(Struct, frozen=True):
    """`adjust(request, genuine, ours)` changes the answers in place so that what is meant to differ is equal."""

    name: str
    reason: str
    adjust: Callable[[Request, Plain, Plain], None]


TABLE: tuple[Difference, ...] = ()


def expected(request: Request, genuine: Plain, ours: Plain) -> tuple[Plain, Plain]:
    for difference in TABLE:
        difference.adjust(request, genuine, ours)
    return genuine, ours
