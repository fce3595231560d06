"""Every error a client of the API can be told: one table of reasons and codes (apimachinery/pkg/apis/meta/v1 StatusReason).

Whoever finds a fault raises `ApiError`; the outermost filter turns it into a Status object. Messages are Kubernetes' own: people and programs
look for them.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

CODES = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "NotAcceptable": 406,
    "AlreadyExists": 409,
    "Conflict": 409,
    "Gone": 410,
    "Expired": 410,
    "RequestEntityTooLarge": 413,
    "UnsupportedMediaType": 415,
    "Invalid": 422,
    "TooManyRequests": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "ServerTimeout": 500,
    "Timeout": 504,
}


class Cause(Struct, frozen=True):
    """One fault in an object. `reason`: FieldValueRequired, FieldValueInvalid, FieldValueNotSupported, FieldValueDuplicate, FieldValueForbidden,
    FieldValueTooLong, FieldValueTooMany, FieldValueTypeInvalid, FieldManagerConflict, ..."""

    reason: str
    message: str
    field: str

    def text(self) -> str:
        return f"{self.field}: {self.message}"


def required(field: str, detail: str = "") -> Cause:
    return Cause("FieldValueRequired", f"Required value{': ' + detail if detail else ''}", field)


def invalid_value(field: str, value: Any, detail: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}", field)


def not_supported(field: str, value: Any, supported: Sequence[str]) -> Cause:
    listed = ", ".join(f'"{each}"' for each in supported)
    return Cause("FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {listed}", field)


def duplicate(field: str, value: Any) -> Cause:
    return Cause("FieldValueDuplicate", f"Duplicate value: {shown(value)}", field)


def forbidden_value(field: str, detail: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {detail}", field)


def too_long(field: str, limit: int) -> Cause:
    return Cause("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", field)


def shown(value: Any) -> str:
    """A value as Kubernetes prints it in messages: strings in double quotes, objects as compact JSON, numbers and booleans bare."""
    import msgspec

    return msgspec.json.encode(value).decode()


class ApiError(Exception):
    """`details` as in Status.details: name, group, kind (the resource's plural), uid, retryAfterSeconds; `causes` are added by `status`.

    `reason` is empty, and the code given, where upstream's own error is of no kind that it tells to clients."""

    def __init__(
        self, reason: str, message: str, *, code: int | None = None, details: dict[str, Any] | None = None, causes: Sequence[Cause] = ()
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.code = CODES[reason] if code is None else code
        self.details = details or {}
        self.causes = tuple(causes)

    def status(self) -> dict[str, Any]:
        """The Status object that says it."""
        answer: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            **({"reason": self.reason} if self.reason else {}),
            "code": self.code,
        }
        details = dict(self.details)
        if self.causes:
            details["causes"] = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in self.causes]
        if details:
            answer["details"] = details
        return answer


def qualified(group: str, resource: str) -> str:
    """`deployments.apps`, or `pods` in the core group: how messages, RBAC and keys name a resource."""
    return f"{resource}.{group}" if group else resource


def details(group: str, resource: str, name: str) -> dict[str, Any]:
    return {key: value for key, value in (("name", name), ("group", group), ("kind", resource)) if value}


def not_found(group: str, resource: str, name: str) -> ApiError:
    return ApiError("NotFound", f'{qualified(group, resource)} "{name}" not found', details=details(group, resource, name))


def already_exists(group: str, resource: str, name: str) -> ApiError:
    return ApiError("AlreadyExists", f'{qualified(group, resource)} "{name}" already exists', details=details(group, resource, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(group: str, resource: str, name: str, why: str = MODIFIED) -> ApiError:
    text = f'Operation cannot be fulfilled on {qualified(group, resource)} "{name}": {why}'
    return ApiError("Conflict", text, details=details(group, resource, name))


def forbidden(group: str, resource: str, name: str, why: str) -> ApiError:
    text = f'{qualified(group, resource)} "{name}" is forbidden: {why}' if name else f"{qualified(group, resource)} is forbidden: {why}"
    return ApiError("Forbidden", text, details=details(group, resource, name))


def bad_request(why: str) -> ApiError:
    return ApiError("BadRequest", why)


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 with every fault that was found."""
    assert causes, "an object without faults is valid"
    if len(causes) == 1:
        told = causes[0].text()
    else:
        told = f"[{', '.join(cause.text() for cause in causes)}]"
    return ApiError("Invalid", f'{qualified(group, kind)} "{name}" is invalid: {told}', details=details(group, kind, name), causes=causes)


def expired(why: str) -> ApiError:
    return ApiError("Expired", why)


def success(details_of: dict[str, Any] | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return {**answer, "details": details_of} if details_of else answer
