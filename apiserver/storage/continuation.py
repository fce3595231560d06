"""The token between two pages of a list: the revision that all pages show, and the key after the last one given (apiserver storage/continue.go)."""

import base64
import binascii
from typing import Any

import msgspec
from msgspec import Struct

from apiserver.machinery.status import ApiError, bad_request

VERSION = "meta.k8s.io/v1"
INCONSISTENT = -1
"""As a revision: go on from the key with whatever is there now."""

EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or "
    "use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent "
    "list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."
)


class Token(Struct, frozen=True):
    v: str
    rv: int
    start: str


class ListExpired(ApiError):
    """410 with a token that goes on inconsistently."""

    def __init__(self, token: str) -> None:
        super().__init__("Expired", EXPIRED)
        self.token = token

    def status(self) -> dict[str, Any]:
        return {**super().status(), "metadata": {"continue": self.token}}


def encode(revision: int, last: str) -> str:
    """`last`: the key last given, below the list's prefix."""
    return base64.urlsafe_b64encode(msgspec.json.encode(Token(VERSION, revision, last + "\0"))).decode().rstrip("=")


def decode(text: str) -> tuple[int, str]:
    """(revision, first key wanted below the prefix). Raises ApiError (400): tokens come from clients, who may have made them up."""
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Token)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise bad_request("invalid continue token: continue key is not valid: it was not made by this API") from None
    if token.v != VERSION:
        raise bad_request(f"invalid continue token: continue key is not valid: server does not recognize this encoded version {token.v!r}")
    if not token.start or token.rv == 0 or token.rv < INCONSISTENT:
        raise bad_request("invalid continue token: continue key is not valid: encoded start key or resource version is empty")
    if token.start.startswith("/") or any(part in (".", "..") for part in token.start.split("/")):
        raise bad_request("invalid continue token: continue key is not valid: the start key leads elsewhere")
    return token.rv, token.start
