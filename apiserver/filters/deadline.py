"""How long a request may take: what the client says in `timeout`, a minute at most (apiserver/pkg/endpoints/filters/request_deadline.go)."""

import re

from apiserver.filters.inflight import LONG_SUBRESOURCES, LONG_VERBS
from apiserver.filters.request_info import RequestInfo
from apiserver.machinery.status import bad_request

REQUEST_TIMEOUT_S = 60.0
UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def deadline_s(info: RequestInfo, asked: str, limit_s: float = REQUEST_TIMEOUT_S) -> float | None:
    """Seconds, or None for what is long by nature. Raises ApiError (400) for what is no duration."""
    if info.verb in LONG_VERBS or info.subresource in LONG_SUBRESOURCES:
        return None
    if not asked:
        return limit_s
    return min(duration_s(asked) or limit_s, limit_s)


def duration_s(text: str) -> float:
    """Go's form: 32s, 1m30s, 500ms. Raises ApiError (400)."""
    if text == "0":
        return 0.0
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise bad_request(f"invalid timeout specified in the request URL - {text!r} is no duration")
    return sum(float(number) * UNITS_S[unit] for number, unit in parts)
