"""Which form of an answer a client accepts: plain media types, and Kubernetes' typed ones (`application/json;g=GROUP;v=VERSION;as=KIND`).

Discovery lives by exactness: a client that understands `v2beta1` alone must never be given `v2`
(apiserver/pkg/endpoints/discovery/aggregated/wrapper.go).
"""

from collections.abc import Sequence

from msgspec import Struct

RANGES_MAX = 64


class Range(Struct, frozen=True):
    """One entry of an Accept header."""

    media_type: str
    parameters: dict[str, str]
    quality: float


def ranges(accept: str) -> list[Range]:
    """The entries in order of preference; an empty header accepts everything."""
    found = []
    for entry in (accept or "*/*").split(",")[:RANGES_MAX]:
        media_type, *rest = (part.strip() for part in entry.split(";"))
        parameters = {name.strip().lower(): value.strip().strip('"') for name, _, value in (part.partition("=") for part in rest)}
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 1.0
        if media_type and quality > 0:
            found.append(Range(media_type.lower(), parameters, quality))
    return sorted(found, key=lambda each: -each.quality)


def wants(accept: str, kind: str, group: str, versions: Sequence[str]) -> str | None:
    """The version of `kind` that the client would rather have than a plain answer; "" for the plain one; None if it accepts neither as JSON."""
    for each in ranges(accept):
        if each.media_type not in ("application/json", "application/*", "*/*"):
            continue
        if "as" not in each.parameters:
            return ""
        typed = (each.parameters["as"], each.parameters.get("g"), each.parameters.get("v"))
        if typed[:2] == (kind, group) and typed[2] in versions:
            return str(typed[2])
    return None
