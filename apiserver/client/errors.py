"""Failures that are no Status of the API: those are `machinery.status.ApiError`."""

import json
from typing import Any

from apiserver.machinery.status import CODES, ApiError, Cause


class Unreachable(Exception):
    """No API server answered in time. The request may or may not have been carried out."""


class BadConfiguration(Exception):
    """A kubeconfig that cannot be used; the text says what is wrong with which file."""


def from_answer(code: int, body: bytes) -> ApiError:
    """The error that an answer of 400 and more tells of, whether or not it is a Status."""
    try:
        status: Any = json.loads(body)
    except ValueError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        reason = next((reason for reason, its in CODES.items() if its == code), "InternalError")
        return ApiError(reason, body[:1000].decode(errors="replace") or f"the server answered {code}", code=code)
    return from_status(status, code)


def from_status(status: dict[str, Any], code: int = 500) -> ApiError:
    told = status.get("details") or {}
    causes = [Cause(each.get("reason", ""), each.get("message", ""), each.get("field", "")) for each in told.get("causes") or ()]
    details = {key: value for key, value in told.items() if key != "causes"}
    return ApiError(
        status.get("reason") or "InternalError", status.get("message", ""), code=status.get("code") or code, details=details, causes=causes
    )
