"""etcdctl's command line (cobra and pflag): flags anywhere, `--f=v` or `--f v`, booleans alone, short forms, environment, command prefixes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kvstore.ctl.durations import Duration
from kvstore.ctl.failure import BAD_ARGUMENTS, ERROR, Failure


class Flag(Struct, frozen=True):
    """`default` decides the kind: bool, int, Duration, str, or list of str (comma-separated)."""

    name: str
    default: Any
    help: str
    short: str = ""


HELP = "help"

GLOBAL_FLAGS = {
    flag.name: flag
    for flag in (
        Flag("auth-jwt-token", "", "JWT token used for authentication (if this option is used, --user and --password should not be set)"),
        Flag("cacert", "", "verify certificates of TLS-enabled secure servers using this CA bundle"),
        Flag("cert", "", "identify secure client using this TLS certificate file"),
        Flag("command-timeout", Duration("5s"), "timeout for short running command (excluding dial timeout)"),
        Flag("debug", False, "enable client-side debug logging"),
        Flag("dial-timeout", Duration("2s"), "dial timeout for client connections"),
        Flag("discovery-srv", "", "domain name to query for SRV records describing cluster endpoints", "d"),
        Flag("discovery-srv-name", "", "service name to query when using DNS discovery"),
        Flag("endpoints", ["127.0.0.1:2379"], "gRPC endpoints"),
        Flag("hex", False, "print byte strings as hex encoded strings"),
        Flag("insecure-discovery", True, "accept insecure SRV records describing cluster endpoints"),
        Flag(
            "insecure-skip-tls-verify",
            False,
            "skip server certificate verification (CAUTION: this option should be enabled only for testing purposes)",
        ),
        Flag("insecure-transport", True, "disable transport security for client connections"),
        Flag("keepalive-time", Duration("2s"), "keepalive time for client connections"),
        Flag("keepalive-timeout", Duration("6s"), "keepalive timeout for client connections"),
        Flag("key", "", "identify secure client using this TLS key file"),
        Flag("max-recv-bytes", 0, "client-side response receive limit in bytes (if 0, 2 GiB)"),
        Flag("max-request-bytes", 0, "client-side request send limit in bytes (if 0, 2 MiB)"),
        Flag("password", "", "password for authentication (if this option is used, --user option shouldn't include password)"),
        Flag("user", "", "username[:password] for authentication (prompt if password is not supplied)"),
        Flag("write-out", "simple", "set the output format (fields, json, protobuf, simple, table)", "w"),
    )
}

_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}

VARIABLES = ("KVCTL_", "ETCDCTL_")
"""Beginnings of environment variables that stand for global flags; the first one that is set counts."""


class Given(Struct):
    """A parsed command line. `after_dashes` is what stood behind a `--`."""

    command: str
    arguments: list[str]
    flags: dict[str, Any]
    after_dashes: list[str] | None
    changed: set[str] = set()
    """Flags that stood on the command line or in the environment."""

    @property
    def words(self) -> list[str]:
        """Every argument, whichever side of a `--` it stood."""
        return self.arguments + (self.after_dashes or [])

    def exactly(self, count: int, otherwise: str) -> list[str]:
        """The arguments, if there are so many. Raises Failure with the text `otherwise`."""
        if len(self.arguments) != count:
            raise Failure(BAD_ARGUMENTS, otherwise)
        return self.arguments


class NoSuchCommand(Exception):
    """`typed` is no command under `words`, or there is none to be found: nothing was typed, or a group without its second word."""

    def __init__(self, words: list[str], typed: str | None, flags_left: list[str]) -> None:
        super().__init__(typed)
        self.words, self.typed, self.flags_left = words, typed, flags_left


class BadFlag(Failure):
    """The usage of `command` is shown as well, as cobra does."""

    def __init__(self, text: str) -> None:
        super().__init__(ERROR, text)


class Conflict(Failure):
    """Told as a line of the log, as etcd's flag package does."""

    def __init__(self, variable: str) -> None:
        super().__init__(ERROR, "")
        self.variable = variable

    def __str__(self) -> str:
        text = "conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable or disable flag)"
        return f'{{"level":"fatal","msg":"{text}","environment-variable":"{self.variable}"}}'


def parse(argv: Sequence[str], commands: Mapping[str, Mapping[str, Flag]], environment: Mapping[str, str]) -> Given:
    """A whole line at once. `commands` maps "lease grant" to its flags. Raises Failure, NoSuchCommand."""

    def following(words: list[str]) -> list[str]:
        depth = len(words)
        return sorted({name.split()[depth] for name in commands if name.split()[:depth] == words and len(name.split()) > depth})

    words, rest = find_command(argv, following)
    given = read_flags(" ".join(words), rest, commands[" ".join(words)])
    take_environment(given, environment)
    return given


def find_command(argv: Sequence[str], following: Callable[[list[str]], Sequence[str]]) -> tuple[list[str], list[str]]:
    """The words of the command among the flags, and what is left; any unambiguous beginning of a word will do. `following(words)` lists what may come
    behind those. Raises NoSuchCommand."""
    words: list[str] = []
    rest: list[str] = []
    left = list(argv)
    while left:
        argument = left.pop(0)
        if argument == "--":
            break
        if argument.startswith("-") and argument != "-":
            rest.append(argument)
            if _takes_next(argument) and left:
                rest.append(left.pop(0))
            continue
        candidates = following(words)
        matching = [argument] if argument in candidates else [word for word in candidates if word.startswith(argument)]
        if len(matching) != 1:
            raise NoSuchCommand(words, argument, rest + left)
        words.append(matching[0])
        if not following(words):
            return words, rest + left
    raise NoSuchCommand(words, None, rest)


