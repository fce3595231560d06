"""watch: one key or range, or many interactively; optionally a command for each event."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from threading import Thread
from typing import TYPE_CHECKING, Any

from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_ARGUMENTS, ERROR, INTERRUPTED, INVALID_INPUT, Failure
from kvstore.ctl.flags import BadFlag, Flag, Given, read_flags
from kvstore.ctl.kv import key_range, split_words
from kvstore.ctl.output import Printer, go_object, quoted

if TYPE_CHECKING:
    from kvstore.client.client import Client
    from kvstore.client.watch import Watcher

WATCH_FLAGS = (
    Flag("interactive", False, "Interactive mode", "i"),
    Flag("prefix", False, "Watch on a prefix if prefix is set"),
    Flag("prev-kv", False, "get the previous key-value pair before the event happens"),
    Flag("progress-notify", False, "get periodic watch progress notification from server"),
    Flag("rev", 0, "Revision to start watching"),
)

KEY, RANGE_END = "ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"
"""Variables that stand for the arguments."""


async def watch(client: "Client", given: Given, printer: Printer) -> None:
    key, end = os.environ.get(KEY, ""), os.environ.get(RANGE_END, "")
    if end and not key:
        raise Failure(BAD_ARGUMENTS, f"{KEY} is empty but got {RANGE_END}={quoted(end)}")
    from_environment = [word for word in (key, end) if word]
    if given.flags["interactive"]:
        await _interactive(client, printer, from_environment)
        return
    arguments = _arguments(given, from_environment)
    await _follow(_watcher(client, arguments, given.flags), given.after_dashes or [], printer)


def _arguments(given: Given, from_environment: list[str]) -> list[str]:
    """The key and range end. Raises Failure."""
    if given.after_dashes == []:
        raise Failure(BAD_ARGUMENTS, "bad number of arguments (found separator --, but no commands)")
    if from_environment and given.arguments:
        raise Failure(BAD_ARGUMENTS, "bad number of arguments (found conflicting environment key)")
    arguments = from_environment or given.arguments
    if not 1 <= len(arguments) <= 2:
        raise Failure(BAD_ARGUMENTS, "bad number of arguments")
    return arguments


def _watcher(client: "Client", arguments: list[str], flags: dict[str, Any]) -> "Watcher":
    if len(arguments) == 2 and flags["prefix"]:
        raise Failure(BAD_ARGUMENTS, "`range_end` and `--prefix` are mutually exclusive")
    key, end = key_range(arguments, {"prefix": flags["prefix"], "from-key": False})
    return client.watch(key, end, start_revision=flags["rev"], prev_kv=flags["prev-kv"], progress_notify=flags["progress-notify"])


async def _interactive(client: "Client", printer: Printer, from_environment: list[str]) -> None:
    """Lines `watch [flags] key [end] [-- command]` on standard input, each another watcher; `progress` asks how far all of them are."""
    watchers: list[Watcher] = []
    await client.ready()
    async with asyncio.TaskGroup() as group:
        async for line in _typed_lines():
            typed = line.removesuffix("\n")
            words = split_words(typed)
            if not words:
                print(f"Invalid command: {typed} (watch and progress supported)", file=sys.stderr)
            elif words[0] == "progress":
                for watcher in watchers:
                    await watcher.request_progress()
            elif words[0] != "watch":
                print(f"Invalid command {typed} (only support watch)", file=sys.stderr)
            elif len(words) < 2 and not from_environment:
                print(f"Invalid command {typed} (command type or key is not provided)", file=sys.stderr)
            else:
                given = _typed(words[1:])
                watchers.append(_watcher(client, _arguments(given, from_environment), given.flags))
                group.create_task(_follow(watchers[-1], given.after_dashes or [], printer), name=typed)
        raise Failure(INVALID_INPUT, "error reading watch request line: EOF")


async def _typed_lines() -> AsyncIterator[str]:
    """Standard input, by a thread that nobody waits for: it may sit in a read for ever."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody wants to know any more.
            while line := sys.stdin.readline():
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, "")

    Thread(target=read, name="standard input", daemon=True).start()
    while line := await lines.get():
        yield line


def _typed(words: list[str]) -> Given:
    try:
        return read_flags("watch", words, {flag.name: flag for flag in WATCH_FLAGS}, with_global=False)
    except BadFlag as error:
        raise Failure(BAD_ARGUMENTS, str(error)) from None


async def _follow(watcher: "Watcher", command: list[str], printer: Printer) -> None:
    from kvstore.client.errors import WatchCanceled, WatchCompacted

    try:
        async for response in watcher:
            _print(printer, response)
            for event in response.events if command else ():
                await _execute(command, response, event)
    except (WatchCanceled, WatchCompacted) as error:
        print(f"watch was canceled ({error})", file=sys.stderr)
        raise Failure(INTERRUPTED, "watch is canceled by the server") from error


def _print(printer: Printer, response: Any) -> None:
    if not response.events:
        printer.line(f"progress notify: {response.header.revision}")

    def simple() -> None:
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
    """Run the command that was given behind `--`, and wait for it; one that fails ends the watch. Raises Failure."""
    environment = os.environ | {
        "ETCD_WATCH_REVISION": str(response.header.revision),
        "ETCD_WATCH_EVENT_TYPE": quoted("DELETE" if event.type else "PUT"),
        "ETCD_WATCH_KEY": quoted(event.kv.key),
        "ETCD_WATCH_VALUE": quoted(event.kv.value),
    }
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        failed = f"exit status {process.returncode}" if await process.wait() else ""
    except FileNotFoundError:
        by_path = "/" in command[0]
        failed = f"fork/exec {command[0]}: no such file or directory" if by_path else f'exec: "{command[0]}": executable file not found in $PATH'
    except OSError as error:
        failed = str(error)
    if failed:
        print(f"command [{' '.join(quoted(word) for word in command)}] error ({failed})", file=sys.stderr)
        raise Failure(ERROR, "")


COMMANDS = {
    "watch": Command(
        watch,
        WATCH_FLAGS,
        "Watches events stream on keys or prefixes",
        endless=True,
        use="[options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
    ),
}
