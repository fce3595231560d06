"""Command lines as Kubernetes' programs take them: `--flag=value`, `--flag value`, `--switch`, `--switch=false`, Go's durations, comma-separated
lists."""

import argparse
from typing import Any, NoReturn

from apiserver.machinery.timestamps import parse_duration


def duration_s(text: str) -> float:
    """Go's time.ParseDuration in seconds: 15s, 1m30s, 500ms, 0."""
    try:
        return parse_duration(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: 15s, 1m30s, 500ms are") from None


def switch(text: str) -> bool:
    if text.lower() in ("true", "t", "1"):
        return True
    if text.lower() in ("false", "f", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def comma_list(text: str) -> list[str]:
    return [each for each in text.split(",") if each]


class Flags(argparse.ArgumentParser):
    """Names are never abbreviated; unknown ones are refused, so that a setting never is thought to hold that does not."""

    def __init__(self, program: str, about: str) -> None:
        super().__init__(prog=program, description=about, allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter)

    def text(self, name: str, default: str, help_: str) -> None:
        self.add_argument(name, default=default, help=help_)

    def number(self, name: str, default: int, help_: str) -> None:
        self.add_argument(name, default=default, type=int, help=help_)

    def switch(self, name: str, default: bool, help_: str) -> None:
        self.add_argument(name, default=default, nargs="?", const=True, type=switch, help=help_)

    def duration(self, name: str, default_s: float, help_: str) -> None:
        self.add_argument(name, default=default_s, type=duration_s, help=f"{help_} (seconds, or Go's form)")

    def list(self, name: str, default: "list[str]", help_: str) -> None:
        self.add_argument(name, default=default, type=comma_list, help=help_)

    def error(self, message: str) -> NoReturn:
        super().error(message)


def of(arguments: argparse.Namespace, name: str) -> Any:
    """The value of `--some-flag` by its name."""
    return getattr(arguments, name.removeprefix("--").replace("-", "_"))
