"""The genuine server's answers to a fixed table of requests, recorded, so that they judge ours where there is no Go:

    python -m tests.kubernetes.oracle.golden        # writes golden.json again, from the genuine server

The first line says when; ages in the answers were told then. Any other is one request with its answer. `open` marks those that ours answers
otherwise: work that is left. After one that was open when it was recorded, `restarts`, the object it was about was removed on both sides, so that one
difference does not become many.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from tests.kubernetes.oracle import bad_definitions, program
from tests.kubernetes.oracle.arena import arena
from tests.kubernetes.oracle.differences import expected
from tests.kubernetes.oracle.generate import Generator
from tests.kubernetes.oracle.normal import Plain
from tests.kubernetes.oracle.requests import Request
from tests.oracle.choosing import Seeded
from tests.support.compare import differences

PATH = Path(__file__).with_name("golden.json")
SEED = 2026
REQUESTS = 300


class Head(msgspec.Struct):
    recorded_at: datetime


class Line(msgspec.Struct, omit_defaults=True):
    request: Request
    answer: dict[str, Any]
    open: bool = False
    restarts: bool = False


def table() -> Iterator[Request]:
    generator = Generator(Seeded(SEED))
    yield from (generator.request() for _ in range(REQUESTS))
    yield from (request for _, request in bad_definitions.requests())


def judged(line: Line, ours: Plain) -> list[str]:
    """Where an answer of ours is another one than the genuine server's."""
    genuine = json.loads(json.dumps(line.answer))
    one, other = expected(line.request, genuine, ours)
    return list(differences(one, other))


def read() -> tuple[datetime, list[Line]]:
    """(when it was recorded, the requests with their answers)."""
    head, *lines = PATH.read_bytes().splitlines()
    return msgspec.json.decode(head, type=Head).recorded_at, [msgspec.json.decode(text, type=Line) for text in lines]


def main() -> None:
    try:
        genuine = program.build()
    except program.Missing as missing:
        sys.exit(str(missing))
    head, lines = Head(datetime.now(UTC)), []
    with tempfile.TemporaryDirectory() as folder, arena(genuine, Path(folder)) as duel:
        duel.begin()
        for request in table():
            before = len(duel.found)
            told = duel.recorded(request)
            differs = len(duel.found) > before
            lines.append(Line(request, told, open=differs, restarts=differs))
    PATH.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in (head, *lines)))
    print(f"{len(lines)} requests, {sum(line.open for line in lines)} of them open")


if __name__ == "__main__":
    main()
