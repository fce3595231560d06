"""Files that the operator gives by a flag. What is wrong with one is told by its name and the place in it, before anything is served."""

from pathlib import Path
from typing import Any

import yaml

FILE_BYTES_MAX = 1024 * 1024


class Unusable(ValueError):
    """A file cannot be used as it is; the text names file and fault, never a key or a token."""


def content(path: Path) -> bytes:
    """Raises Unusable, OSError."""
    with path.open("rb") as file:
        found = file.read(FILE_BYTES_MAX + 1)
    if len(found) > FILE_BYTES_MAX:
        raise Unusable(f"{path} has more than {FILE_BYTES_MAX} bytes")
    return found


def text(path: Path) -> str:
    """Raises Unusable, OSError."""
    try:
        return content(path).decode()
    except UnicodeDecodeError:
        raise Unusable(f"{path} is no UTF-8") from None


def document(path: Path, kind: str, api_versions: tuple[str, ...]) -> dict[str, Any]:
    """A YAML document of that kind. Raises Unusable, OSError."""
    try:
        found = yaml.safe_load(content(path))
    except (yaml.YAMLError, ValueError, KeyError, RecursionError) as error:
        if isinstance(error, Unusable):
            raise
        # Values that are none (a thirteenth month, `!!int x`, `!!bool maybe`) are no YAMLError; what they say may be of a secret.
        raise Unusable(f"{path} is no YAML: {getattr(error, 'problem', None) or 'unreadable'}") from None
    if not isinstance(found, dict) or found.get("kind") != kind or found.get("apiVersion") not in api_versions:
        raise Unusable(f"{path}: expected kind {kind} of {api_versions[0]}")
    return found
