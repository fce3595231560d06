"""A container's log in the format of the CRI: `2026-11-21T14:00:00.123456789Z stdout F the line`, with P for a part of a line that goes on."""

import contextlib
import os
import time

PART_BYTES_MAX = 16 << 10
"""As containerd: a longer line is written in parts."""
SIZE_BYTES_MAX, TURNED_OVER_MAX = 20 << 20, 4
"""The kubelet turns a log over at half of that (agents.kubelet.logs) when it comes by. Who writes faster than it comes, or when there is no kubelet,
has his log turned over here: no container fills the node's disk with what it says."""


class LogFile:
    """Its two streams are written by the same process, so lines are never torn. A full disk loses lines and harms nobody else."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1
        self._size_bytes = 0
        self._rest = {"stdout": b"", "stderr": b""}
        self.reopen()

    def reopen(self) -> None:
        """After the kubelet has moved the file away. Raises OSError and goes on with the old one: a closed number is soon another file's."""
        before, self._fd = self._fd, os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if before >= 0:
            os.close(before)
        self._size_bytes = os.fstat(self._fd).st_size

    def write(self, stream: str, data: bytes) -> None:
        head = f"{timestamp(time.time_ns())} {stream} ".encode()
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        written = []
        for line in lines:
            while len(line) > PART_BYTES_MAX:
                written.append(b"%bP %b\n" % (head, line[:PART_BYTES_MAX]))
                line = line[PART_BYTES_MAX:]
            written.append(b"%bF %b\n" % (head, line))
        while len(rest) >= PART_BYTES_MAX:
            written.append(b"%bP %b\n" % (head, rest[:PART_BYTES_MAX]))
            rest = rest[PART_BYTES_MAX:]
        self._rest[stream] = rest
        self._put(b"".join(written))

    def finish(self) -> None:
        """What came without a newline at the end is told as a part, so that who reads it adds none."""
        for stream, rest in self._rest.items():
            if rest:
                self._rest[stream] = b""
                self._put(f"{timestamp(time.time_ns())} {stream} P ".encode() + rest + b"\n")

    def close(self) -> None:
        self.finish()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _put(self, data: bytes) -> None:
        try:
            while data:
                written = os.write(self._fd, data)
                self._size_bytes += written
                data = data[written:]
            if self._size_bytes >= SIZE_BYTES_MAX:
                self._turn_over()
        except OSError:
            pass

    def _turn_over(self) -> None:
        now_ns = time.time_ns()
        moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_ns // 1_000_000_000))
        with contextlib.suppress(FileNotFoundError):  # a kubelet that was killed moved it, and told nobody
            os.rename(self.path, f"{self.path}.{moment}.{now_ns % 1_000_000_000:09}")
        self.reopen()
        folder, name = os.path.split(self.path)
        old = sorted(each for each in os.listdir(folder) if each.startswith(f"{name}."))
        for each in old[:-TURNED_OVER_MAX]:
            os.unlink(f"{folder}/{each}")


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09}Z"