def _takes_next(argument: str) -> bool:
    """Whether the word behind this flag is its value: what cobra knows of a flag before it has found the command."""
    if "=" in argument:
        return False
    if argument.startswith("--"):
        flag = GLOBAL_FLAGS.get(argument[2:])
    else:
        flag = next((flag for flag in GLOBAL_FLAGS.values() if flag.short == argument[1:]), None)
    return flag is not None and not isinstance(flag.default, bool)


def read_flags(command: str, rest: Sequence[str], flags: Mapping[str, Flag], *, with_global: bool = True) -> Given:
    """Global flags count as well, but in lines typed inside a command. Raises BadFlag."""
    known = {**(GLOBAL_FLAGS if with_global else {}), **flags, HELP: Flag(HELP, False, f"help for {command}", "h")}
    given = Given(command, [], {name: flag.default for name, flag in known.items()}, None, set())
    left = list(rest)
    while left:
        argument = left.pop(0)
        if argument == "--":
            given.after_dashes = left
            break
        if not argument.startswith("-") or argument == "-":
            given.arguments.append(argument)
        elif argument.startswith("--"):
            _long(argument, left, known, given)
        else:
            _short(argument, left, known, given)
    return given


def _long(argument: str, left: list[str], known: Mapping[str, Flag], given: Given) -> None:
    name, equals, value = argument[2:].partition("=")
    if not name or name[0] in "-=":
        raise BadFlag(f"bad flag syntax: {argument}")
    flag = known.get(name)
    if flag is None:
        raise BadFlag(f"unknown flag: --{name}")
    if not equals:
        if isinstance(flag.default, bool):
            value = "true"
        elif left:
            value = left.pop(0)
        else:
            raise BadFlag(f"flag needs an argument: --{name}")
    _set(given, flag, value)


def _short(argument: str, left: list[str], known: Mapping[str, Flag], given: Given) -> None:
    """-w json, -w=json, -wjson, and booleans run together: -iw json."""
    letters = argument[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = next((candidate for candidate in known.values() if candidate.short == letter), None)
        if flag is None:
            raise BadFlag(f"unknown shorthand flag: '{letter}' in {argument}")
        if letters.startswith("="):
            value, letters = letters[1:], ""
        elif isinstance(flag.default, bool):
            value = "true"
        elif letters:
            value, letters = letters, ""
        elif left:
            value = left.pop(0)
        else:
            raise BadFlag(f"flag needs an argument: '{letter}' in {argument}")
        _set(given, flag, value)


def _set(given: Given, flag: Flag, text: str) -> None:
    try:
        value = _typed(flag, text)
    except ValueError as error:
        shown = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
        raise BadFlag(f'invalid argument "{text}" for "{shown}" flag: {error}') from None
    if isinstance(flag.default, list) and flag.name in given.changed:
        value = given.flags[flag.name] + value
    given.flags[flag.name] = value
    given.changed.add(flag.name)


def _typed(flag: Flag, text: str) -> Any:
    """Raises ValueError with Go's words."""
    default = flag.default
    if isinstance(default, bool):
        if text not in _TRUE | _FALSE:
            raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
        return text in _TRUE
    if isinstance(default, Duration):
        return Duration(text)
    if isinstance(default, int):
        return integer(text, base=0)
    if isinstance(default, list):
        return [part for part in text.split(",") if part]
    return text


def integer(text: str, base: int = 10, *, signed: bool = True) -> int:
    """strconv.ParseInt or ParseUint for 64 bits; raises ValueError with its words."""
    function = "ParseInt" if signed else "ParseUint"
    low, high = (-(1 << 63), (1 << 63) - 1) if signed else (0, (1 << 64) - 1)
    strange = not text.isascii() or text != text.strip() or ("_" in text and base != 0) or (base == 16 and text[:2].lower() == "0x")
    try:
        if strange or (not signed and text.startswith(("-", "+"))):
            raise ValueError
        number = int(text, base)
    except ValueError:
        raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax') from None
    if not low <= number <= high:
        raise ValueError(f'strconv.{function}: parsing "{text}": value out of range')
    return number


def take_environment(given: Given, environment: Mapping[str, str]) -> None:
    """KVCTL_<FLAG> or ETCDCTL_<FLAG> for each global flag; both the variable and the flag is an error, as with etcdctl. Raises Failure."""
    for name, flag in GLOBAL_FLAGS.items():
        variable = next((begin + shouted(name) for begin in VARIABLES if environment.get(begin + shouted(name))), None)
        if variable is None:
            continue
        if name in given.changed:
            raise Conflict(variable)
        try:
            given.flags[name] = _typed(flag, environment[variable])
        except ValueError as error:
            raise Failure(ERROR, f'invalid value "{environment[variable]}" for {variable}: {error}') from None
        given.changed.add(name)


def shouted(name: str) -> str:
    return name.upper().replace("-", "_")
