"""Times as they stand in objects: metav1.Time has seconds, MicroTime microseconds, both in UTC. Inside they are seconds since 1970."""

from datetime import UTC, datetime


def to_text(seconds: float) -> str:
    """metav1.Time: 2026-11-21T14:00:00Z."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_micro_text(seconds: float) -> str:
    """metav1.MicroTime: 2026-11-21T14:00:00.000000Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def to_seconds(text: str | None) -> float:
    """0.0 for what is missing or no time at all."""
    if not text:
        return 0.0
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def created_s(obj: dict[str, object]) -> float:
    """When an object was made."""
    metadata = obj.get("metadata")
    return to_seconds(str(metadata.get("creationTimestamp") or "")) if isinstance(metadata, dict) else 0.0
