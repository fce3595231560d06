"""`kvctl`: from a command line to a command's function, and the frame around it: client, errors, exit code.

Standard error and exit codes are etcdctl's: what is wrong with a flag is told twice, around the usage, as cobra does; a command's own failure once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from kvstore.ctl import commands
from kvstore.ctl.failure import ERROR, INTERRUPTED, SUCCESS, Failure
from kvstore.ctl.flags import HELP, BadFlag, Conflict, Given, NoSuchCommand, read_flags
from kvstore.ctl.output import Printer, output_version

if TYPE_CHECKING:
    from kvstore.ctl.command import Command
    from kvstore.ctl.connection import Connector

SUGGESTION_DISTANCE = 2
"""As many letters may be wrong for a command to be suggested."""


def main() -> NoReturn:
    """Entry point. Taking an interpreter apart costs as much as a call to a server, and nothing is left here that wants it."""
    code = run(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """The exit code of a command line, everything printed."""
    argv = list(arguments)
    argv = ["--write-out" + argument[2:] if argument.split("=")[0] == "-o" else argument for argument in argv]
    try:
        code = _main(argv)
        sys.stdout.flush()
    except Failure as failure:
        sys.stdout.flush()
        if str(failure):
            print(failure if isinstance(failure, Conflict) else f"Error: {failure}", file=sys.stderr)
        code = failure.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ERROR
    except KeyboardInterrupt:
        code = INTERRUPTED
    return code


def _main(argv: list[str]) -> int:
    words: list[str] = []
    try:
        words, rest = commands.find(argv)
        given = read_flags(" ".join(words), rest, commands.flags_of(" ".join(words)))
        if not given.flags[HELP]:
            return _run(given)
    except NoSuchCommand as missing:
        words = missing.words
        if missing.typed is not None and not words:
            return _unknown(missing.typed)
        try:
            read_flags(words[-1] if words else "kvctl", missing.flags_left, {})
        except BadFlag as error:
            return _bad_flag(words, error)
    except BadFlag as error:
        return _bad_flag(words, error)
    sys.stdout.write(_usage(words))
    return SUCCESS


def _run(given: Given) -> int:
    command = commands.of_word(given.command.split()[0])[given.command]
    if command.local:
        command.run(given, Printer(given.flags["write-out"], given.flags["hex"], sys.stdout))
        return SUCCESS
    import asyncio

    from kvstore.ctl.connection import Connector

    connector = Connector(given, os.environ)
    printer = Printer(given.flags["write-out"], given.flags["hex"], sys.stdout, output_version(os.environ))
    try:
        asyncio.run(_run_command(command, given, printer, connector))
    except asyncio.CancelledError:
        return INTERRUPTED
    except BaseExceptionGroup as group:
        cause: BaseException = group
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        raise _told(cause) from None
    except Exception as error:
        raise _told(error) from None
    return SUCCESS


def _told(error: BaseException) -> BaseException:
    """A refusal by a server as a failure of this program; anything else as it is."""
    from kvstore.ctl.failure import told
    from kvstore.errors import StoreError

    if isinstance(error, UnicodeEncodeError):  # a name with bytes that are no text: keys may have them, names may not
        return Failure(ERROR, "rpc error: code = Internal desc = grpc: error while marshaling: string field contains invalid UTF-8")
    return Failure(ERROR, told(error)) if isinstance(error, StoreError) else error


async def _run_command(command: "Command", given: Given, printer: Printer, connector: "Connector") -> None:
    import asyncio
    import signal

    from kvstore.ctl.connection import OnFirstUse

    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    run: Callable[..., Any] = command.run
    async with OnFirstUse(connector.open) as client:
        await (run(client, given, printer, connector.open) if command.per_endpoint else run(client, given, printer))


def _usage(words: list[str]) -> str:
    from kvstore.ctl.about import of_words

    return of_words(words)


def _bad_flag(words: list[str], error: BadFlag) -> int:
    print(f"Error: {error}", file=sys.stderr)
    sys.stdout.write(_usage(words))
    sys.stdout.flush()
    print(f"\nError: {error}", file=sys.stderr)
    return ERROR


def _unknown(typed: str) -> int:
    text = f'unknown command "{typed}" for "kvctl"'
    if similar := [word for word in sorted(commands.FILES) if _is_similar(typed.lower(), word)]:
        text += "\n\nDid you mean this?\n" + "".join(f"\t{word}\n" for word in similar)
    print(f"Error: {text}\nRun 'kvctl --help' for usage.\nError: {text}", file=sys.stderr)
    return ERROR


def _is_similar(typed: str, word: str) -> bool:
    return word.startswith(typed) or _distance(typed, word) <= SUGGESTION_DISTANCE


def _distance(one: str, other: str) -> int:
    """How many letters must be put in, taken out or changed (Levenshtein)."""
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        above, row = row, [at]
        for column, against in enumerate(other, 1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (letter != against)))
    return row[-1]


if __name__ == "__main__":
    main()
