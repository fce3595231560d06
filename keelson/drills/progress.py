"""What a drill shows while it runs: on a terminal one line that changes, elsewhere a line for each thing that happens."""

import sys
import threading
import time
from typing import TextIO

from keelson.cogs import output
from keelson.drills.drill import Onlooker
from keelson.drills.leadership import Leadership
from keelson.drills.load import Load

REFRESH_S = 0.2
WINDOW_S = 1.0
"""What "a second" means in the line: the newest one."""


class Progress(Onlooker):
    """Use it as a context; `begin` at each trial."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._lock = threading.Lock()
        self._title = self._phase = ""
        self._began_s = time.monotonic()
        self._load: Load | None = None
        self._leadership: Leadership | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="drill progress", daemon=True)

    def __enter__(self) -> "Progress":
        if self._live:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._live:
            self._thread.join()
            self._stream.write("\r\x1b[2K")
            self._stream.flush()

    def begin(self, title: str) -> None:
        """`title`: drill, target and number of the trial."""
        self._title, self._phase, self._began_s = title, "", time.monotonic()
        self._load = self._leadership = None

    def tell(self, text: str) -> None:
        with self._lock:
            clear = "\r\x1b[2K" if self._live else ""
            self._stream.write(f"{clear}{self._title}  {time.monotonic() - self._began_s:5.1f} s  {text}\n")
            self._stream.flush()

    def phase(self, name: str) -> None:
        self._phase = name

    def look_at(self, load: Load, leadership: Leadership) -> None:
        self._load, self._leadership = load, leadership

    def _refresh(self) -> None:
        while not self._ended.wait(REFRESH_S):
            with self._lock:
                self._stream.write("\r\x1b[2K" + self.line(time.monotonic()))
                self._stream.flush()

    def line(self, now_s: float) -> str:
        parts = [self._title, f"{now_s - self._began_s:5.1f} s", f"{self._phase:<9}"]
        if self._load is not None and self._leadership is not None:
            newest = [sample for sample in self._load.samples[-int(2 * WINDOW_S * self._load.rate_per_s) :] if sample.returned_s > now_s - WINDOW_S]
            failed = sum(bool(sample.error) for sample in newest)
            leader = self._leadership.leader_now()
            parts += [
                f"{len(newest) - failed:4} answered/s",
                output.paint(f"{failed:4} failed/s", output.RED if failed else output.DIM, True),
                f"{self._load.outstanding:4} waiting",
                f"leader {leader}" if leader else output.paint("no leader", output.YELLOW, True),
            ]
        return "  ".join(parts)
