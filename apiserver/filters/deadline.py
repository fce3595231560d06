"""How long a request may take: what the client says in `timeout`, a minute at most (apiserver/pkg/endpoints/filters/request_deadline.go)."""

from apiserver.filters.inflight import LONG_SUBRESOURCES, LONG_VERBS
from apiserver.filters.request_info import RequestInfo
from apiserver.machinery.status import bad_request
from apiserver.machinery.timestamps import parse_duration

REQUEST_TIMEOUT_S = 60.0


def deadline_s(info: RequestInfo, asked: str, limit_s: float = REQUEST_TIMEOUT_S) -> float | None:
    """Seconds, or None for what is long by nature. Raises ApiError (400) for what is no duration."""
    if info.verb in LONG_VERBS or info.subresource in LONG_SUBRESOURCES:
        return None
    if not asked:
        return limit_s
    return min(duration_s(asked) or limit_s, limit_s)


def duration_s(text: str) -> float:
    """Go's form: 32s, 1m30s, 500ms. Raises ApiError (400)."""
    try:
        if text[:1] not in ("+", "-"):
            return parse_duration(text)
    except ValueError:
        pass
    raise bad_request(f"invalid timeout specified in the request URL - {text!r} is no duration")
