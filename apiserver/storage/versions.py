"""What clients may ask of resourceVersion: one table for lists, one for watches (kubernetes.io, "API concepts: resource versions").

A resourceVersion is the store's mod revision in decimal. Nothing here reads anything: questions become a `Freshness`, or a refusal.
"""

from enum import Enum

from apiserver.machinery.status import ApiError, Cause, bad_request, forbidden_value, invalid, not_supported


class Freshness(Enum):
    NEWEST = "newest"
    """As new as the store is at this moment."""
    ANY = "any"
    NOT_OLDER = "not older than"
    EXACT = "exactly at"


def parse(text: str) -> int:
    """Raises ApiError: 400 for what is no resourceVersion."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise bad_request(f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)


def list_freshness(version: str, match: str, *, limited: bool, continues: bool) -> tuple[Freshness, int]:
    """How new a list must be. Raises ApiError: 400 or 422 for combinations that mean nothing (meta/internalversion/validation)."""
    revision = parse(version)
    if match:
        causes: list[Cause] = []
        if not version:
            causes.append(forbidden_value("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"))
        if continues:
            causes.append(forbidden_value("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
        if match not in ("Exact", "NotOlderThan"):
            causes.append(not_supported("resourceVersionMatch", match, ["Exact", "NotOlderThan", ""]))
        if match == "Exact" and version == "0":
            causes.append(forbidden_value("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
        if causes:
            raise _refused(*causes)
    if continues:
        if version and version != "0":
            raise bad_request("specifying resource version is not allowed when using continue")
        return Freshness.EXACT, 0
    if not version:
        return Freshness.NEWEST, 0
    if version == "0":
        return Freshness.ANY, 0
    # Without a match, a limit made the list exact from the beginning, and it must remain so.
    if match == "Exact" or (not match and limited):
        return Freshness.EXACT, revision
    return Freshness.NOT_OLDER, revision


def check_watch(version: str, match: str, *, initial_events: bool | None) -> None:
    """Raises ApiError for combinations that mean nothing."""
    parse(version)
    if initial_events is None:
        if match:
            raise _refused(
                forbidden_value("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
            )
        return
    if match != "NotOlderThan":
        raise _refused(forbidden_value("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))


def too_large(wanted: int, current: int) -> ApiError:
    """504: the client has seen something newer than this server; it is to ask again in a moment."""
    return ApiError(
        "Timeout",
        f"Too large resource version: {wanted}, current: {current}",
        details={"retryAfterSeconds": 1},
        causes=[Cause("ResourceVersionTooLarge", "Too large resource version", "")],
    )


def too_old(wanted: int, oldest: int) -> ApiError:
    return ApiError("Expired", f"too old resource version: {wanted} ({oldest})")


def _refused(*causes: Cause) -> ApiError:
    return invalid("meta.k8s.io", "ListOptions", "", causes)
