"""What the store's failures are to a client of the API."""

from apiserver.machinery.status import ApiError
from kvstore.client.errors import CallFailed, is_unavailable
from kvstore.errors import StoreError

GRPC_DEADLINE_EXCEEDED = 4


class Unanswered(StoreError):
    """Members of the store took a question, and none gave an answer in time: it may have been carried out."""

    text = "no member of the store answered in time"
    deterministic = False


def translate(error: StoreError) -> ApiError:
    """504 where the request may have been carried out, 503 where another try is right, 500 for the rest (a full store, a refused certificate)."""
    if isinstance(error, Unanswered) or (isinstance(error, CallFailed) and int(error.code) == GRPC_DEADLINE_EXCEEDED):
        return ApiError("Timeout", f"the store did not answer in time: {error}", details={"retryAfterSeconds": 1})
    if is_unavailable(error):
        return ApiError("ServiceUnavailable", f"the store is not available: {error}", details={"retryAfterSeconds": 1})
    return ApiError("InternalError", f"the store refused: {error}")
