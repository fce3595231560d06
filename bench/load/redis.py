"""Redis' protocol (RESP), as much as puts and reads need."""

from collections.abc import Callable

from bench.load.inorder import Client
from bench.load.tally import Loop


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def reply(data: bytes, at: int) -> tuple[bytes, int] | None:
    """The line that a reply begins with, and where it ends; None if it is not whole. Only what SET, WAIT and GET answer: no arrays."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None
    line = data[at:end]
    end += 2
    if line.startswith(b"$") and line != b"$-1":
        end += int(line[1:]) + 2
        if end > len(data):
            return None
    return line, end


class RedisClient(Client):
    """`next_request` may hold several commands; `replies` says how many, and `good` whether the last one's reply is what it should be."""

    def __init__(self, run: Loop, slots: int, next_request: Callable[[], bytes], replies: int, good: Callable[[bytes], bool]) -> None:
        super().__init__(run, slots)
        self.request = next_request  # type: ignore[method-assign]
        self._replies, self._good = replies, good

    def take(self, data: bytes) -> tuple[int, int, int]:
        done = errors = taken = at = 0
        while True:
            failed = False
            for left in range(self._replies, 0, -1):
                found = reply(data, at)
                if found is None:
                    return done, errors, taken
                line, at = found
                failed |= line.startswith(b"-") or (left == 1 and not self._good(line))
            done, errors, taken = done + 1, errors + failed, at
