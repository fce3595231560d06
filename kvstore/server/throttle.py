"""Log lines that a stranger can cause, at a bounded rate: whoever knocks a thousand times a second must not fill the disk."""

LINES_MAX = 10
INTERVAL_S = 10.0


class Throttle:
    """At most `LINES_MAX` lines in `INTERVAL_S`; how many more there were is told with the next."""

    def __init__(self) -> None:
        self._since_s = 0.0
        self._told = 0
        self._untold = 0

    def admit(self, now_s: float) -> int | None:
        """None: say nothing. Else say it, and how many were left out since the last line."""
        if now_s - self._since_s >= INTERVAL_S:
            self._since_s, self._told = now_s, 0
        if self._told >= LINES_MAX:
            self._untold += 1
            return None
        self._told += 1
        left_out, self._untold = self._untold, 0
        return left_out
