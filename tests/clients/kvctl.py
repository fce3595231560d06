"""kvctl as a process of its own for each command, without starting an interpreter for each: a server that has imported everything forks.

    with Forks() as kvctl:
        done = kvctl.run(["get", "a"])

A fork before anything was used is as good as a new process: descriptors, signals, event loop and gRPC's threads are its own.
"""

import base64
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

COMMAND_TIMEOUT_S = 30
TRACEBACK = 99
"""Exit code of a command that raised what it should have caught."""


class Done(NamedTuple):
    code: int
    out: bytes
    err: bytes


class Forks:
    def __init__(self) -> None:
        self._server = subprocess.Popen([sys.executable, "-m", "tests.clients.kvctl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._server.communicate()

    def run(self, arguments: Sequence[str], stdin: bytes = b"", environment: Mapping[str, str] | None = None, folder: str = ".") -> Done:
        """What `kvctl ARGUMENTS` prints and ends with. Not for commands that go on until a signal."""
        assert self._server.stdin is not None and self._server.stdout is not None
        request = [list(arguments), base64.b64encode(stdin).decode(), dict(environment or {}), folder]
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        code, out, err = json.loads(self._server.stdout.readline())
        return Done(code, base64.b64decode(out), base64.b64decode(err))


def _serve() -> None:
    import asyncio  # noqa: F401

    import grpc.aio  # noqa: F401

    from kvstore.client import client, discovery  # noqa: F401
    from kvstore.ctl import commands, main

    commands.everything()
    gc.freeze()  # What is there stays: a child need not look at it, nor copy the pages for that.
    answers = os.fdopen(os.dup(1), "w")
    for line in os.fdopen(os.dup(0), "rb"):
        arguments, stdin, environment, folder = json.loads(line)
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(base64.b64decode(stdin))
            given.seek(0)
            child = os.fork()
            if child == 0:
                for target, file in enumerate((given, out, err)):
                    os.dup2(file.fileno(), target)
                os.environ.update(environment)
                os.chdir(folder)
                signal.alarm(COMMAND_TIMEOUT_S)
                sys.argv[1:] = arguments
                try:
                    main.main()
                finally:
                    os._exit(TRACEBACK)
            _pid, status = os.waitpid(child, 0)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(base64.b64encode(file.read()).decode())
        answers.write(json.dumps([os.waitstatus_to_exitcode(status), *texts]) + "\n")
        answers.flush()


if __name__ == "__main__":
    # Also where it is started from elsewhere: the package of the tests must be found.
    sys.path.insert(0, str(Path(__file__).parents[2]))
    _serve()
