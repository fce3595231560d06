"""Pages for whoever looks for what a member is doing (--enable-pprof): a profile on demand and the tasks, as positions in code.

They tell functions, files and lines, never what is in variables: no key, value, password or token gets out here. A profile is taken by a
thread that looks at all threads' stacks a hundred times a second while everything goes on.
"""

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import PurePath
from types import CodeType, FrameType
from typing import Any
from urllib.parse import parse_qs

from kvstore.api.health import Answer

SECONDS_MAX = 120.0
RATE_HZ = 100
DEPTH_MAX = 128

_TEXT = "text/plain; charset=utf-8"
_INDEX = """What this member is doing. Positions in code only.

/debug/vars                           settings of the command line, consensus
/debug/tasks                          tasks of the event loop: name, state, where each waits
/debug/threads                        the stack of every thread
/debug/profile?seconds=10             stacks and how often each was seen, one a line (flamegraph.pl, speedscope)
/debug/profile?format=speedscope      the same for https://www.speedscope.app
"""

Stack = tuple[str, ...]
"""Thread, then functions from the outermost on."""


class DebugPages:
    def __init__(self) -> None:
        self._profiling = False

    def serves(self, path: str) -> bool:
        return path in ("/debug/pprof", "/debug/pprof/", "/debug/tasks", "/debug/threads", "/debug/profile", "/debug/pprof/profile")

    async def answer(self, path: str, query: bytes) -> Answer:
        if path == "/debug/tasks":
            return 200, _TEXT, tasks_text().encode()
        if path == "/debug/threads":
            return 200, _TEXT, threads_text().encode()
        if path.endswith("/profile"):
            return await self._profile(parse_qs(query.decode(errors="replace")))
        return 200, _TEXT, _INDEX.encode()

    async def _profile(self, arguments: dict[str, list[str]]) -> Answer:
        try:
            seconds = float(arguments.get("seconds", ["10"])[-1])
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= SECONDS_MAX:
            return 400, _TEXT, f"seconds must be a number above 0 and at most {SECONDS_MAX:g}\n".encode()
        form = arguments.get("format", ["collapsed"])[-1]
        if form not in ("collapsed", "speedscope"):
            return 400, _TEXT, b"format must be collapsed or speedscope\n"
        if self._profiling:
            return 409, _TEXT, b"a profile is being taken already\n"
        self._profiling = True
        try:
            stacks = await sample(seconds)
        finally:
            self._profiling = False
        if form == "speedscope":
            return 200, "application/json", speedscope(stacks).encode()
        return 200, _TEXT, collapsed(stacks).encode()


async def sample(seconds: float) -> Counter[Stack]:
    """How often each stack was seen within `seconds` from now; the event loop goes on meanwhile."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Counter[Stack]] = loop.create_future()
    stop = threading.Event()

    def look() -> None:
        found: Counter[Stack] = Counter()
        own = threading.get_ident()
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s and not stop.wait(1 / RATE_HZ):
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                if ident != own:
                    found[(names.get(ident) or f"thread {ident}", *_stack(frame))] += 1
        loop.call_soon_threadsafe(tell, found)

    def tell(found: Counter[Stack]) -> None:
        if not done.done():
            done.set_result(found)

    threading.Thread(target=look, name="profiler", daemon=True).start()
    try:
        return await done
    finally:
        stop.set()


def _stack(frame: FrameType | None) -> Stack:
    functions: list[str] = []
    while frame is not None and len(functions) < DEPTH_MAX:
        functions.append(_function(frame.f_code))
        frame = frame.f_back
    return tuple(reversed(functions))


def _function(code: CodeType) -> str:
    """`server/loop.py:Runner._turn`; no blanks or semicolons, which the collapsed form separates by."""
    place = "/".join(PurePath(code.co_filename).parts[-2:])
    return f"{place}:{code.co_qualname}".replace(" ", "_").replace(";", ",")


def collapsed(stacks: Counter[Stack]) -> str:
    return "".join(f"{';'.join(part.replace(' ', '_') for part in stack)} {count}\n" for stack, count in sorted(stacks.items()))


def speedscope(stacks: Counter[Stack]) -> str:
    """One sampled profile for each thread."""
    numbers: dict[str, int] = {}
    profiles: dict[str, Any] = {}
    for stack, count in sorted(stacks.items()):
        thread = stack[0]
        profile = profiles.setdefault(
            thread, {"type": "sampled", "name": thread, "unit": "seconds", "startValue": 0, "endValue": 0, "samples": [], "weights": []}
        )
        profile["samples"].append([numbers.setdefault(function, len(numbers)) for function in stack[1:]])
        profile["weights"].append(count / RATE_HZ)
        profile["endValue"] += count / RATE_HZ
    content = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "keelson",
        "shared": {"frames": [{"name": function} for function in numbers]},
        "profiles": list(profiles.values()),
    }
    return json.dumps(content, separators=(",", ":"))


def tasks_text() -> str:
    lines = []
    for task in asyncio.all_tasks():
        frames = task.get_stack(limit=DEPTH_MAX)
        where = " < ".join(f"{_function(frame.f_code)}:{frame.f_lineno}" for frame in reversed(frames)) or _waits_in(task)
        state = "cancelling" if task.cancelling() else "running" if task is asyncio.current_task() else "waiting"
        lines.append(f"{task.get_name()}\t{state}\t{where}\n")
    return f"{len(lines)} tasks\n\n" + "".join(sorted(lines))


def _waits_in(task: "asyncio.Task[Any]") -> str:
    name: Callable[[Any], str] = lambda coroutine: getattr(coroutine, "__qualname__", type(coroutine).__name__)  # noqa: E731
    return name(task.get_coro())


def threads_text() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for ident, frame in sys._current_frames().items():
        lines.append(f"{names.get(ident) or f'thread {ident}'}:\n")
        at: FrameType | None = frame
        while at is not None:
            lines.append(f"  {_function(at.f_code)}:{at.f_lineno}\n")
            at = at.f_back
        lines.append("\n")
    return "".join(lines)
