"""lock and elect: until a signal comes, or while a command runs."""

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from kvstore.client.client import Client
from kvstore.client.election import Election, observe
from kvstore.client.lock import Mutex
from kvstore.client.session import SESSION_TTL_S, Session
from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_ARGUMENTS, ERROR, Failure
from kvstore.ctl.flags import Flag, Given
from kvstore.ctl.kv import print_range
from kvstore.ctl.output import Printer
from kvstore.errors import SessionExpired, StoreError
from kvstore.wire import messages

LOCK_FLAGS = (Flag("ttl", 10, "timeout for session"),)
ELECT_FLAGS = (Flag("listen", False, "observation mode", "l"),)

KILLED_BY_SIGNAL = 255
"""What etcdctl makes of a command that a signal ended."""


async def lock(client: Client, given: Given, printer: Printer) -> None:
    """Hold a lock while a command runs, whose exit code is then ours; without a command until a signal comes."""
    words = given.arguments + (given.after_dashes or [])
    if not words:
        raise Failure(BAD_ARGUMENTS, "lock takes a lock name argument and an optional command to execute")
    name, command = words[0], words[1:]
    stop = _stop_asked()
    async with _session(client, given.flags["ttl"]) as session:
        mutex = Mutex(session, os.fsencode(name))
        await _unless(stop, mutex.lock())
        if command:
            try:
                await _execute(command, {"ETCD_LOCK_KEY": os.fsdecode(mutex.key), "ETCD_LOCK_REV": str(mutex.header.revision)})
            finally:
                await mutex.unlock()
            return
        found = await client.get(mutex.key)
        if not found.kvs:
            raise Failure(ERROR, "lock lost on init")
        print_range(printer, found)
        sys.stdout.flush()
        if await _first(stop, session.ended) is session.ended:
            raise Failure(ERROR, "session expired")
        await mutex.unlock()


async def elect(client: Client, given: Given, printer: Printer) -> None:
    """Campaign with a proposal and lead until a signal comes; or listen to who leads."""
    words, listen = given.arguments + (given.after_dashes or []), given.flags["listen"]
    if len(words) not in (1, 2):
        raise Failure(BAD_ARGUMENTS, "elect takes one election name argument and an optional proposal argument")
    if len(words) == 1 and not listen:
        raise Failure(BAD_ARGUMENTS, "no proposal argument but -l not set")
    if len(words) == 2 and listen:
        raise Failure(BAD_ARGUMENTS, "proposal given but -l is set")
    stop = _stop_asked()
    name = os.fsencode(words[0])
    if listen:
        with contextlib.suppress(Interrupted):
            await _unless(stop, _listen(client, name, printer))
        return
    async with _session(client, SESSION_TTL_S) as session:
        election = Election(session, name)
        await _unless(stop, election.campaign(os.fsencode(words[1])))
        print_range(printer, await client.get(election.key))
        sys.stdout.flush()
        if await _first(stop, session.ended) is session.ended:
            raise Failure(ERROR, "elect: session expired")
        await election.resign()


async def _listen(client: Client, name: bytes, printer: Printer) -> None:
    async with contextlib.aclosing(observe(client, name)) as leaders:
        async for leader in leaders:
            print_range(printer, messages.RangeResponse(header=leader.header, kvs=[leader.kv]))
            sys.stdout.flush()


# --- parts --------------------------------------------------------------------------------------------------------------


class Interrupted(Failure):
    def __init__(self) -> None:
        super().__init__(ERROR, "context canceled")


@contextlib.asynccontextmanager
async def _session(client: Client, ttl_s: int) -> AsyncIterator[Session]:
    """Its lease is revoked at the end; one that cannot be ends by itself, which changes nothing of how we fared."""
    session = Session(client, ttl_s=ttl_s if ttl_s > 0 else SESSION_TTL_S)
    await session.start()
    try:
        yield session
    except SessionExpired as error:
        raise Failure(ERROR, str(error)) from error
    finally:
        with contextlib.suppress(StoreError):
            await session.close()


def _stop_asked() -> asyncio.Event:
    """Set by the signals that would otherwise end us at once."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _first(*events: asyncio.Event) -> asyncio.Event:
    async with asyncio.TaskGroup() as group:
        waiting = {group.create_task(event.wait(), name="wait for an event"): event for event in events}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
    return next(event for event in events if event.is_set())


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do `work`; a signal ends it. Raises Interrupted."""
    async with asyncio.TaskGroup() as group:
        working = group.create_task(work, name="work until a signal comes")
        stopping = group.create_task(stop.wait(), name="wait for a signal")
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        stopping.cancel()
    if working.cancelled():
        raise Interrupted


async def _execute(command: Sequence[str], variables: dict[str, str]) -> None:
    """Run it to its end, whatever signals come meanwhile (from a terminal it gets them, too). Raises Failure with its exit code."""
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL, env=os.environ | variables)
    except OSError as error:
        raise Failure(ERROR, _cannot_run(command[0], error)) from error
    code = await process.wait()
    if code < 0:
        raise Failure(KILLED_BY_SIGNAL, f"signal: {(signal.strsignal(-code) or str(-code)).lower()}")
    if code:
        raise Failure(code, f"exit status {code}")


def _cannot_run(program: str, error: OSError) -> str:
    if error.errno == errno.ENOENT and "/" not in program:
        return f'exec: "{program}": executable file not found in $PATH'
    return f"fork/exec {program}: {os.strerror(error.errno or 0).lower()}"


COMMANDS = {
    "elect": Command(elect, ELECT_FLAGS, "Observes and participates in leader election", endless=True, use="<election-name> [proposal]"),
    "lock": Command(lock, LOCK_FLAGS, "Acquires a named lock", endless=True, use="<lockname> [exec-command arg1 arg2 ...]"),
}
