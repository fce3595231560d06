"""version, help, options, completion: what needs no server."""

from kvstore.ctl import commands, usage
from kvstore.ctl.command import Command, Group
from kvstore.ctl.completion import SHELLS, script
from kvstore.ctl.failure import ERROR, Failure
from kvstore.ctl.flags import GLOBAL_FLAGS, Given, NoSuchCommand
from kvstore.ctl.output import Printer
from kvstore.version import ETCD_VERSION, KEELSON_VERSION


def version(_given: Given, printer: Printer) -> None:
    printer.line(f"kvctl version: {KEELSON_VERSION}")
    printer.line(f"etcdctl version: {ETCD_VERSION}")
    printer.line(f"API version: {usage.API_VERSION}")


def options(_given: Given, printer: Printer) -> None:
    printer.line("The following options can be passed to any command:\n")
    printer.write(usage.aligned("".join(f"{usage.shown(flag)}\t{flag.help}\n" for flag in GLOBAL_FLAGS.values())))


def completion(given: Given, printer: Printer) -> None:
    if len(given.arguments) != 1:
        raise Failure(ERROR, f"accepts 1 arg(s), received {len(given.arguments)}")
    if given.arguments[0] not in SHELLS:
        raise Failure(ERROR, f'invalid argument "{given.arguments[0]}" for "kvctl completion"')
    printer.write(script(given.arguments[0], commands.everything()))


def help_of(given: Given, printer: Printer) -> None:
    """Of a command, of a group of commands, or of the whole."""
    import sys

    try:
        words, _rest = commands.find(given.arguments)
    except NoSuchCommand as missing:
        if missing.typed is not None and not missing.words:
            print(f"Unknown help topic [{' '.join(f'`{word}`' for word in given.arguments)}]", file=sys.stderr)
        printer.write(of_words(missing.words))
    else:
        printer.write(of_words(words))


def of_words(words: list[str]) -> str:
    """The usage of a command, a group, or with no words the whole."""
    if not words:
        return usage.of_program({name: command.help for name, command in commands.everything().items()})
    listed = commands.of_word(words[0])
    name = " ".join(words)
    inherited = commands.GROUPS.get(words[0], Group("")).flags
    if name in listed:
        return usage.of_command(name, listed[name], inherited)
    return usage.of_group(name, commands.GROUPS[name], {name: command.help for name, command in sorted(listed.items())})


COMMANDS = {
    "completion": Command(completion, (), "Generate completion script", local=True, use=f"[{'|'.join(SHELLS)}]"),
    "help": Command(help_of, (), "Help about any command", local=True, use="[command]"),
    "options": Command(options, (), "Show the global command-line flags", local=True),
    "version": Command(version, (), "Prints the version of kvctl", local=True),
}
