"""kvctl's entry point run inside the test's own process: starting an interpreter for each of hundreds of commands would be most of the time."""

import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kvstore.ctl.main import main


class Done(NamedTuple):
    code: int
    out: bytes
    err: bytes


def run(arguments: Sequence[str], stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Done:
    """What `kvctl ARGUMENTS` would print and end with. Not for commands that go on until a signal."""
    kept = sys.stdin, sys.stdout, sys.stderr, dict(os.environ)
    out, err = io.BytesIO(), io.BytesIO()
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8", "surrogateescape")
    sys.stdout = io.TextIOWrapper(out, "utf-8", "surrogateescape")
    sys.stderr = io.TextIOWrapper(err, "utf-8", "surrogateescape")
    os.environ.update(environment or {})
    try:
        main(list(arguments))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        done = out.getvalue(), err.getvalue()
        sys.stdin, sys.stdout, sys.stderr, environment_before = kept
        os.environ.clear()
        os.environ.update(environment_before)
    return Done(code, *done)
