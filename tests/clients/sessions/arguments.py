"""What each session is told, and how it tells what it saw."""

import json
import sys
from typing import Any, NamedTuple


class Arguments(NamedTuple):
    host: str
    port: int
    ca: str | None
    cert: str | None
    key: str | None


def arguments() -> Arguments:
    host, port, *files = sys.argv[1:]
    ca, cert, key = files or (None, None, None)
    return Arguments(host, int(port), ca, cert, key)


class Seen:
    """Observations in order, each with a name."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Any]] = []

    def __call__(self, name: str, value: Any) -> Any:
        self.all.append((name, tellable(value)))
        return value

    def error(self, name: str, call: Any) -> None:
        """Note which exception a call ends with."""
        try:
            value = call()
        except Exception as error:
            self.all.append((name, [type(error).__name__, str(error)]))
        else:
            self.all.append((name, ["no error", tellable(value)]))

    def tell(self) -> None:
        print(json.dumps(self.all))


def tellable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {str(key): tellable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [tellable(inner) for inner in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)
