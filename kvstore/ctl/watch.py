"""watch: one key or range, or many interactively; optionally a command for each event."""

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_ARGUMENTS, ERROR, INTERRUPTED, Failure
from kvstore.ctl.flags import Flag, Given, parse
from kvstore.ctl.kv import key_range, split_words
from kvstore.ctl.output import Printer, go_object, quoted

if TYPE_CHECKING:
    from kvstore.client.client import Client

WATCH_FLAGS = (
    Flag("interactive", False, "Interactive mode", "i"),
    Flag("prefix", False, "Watch on a prefix if prefix is set"),
    Flag("prev-kv", False, "get the previous key-value pair before the event happens"),
    Flag("progress-notify", False, "get periodic watch progress notification from server"),
    Flag("rev", 0, "Revision to start watching"),
)


async def watch(client: "Client", given: Given, printer: Printer) -> None:
    if given.flags["interactive"]:
        await _interactive(client, printer)
        return
    arguments = list(given.arguments)
    if not arguments and os.environ.get("ETCDCTL_WATCH_KEY"):
        arguments = [os.environ["ETCDCTL_WATCH_KEY"], *filter(None, [os.environ.get("ETCDCTL_WATCH_RANGE_END")])]
    await _watch_one(client, arguments, given.flags, given.after_dashes or [], printer)


async def _interactive(client: "Client", printer: Printer) -> None:
    """Lines `watch [flags] key [end] [-- command]` on standard input, each another watcher."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            words = split_words(line)
            if not words:
                continue
            if words[0] == "progress":
                printer.write("Error: progress requests need a watch of their own here; use --progress-notify\n")
                continue
            if words[0] != "watch":
                print(f"Invalid command {line.strip()} (command type should be watch or progress)", file=sys.stderr)
                continue
            typed = parse(words, {"watch": {flag.name: flag for flag in WATCH_FLAGS}}, {})
            group.create_task(_watch_one(client, typed.arguments, typed.flags, typed.after_dashes or [], printer), name=f"watch {typed.arguments}")


async def _watch_one(client: "Client", arguments: list[str], flags: dict[str, Any], command: list[str], printer: Printer) -> None:
    from kvstore.client.errors import WatchCanceled, WatchCompacted

    if not 1 <= len(arguments) <= 2:
        raise Failure(BAD_ARGUMENTS, "bad number of arguments")
    key, end = key_range(arguments, {"prefix": flags["prefix"], "from-key": False})
    watcher = client.watch(key, end, start_revision=flags["rev"], prev_kv=flags["prev-kv"], progress_notify=flags["progress-notify"])
    try:
        async for response in watcher:
            _print(printer, response)
            for event in response.events if command else ():
                await _execute(command, response, event)
    except (WatchCanceled, WatchCompacted) as error:
        print(f"watch was canceled ({error})", file=sys.stderr)
        raise Failure(INTERRUPTED, "watch is canceled by the server") from error


def _print(printer: Printer, response: Any) -> None:
    def simple() -> None:
        if not response.events:
            printer.line(f"progress notify: {response.header.revision}")
        for event in response.events:
            printer.line("DELETE" if event.type else "PUT")
            if event.HasField("prev_kv"):
                printer.key_value(event.prev_kv)
            printer.key_value(event.kv)

    def fields() -> None:
        printer.header_fields(response.header)
        for event in response.events:
            printer.line(f'"Type" : {"DELETE" if event.type else "PUT"}')
            if event.HasField("prev_kv"):
                printer.key_value_fields("Prev", event.prev_kv)
            printer.key_value_fields("", event.kv)

    as_json = {
        "Header": go_object(response.header),
        "Events": [go_object(event) for event in response.events],
        "CompactRevision": response.compact_revision,
        "Canceled": response.canceled,
        "Created": response.created,
    }
    printer.message(response, simple=simple, fields=fields, as_json=as_json)
    sys.stdout.flush()


async def _execute(command: list[str], response: Any, event: Any) -> None:
    """Run the command that was given behind `--`, and wait for it."""
    environment = os.environ | {
        "ETCD_WATCH_REVISION": str(response.header.revision),
        "ETCD_WATCH_EVENT_TYPE": quoted("DELETE" if event.type else "PUT"),
        "ETCD_WATCH_KEY": quoted(event.kv.key),
        "ETCD_WATCH_VALUE": quoted(event.kv.value),
    }
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment)
    except OSError as error:
        raise Failure(ERROR, f"command {' '.join(command)!r} failed: {error}") from error
    if await process.wait() != 0:
        print(f"command {subprocess.list2cmdline(command)!r} error (exit status {process.returncode})", file=sys.stderr)


COMMANDS = {
    "watch": Command(
        watch,
        WATCH_FLAGS,
        "Watches events stream on keys or prefixes",
        endless=True,
        use="[options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
    ),
}
