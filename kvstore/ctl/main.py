"""`kvctl`: which command is which function, and the frame around each: flags, client, errors, exit code."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Struct

from kvstore.client.client import Client
from kvstore.client.endpoints import TlsFiles
from kvstore.ctl import kv, lease, maintenance, watch
from kvstore.ctl.failure import BAD_ARGUMENTS, ERROR, INTERRUPTED, Failure
from kvstore.ctl.flags import GLOBAL_FLAGS, Flag, Given, parse
from kvstore.ctl.output import Printer
from kvstore.errors import StoreError
from kvstore.version import CLUSTER_VERSION, ETCD_VERSION, KEELSON_VERSION


class Command(Struct, frozen=True):
    run: Callable[..., Awaitable[None]]
    flags: Sequence[Flag]
    help: str
    endless: bool = False
    """Runs until interrupted: no time limit."""
    per_endpoint: bool = False
    """Wants to open clients of its own, one an endpoint."""


COMMANDS = {
    "get": Command(kv.get, kv.GET_FLAGS, "Gets the key or a range of keys"),
    "put": Command(kv.put, kv.PUT_FLAGS, "Puts the given key into the store"),
    "del": Command(kv.delete, kv.DEL_FLAGS, "Removes the specified key or range of keys [key, range_end)"),
    "txn": Command(kv.txn, kv.TXN_FLAGS, "Txn processes all the requests in one transaction"),
    "compaction": Command(kv.compaction, kv.COMPACTION_FLAGS, "Compacts the event history in etcd"),
    "watch": Command(watch.watch, watch.WATCH_FLAGS, "Watches events stream on keys or prefixes", endless=True),
    "lease grant": Command(lease.grant, (), "Creates leases"),
    "lease revoke": Command(lease.revoke, (), "Revokes leases"),
    "lease timetolive": Command(lease.time_to_live, lease.TIME_TO_LIVE_FLAGS, "Get lease information"),
    "lease list": Command(lease.leases, (), "List all active leases"),
    "lease keep-alive": Command(lease.keep_alive, lease.KEEP_ALIVE_FLAGS, "Keeps leases alive (renew)", endless=True),
    "endpoint health": Command(maintenance.health, (maintenance.CLUSTER_FLAG,), "Checks the healthiness of endpoints", per_endpoint=True),
    "endpoint status": Command(maintenance.status, (maintenance.CLUSTER_FLAG,), "Prints out the status of endpoints", per_endpoint=True),
    "endpoint hashkv": Command(maintenance.hash_kv, maintenance.HASH_FLAGS, "Prints the KV history hash for each endpoint", per_endpoint=True),
    "member list": Command(maintenance.members, maintenance.MEMBER_LIST_FLAGS, "Lists all members in the cluster"),
    "alarm list": Command(maintenance.alarms, (), "Lists all alarms"),
    "alarm disarm": Command(maintenance.disarm, (), "Disarms all alarms"),
    "defrag": Command(maintenance.defragment, (maintenance.CLUSTER_FLAG,), "Defragments the storage of the members", True, True),
    "snapshot save": Command(maintenance.save_snapshot, (), "Stores a node backend snapshot to a given file", endless=True),
    "move-leader": Command(maintenance.move_leader, (), "Transfers leadership to another cluster member", per_endpoint=True),
}

_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(text: str, flag: str) -> float:
    for unit in ("ms", "s", "m", "h"):
        if text.endswith(unit):
            try:
                return float(text.removesuffix(unit)) * _UNITS_S[unit]
            except ValueError:
                break
    raise Failure(ERROR, f'invalid argument "{text}" for "--{flag}" flag: time: invalid duration "{text}"')


def _make_client(flags: dict[str, Any], endpoints: list[str]) -> Client:
    if flags["insecure-skip-tls-verify"]:
        raise Failure(BAD_ARGUMENTS, "--insecure-skip-tls-verify is not supported: give the server's CA with --cacert")
    if flags["user"]:
        raise Failure(BAD_ARGUMENTS, "--user: authentication is not implemented yet")
    files = TlsFiles(flags["cacert"], flags["cert"], flags["key"])
    for name in filter(None, (files.ca, files.cert, files.key)):
        if not os.access(name, os.R_OK):
            raise Failure(BAD_ARGUMENTS, f"open {name}: no such file or directory")
    tls = files if any((files.ca, files.cert, files.key)) else None
    timeout_s = _seconds(flags["command-timeout"], "command-timeout")
    try:
        return Client(
            endpoints,
            tls=tls,
            timeout_s=timeout_s,
            keepalive_time_s=_seconds(flags["keepalive-time"], "keepalive-time"),
            keepalive_timeout_s=_seconds(flags["keepalive-timeout"], "keepalive-timeout"),
        )
    except ValueError as error:
        raise Failure(BAD_ARGUMENTS, str(error)) from error


async def _run(command: Command, given: Given, printer: Printer) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)

    def open_client(endpoints: list[str]) -> Client:
        return _make_client(given.flags, endpoints)

    async with open_client(given.flags["endpoints"]) as client:
        if command.per_endpoint:
            await command.run(client, given, printer, open_client)
        else:
            await command.run(client, given, printer)


def usage() -> str:
    lines = ["NAME:", "\tkvctl - A command line client for Keelson and etcd, with etcdctl's commands and flags.", "", "USAGE:", "\tkvctl [flags]", ""]
    lines += ["VERSION:", f"\t{KEELSON_VERSION} (etcdctl {ETCD_VERSION})", "", "COMMANDS:"]
    lines += [f"\t{name:<20}{command.help}" for name, command in sorted(COMMANDS.items())]
    lines += [f"\t{'completion':<20}Generate completion script for bash", f"\t{'version':<20}Prints the version of kvctl", "", "OPTIONS:"]
    lines += [_flag_line(flag) for flag in GLOBAL_FLAGS.values()]
    return "\n".join(lines) + "\n"


def _flag_line(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    default = {True: "true", False: "false"}.get(flag.default, flag.default) if isinstance(flag.default, bool) else flag.default
    return f"  {short}--{flag.name}={default}\t{flag.help}"


def command_usage(name: str) -> str:
    command = COMMANDS[name]
    lines = ["NAME:", f"\t{name} - {command.help}", "", "USAGE:", f"\tkvctl {name} [flags]", "", "OPTIONS:"]
    lines += [_flag_line(flag) for flag in command.flags]
    return "\n".join([*lines, "", "GLOBAL OPTIONS:", *map(_flag_line, GLOBAL_FLAGS.values())]) + "\n"


def completion() -> str:
    """A bash completion of commands and their flags."""
    words = sorted({name.split()[0] for name in COMMANDS} | {"version", "completion"})
    cases = []
    for name, command in COMMANDS.items():
        flags = " ".join(f"--{flag.name}" for flag in [*command.flags, *GLOBAL_FLAGS.values()])
        cases.append(f'    "{name}"*) COMPREPLY=($(compgen -W "{flags}" -- "$cur"));;')
    seconds = {first: [name.split()[1] for name in COMMANDS if name.startswith(first + " ")] for first in words}
    for first, following in seconds.items():
        if following:
            cases.append(f'    "{first}"*) COMPREPLY=($(compgen -W "{" ".join(following)}" -- "$cur"));;')
    body = "\n".join(cases)
    return (
        "_kvctl() {\n"
        '  local cur="${COMP_WORDS[COMP_CWORD]}" typed="${COMP_WORDS[*]:1:COMP_CWORD-1}"\n'
        '  case "$typed" in\n'
        f"{body}\n"
        f'    *) COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$cur"));;\n'
        "  esac\n}\ncomplete -F _kvctl kvctl\n"
    )


def main(arguments: list[str] | None = None) -> None:
    """Entry point."""
    argv = [("--write-out" + argument[2:] if argument.split("=")[0] == "-o" else argument) for argument in (arguments or sys.argv[1:])]
    words = [word for word in argv if not word.startswith("-")]
    if not argv or words[:1] == ["help"] or (not words and {"-h", "--help"} & set(argv)):
        sys.stdout.write(usage())
        return
    if words[:1] == ["version"]:
        print(f"kvctl version: {KEELSON_VERSION}\netcdctl version: {ETCD_VERSION}\nAPI version: {'.'.join(CLUSTER_VERSION.split('.')[:2])}")
        return
    if words[:1] == ["completion"]:
        sys.stdout.write(completion())
        return
    try:
        sys.exit(_main(argv))
    except Failure as failure:
        if str(failure):
            print(f"Error: {failure}", file=sys.stderr)
        if failure.hint:
            print("Run 'kvctl --help' for usage.", file=sys.stderr)
        sys.exit(failure.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ERROR)


def _main(argv: list[str]) -> int:
    flags = {name: {flag.name: flag for flag in command.flags} for name, command in COMMANDS.items()}
    asked_for_help = {"-h", "--help"} & set(argv)
    given = parse([word for word in argv if word not in ("-h", "--help")], flags, os.environ)
    if asked_for_help:
        sys.stdout.write(command_usage(given.command))
        return 0
    printer = Printer(given.flags["write-out"], given.flags["hex"], sys.stdout)
    command = COMMANDS[given.command]
    try:
        asyncio.run(_run(command, given, printer))
    except asyncio.CancelledError:
        return INTERRUPTED
    except StoreError as error:
        raise Failure(ERROR, str(error)) from error
    except BaseExceptionGroup as group:
        cause: BaseException = group
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, StoreError):
            raise Failure(ERROR, str(cause)) from None
        raise cause from None
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    main()
