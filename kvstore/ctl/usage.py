"""Help in etcdctl's layout: cobra's template through Go's tabwriter, so that a script that reads it reads ours."""

from collections.abc import Iterable, Mapping

from kvstore.ctl.command import Command, Group
from kvstore.ctl.durations import Duration
from kvstore.ctl.flags import GLOBAL_FLAGS, HELP, Flag
from kvstore.ctl.output import quoted
from kvstore.version import CLUSTER_VERSION, ETCD_VERSION, KEELSON_VERSION

TAB = 8
API_VERSION = ".".join(CLUSTER_VERSION.split(".")[:2])


def of_program(commands: Mapping[str, str]) -> str:
    """`commands`: what each is for, by name."""
    parts = ["NAME:\n\tkvctl - A command line client for Keelson and etcd.\n", "USAGE:\n\tkvctl [flags]\n"]
    parts += [f"VERSION:\n\t{KEELSON_VERSION} (etcdctl {ETCD_VERSION})\n", f"API VERSION:\n\t{API_VERSION}\n"]
    parts += ["\nCOMMANDS:\n" + _listed(commands), "OPTIONS:\n" + _flags(GLOBAL_FLAGS.values(), "kvctl")]
    return aligned("\n".join(parts) + "\n")


def of_group(word: str, group: Group, commands: Mapping[str, str]) -> str:
    parts = [f"NAME:\n\t{word} - {group.help}\n", f"USAGE:\n\tkvctl {word} {group.use} [flags]\n", f"API VERSION:\n\t{API_VERSION}\n"]
    parts += ["\nCOMMANDS:\n" + _listed({name.split()[1]: text for name, text in commands.items()}), "OPTIONS:\n" + _flags(group.flags, word)]
    return aligned("\n".join([*parts, _global()]) + "\n")


def of_command(name: str, command: Command, inherited: Iterable[Flag] = ()) -> str:
    """`inherited`: flags of its group."""
    parts = [f"NAME:\n\t{name} - {command.help}\n", f"USAGE:\n\tkvctl {name}{command.use and ' ' + command.use} [flags]\n"]
    if command.description:
        parts.append("DESCRIPTION:\n" + "".join(f"\t{line}\n" for line in command.description.strip("\n\t ").split("\n")))
    parts.append("OPTIONS:\n" + _flags(command.flags, name.split()[-1]))
    return aligned("\n".join([*parts, _global(inherited)]) + "\n")


def _listed(commands: Mapping[str, str]) -> str:
    return "".join(f"\t{name}\t{text}\n" for name, text in commands.items())


def _global(inherited: Iterable[Flag] = ()) -> str:
    return "GLOBAL OPTIONS:\n" + _lines([*GLOBAL_FLAGS.values(), *inherited])


def _flags(flags: Iterable[Flag], of: str) -> str:
    return _lines([*flags, Flag(HELP, False, f"help for {of}", "h")])


def _lines(flags: Iterable[Flag]) -> str:
    return "".join(f"{shown(flag)}\t{flag.help}\n" for flag in sorted(flags, key=lambda flag: flag.name))


def shown(flag: Flag) -> str:
    begin = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
    return f"{begin}[={default_text(flag)}]" if isinstance(flag.default, bool) else f"{begin}={default_text(flag)}"


def default_text(flag: Flag) -> str:
    default = flag.default
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, Duration):
        return default.text
    if isinstance(default, list):
        return "[" + ",".join(default) + "]"
    return quoted(default) if isinstance(default, str) else str(default)


def aligned(text: str) -> str:
    """Go's tabwriter with tabs of eight: a column is a run of lines that have a cell there, and as wide as its widest cell."""
    lines = [line.split("\t") for line in text.split("\n")]
    padded = [list(cells) for cells in lines]
    for column in range(max(map(len, lines)) - 1):
        at = 0
        while at < len(lines):
            end = at
            while end < len(lines) and len(lines[end]) > column + 1:
                end += 1
            for number in range(at, end):
                width = _tabs(max(len(cells[column]) for cells in lines[at:end]) + 1)
                cell = lines[number][column]
                padded[number][column] = cell + "\t" * ((width - len(cell) + TAB - 1) // TAB)
            at = max(end, at + 1)
    return "\n".join("".join(cells) for cells in padded)


def _tabs(width: int) -> int:
    return (width + TAB - 1) // TAB * TAB
