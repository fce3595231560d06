"""Which file knows which command, by its first word. A file is imported when its command is typed: starting is most of what `kvctl` costs.
Words of several files name them all, with blanks between."""

from collections.abc import Mapping, Sequence
from importlib import import_module

from kvstore.ctl.command import Command, Group
from kvstore.ctl.flags import Flag, find_command

FILES = {
    "alarm": "maintenance",
    "auth": "auth",
    "check": "check offline",
    "compaction": "kv",
    "completion": "about",
    "defrag": "maintenance",
    "del": "kv",
    "downgrade": "downgrade",
    "elect": "lock",
    "endpoint": "maintenance",
    "get": "kv",
    "hashkv": "offline",
    "help": "about",
    "lease": "lease",
    "lock": "lock",
    "make-mirror": "mirror",
    "member": "member",
    "move-leader": "maintenance",
    "options": "about",
    "put": "kv",
    "role": "role",
    "snapshot": "snapshot",
    "txn": "kv",
    "user": "user",
    "version": "about",
    "watch": "watch",
}

GROUPS = {
    "alarm": Group("Alarm related commands"),
    "auth": Group("Enable or disable authentication", "<enable or disable>"),
    "check": Group("commands for checking properties of the etcd cluster"),
    "downgrade": Group("Downgrade related commands", "<TARGET_VERSION>"),
    "endpoint": Group("Endpoint related commands", flags=(Flag("cluster", False, "use all endpoints from the cluster member list"),)),
    "lease": Group("Lease related commands"),
    "member": Group("Membership related commands"),
    "role": Group("Role related commands"),
    "snapshot": Group("Manages etcd node snapshots"),
    "user": Group("User related commands"),
}


def of_word(word: str) -> Mapping[str, Command]:
    """Every command that begins with `word`, by its whole name."""
    listed: dict[str, Command] = {}
    for file in FILES[word].split():
        listed |= import_module(f"kvstore.ctl.{file}").COMMANDS
    return {name: command for name, command in listed.items() if name.split()[0] == word}


def everything() -> dict[str, Command]:
    """All commands in the order of help."""
    return {name: command for word in sorted(FILES) for name, command in sorted(of_word(word).items())}


def find(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of the command in `argv`, and what is left. Raises NoSuchCommand."""

    def following(words: list[str]) -> list[str]:
        if not words:
            return sorted(FILES)
        depth = len(words)
        return sorted({name.split()[depth] for name in of_word(words[0]) if name.split()[:depth] == words and len(name.split()) > depth})

    return find_command(argv, following)


def flags_of(name: str) -> dict[str, Flag]:
    """The flags of a command, those of its group among them, by name."""
    word = name.split()[0]
    group = GROUPS.get(word)
    return {flag.name: flag for flag in [*(group.flags if group else ()), *of_word(word)[name].flags]}
