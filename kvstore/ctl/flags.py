"""etcdctl's command line (cobra and pflag): flags anywhere, `--f=v` or `--f v`, booleans alone, short forms, environment, command prefixes."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from kvstore.ctl.failure import BAD_ARGUMENTS, ERROR, Failure


class Flag(Struct, frozen=True):
    """`default` decides the kind: bool, int, str, or list of str (comma-separated)."""

    name: str
    default: Any
    help: str
    short: str = ""


GLOBAL_FLAGS = {
    flag.name: flag
    for flag in (
        Flag("cacert", "", "verify certificates of TLS-enabled secure servers using this CA bundle"),
        Flag("cert", "", "identify secure client using this TLS certificate file"),
        Flag("command-timeout", "5s", "timeout for short running command (excluding dial timeout)"),
        Flag("debug", False, "enable client-side debug logging"),
        Flag("dial-timeout", "2s", "dial timeout for client connections"),
        Flag("endpoints", ["127.0.0.1:2379"], "gRPC endpoints"),
        Flag("hex", False, "print byte strings as hex encoded strings"),
        Flag("insecure-skip-tls-verify", False, "skip server certificate verification (not supported: refused when set)"),
        Flag("insecure-transport", True, "disable transport security for client connections"),
        Flag("keepalive-time", "2s", "keepalive time for client connections"),
        Flag("keepalive-timeout", "6s", "keepalive timeout for client connections"),
        Flag("key", "", "identify secure client using this TLS key file"),
        Flag("password", "", "password for authentication (comes with authentication)"),
        Flag("user", "", "username[:password] for authentication (comes with authentication)"),
        Flag("write-out", "simple", "set the output format (fields, json, protobuf, simple, table)", "w"),
    )
}

_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
_ENVIRONMENT_ONLY = {"ETCDCTL_API", "ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"}


class Given(Struct):
    """A parsed command line. `after_dashes` is what stood behind a `--`."""

    command: str
    arguments: list[str]
    flags: dict[str, Any]
    after_dashes: list[str] | None


def parse(argv: Sequence[str], commands: Mapping[str, Mapping[str, Flag]], environment: Mapping[str, str]) -> Given:
    """Raises Failure. `commands` maps "lease grant" to its flags."""
    words, rest = _split_command(list(argv), commands)
    command = " ".join(words)
    known = {**GLOBAL_FLAGS, **commands[command]}
    given = Given(command, [], {name: flag.default for name, flag in known.items()}, None)
    set_here: set[str] = set()
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            given.after_dashes = rest
            break
        if not argument.startswith("-") or argument == "-":
            given.arguments.append(argument)
            continue
        flag, value = _flag(argument, rest, known)
        given.flags[flag.name] = value
        set_here.add(flag.name)
    _take_environment(given, set_here, environment)
    return given


def _split_command(argv: list[str], commands: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Find the words of the command among the flags; any unambiguous beginning of a word will do."""
    words: list[str] = []
    rest: list[str] = []
    while argv:
        argument = argv.pop(0)
        if argument == "--":
            rest += [argument, *argv]
            break
        if argument.startswith("-"):
            rest.append(argument)
            name = argument.lstrip("-").partition("=")[0]
            known = GLOBAL_FLAGS.get(name) or next((flag for flag in GLOBAL_FLAGS.values() if flag.short == name), None)
            if known is not None and not isinstance(known.default, bool) and "=" not in argument and argv:
                rest.append(argv.pop(0))
            continue
        depth = len(words)
        candidates = sorted({name.split()[depth] for name in commands if name.split()[:depth] == words and len(name.split()) > depth})
        matching = [argument] if argument in candidates else [word for word in candidates if word.startswith(argument)]
        if len(matching) != 1:
            raise Failure(ERROR, f'unknown command "{argument}" for "kvctl{"".join(" " + word for word in words)}"', hint=True)
        words.append(matching[0])
        if " ".join(words) in commands:
            return words, rest + argv
    raise Failure(ERROR, f"a command is missing{' after ' + ' '.join(words) if words else ''}", hint=True)


def _flag(argument: str, rest: list[str], known: Mapping[str, Flag]) -> tuple[Flag, Any]:
    if argument.startswith("--"):
        name, equals, value = argument[2:].partition("=")
        flag = known.get(name)
        shown = f"unknown flag: --{name}"
    else:
        name, equals, value = argument[1:2], argument[2:3], argument[3:] if argument[2:3] == "=" else argument[2:]
        flag = next((candidate for candidate in known.values() if candidate.short == name), None)
        shown = f"unknown shorthand flag: '{name}' in {argument}"
    if flag is None:
        raise Failure(ERROR, shown, hint=True)
    if isinstance(flag.default, bool):
        if not equals:
            return flag, True
        if value not in _TRUE | _FALSE:
            raise Failure(ERROR, f'invalid argument "{value}" for "--{flag.name}" flag: strconv.ParseBool: parsing "{value}": invalid syntax')
        return flag, value in _TRUE
    if not equals and not value:
        if not rest:
            raise Failure(ERROR, f"flag needs an argument: --{flag.name}")
        value = rest.pop(0)
    return flag, _typed(flag, value)


def _typed(flag: Flag, text: str) -> Any:
    if isinstance(flag.default, bool):
        return text in _TRUE
    if isinstance(flag.default, int):
        try:
            return int(text)
        except ValueError:
            raise Failure(ERROR, f'invalid argument "{text}" for "--{flag.name}" flag: strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if isinstance(flag.default, list):
        return [part for part in text.split(",") if part]
    return text


def _take_environment(given: Given, set_here: set[str], environment: Mapping[str, str]) -> None:
    """ETCDCTL_<FLAG> for each global flag; both the variable and the flag is an error, as with etcdctl."""
    for name, flag in GLOBAL_FLAGS.items():
        variable = "ETCDCTL_" + name.upper().replace("-", "_")
        value = environment.get(variable, "")
        if not value or variable in _ENVIRONMENT_ONLY:
            continue
        if name in set_here:
            raise Failure(
                BAD_ARGUMENTS,
                f'conflicting environment variable "{variable}" is shadowed by corresponding command-line flag '
                "(either unset environment variable or disable flag)",
            )
        given.flags[name] = _typed(flag, value)
