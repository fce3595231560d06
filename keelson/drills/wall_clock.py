"""The wall clock of one running process, and of no other: what time it is moves for it by some seconds, the machine's clock stays.

A process asks for the time in the vDSO, code that the kernel maps into it; that is so for Python and, without any library in between, for Go. Its
functions for the wall clock (clock_gettime, gettimeofday, time) are overwritten in the process's memory by ones that make the system call and add
a number. (Chaos Mesh's TimeChaos does it like this.) The kernel copies such a page when it is written, so nobody else sees the change.

CLOCK_REALTIME moves, CLOCK_MONOTONIC does not: as when an administrator or NTP sets the clock. Timers that the kernel keeps by its wall clock
do not jump along.

The process is stopped meanwhile, for a few milliseconds, so that none of its threads runs what is being written.
"""

import os
import platform
import signal
import struct
import time
from pathlib import Path

from keelson.drills.fault import Impossible

STOP_TIMEOUT_S = 5.0
TRIES = 50
"""A thread that was stopped within the vDSO goes on for a moment."""

# x86-64; `%rip`-relative operands point at the eight bytes behind the code, aligned to 8, which hold the seconds.
_CLOCK_GETTIME = bytes.fromhex(
    "b8e4000000"  # mov $228, %eax
    "0f05"  # syscall
    "85ff7406"  # CLOCK_REALTIME (0)?
    "83ff057401"  # CLOCK_REALTIME_COARSE (5)?
    "c3"
    "488b0d08000000"  # mov seconds(%rip), %rcx
    "48010e"  # add %rcx, (%rsi)
    "c3"
)
_GETTIMEOFDAY = bytes.fromhex(
    "b860000000"  # mov $96, %eax
    "0f05"
    "4885ff740a"  # no place to put it?
    "488b0d05000000"
    "48010f"  # add %rcx, (%rdi)
    "c3"
)
_TIME = bytes.fromhex(
    "b8c9000000"  # mov $201, %eax
    "0f05"
    "4803050a000000"  # add seconds(%rip), %rax
    "4885ff7403"
    "488907"  # mov %rax, (%rdi)
    "c3"
)
_CODE = {b"__vdso_clock_gettime": _CLOCK_GETTIME, b"__vdso_gettimeofday": _GETTIMEOFDAY, b"__vdso_time": _TIME}
_PT_DYNAMIC, _DT_STRTAB, _DT_SYMTAB = 2, 5, 6


def why_not() -> str | None:
    """Why no process's wall clock can be moved here."""
    if platform.machine() != "x86_64":
        return f"moves a process's wall clock on x86-64 only, this is {platform.machine()}"
    return None


class WallClock:
    """Of the process `pid`, which must be ours: a child, or root's to touch. Raises Impossible."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._start, self._end = _mapping(pid)
        image = self._read(self._start, self._end - self._start)
        self._places = _functions(image)

    def shift(self, seconds: int) -> None:
        """From now on the process's wall clock is the machine's plus so much; 0 sets it right. Raises Impossible."""
        self._stop()
        try:
            with Path(f"/proc/{self._pid}/mem").open("r+b", buffering=0) as memory:
                for name, code in _CODE.items():
                    memory.seek(self._start + self._places[name])
                    memory.write(_with_seconds(code, seconds))
        except OSError as error:
            raise Impossible(f"the memory of process {self._pid} cannot be written: {error}") from None
        finally:
            os.kill(self._pid, signal.SIGCONT)

    def _read(self, at: int, size: int) -> bytes:
        try:
            with Path(f"/proc/{self._pid}/mem").open("rb", buffering=0) as memory:
                memory.seek(at)
                return memory.read(size)
        except OSError as error:
            raise Impossible(f"the memory of process {self._pid} cannot be read: {error}") from None

    def _stop(self) -> None:
        """Every thread, and none within the vDSO."""
        for _ in range(TRIES):
            os.kill(self._pid, signal.SIGSTOP)
            deadline_s = time.monotonic() + STOP_TIMEOUT_S
            while not all(_state(thread) == "T" for thread in _threads(self._pid)):
                if time.monotonic() > deadline_s:
                    os.kill(self._pid, signal.SIGCONT)
                    raise Impossible(f"process {self._pid} does not stop")
                time.sleep(0.001)
            if not any(self._start <= _program_counter(thread) < self._end for thread in _threads(self._pid)):
                return
            os.kill(self._pid, signal.SIGCONT)
            time.sleep(0.001)
        raise Impossible(f"process {self._pid} asks for the time all the time")


def _with_seconds(code: bytes, seconds: int) -> bytes:
    return code.ljust(_aligned(len(code)), b"\xcc") + struct.pack("<q", seconds)


def _aligned(size: int) -> int:
    return (size + 7) & ~7


def _mapping(pid: int) -> tuple[int, int]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith("[vdso]"):
            start, _, end = line.split()[0].partition("-")
            return int(start, 16), int(end, 16)
    raise Impossible(f"process {pid} has no vDSO")


def _functions(image: bytes) -> dict[bytes, int]:
    """Where each function that is to be replaced begins in an ELF image (elf(5)). Raises Impossible if one has no room for ours."""
    headers_at, size, count = *struct.unpack_from("<Q", image, 32), *struct.unpack_from("<HH", image, 54)
    segments = [struct.unpack_from("<IIQ", image, headers_at + number * size) for number in range(count)]
    at = next(offset for kind, _, offset in segments if kind == _PT_DYNAMIC)
    tags: dict[int, int] = {}
    while (tag := struct.unpack_from("<qQ", image, at))[0]:
        tags[tag[0]] = tag[1]
        at += 16
    strings, symbols = tags[_DT_STRTAB], tags[_DT_SYMTAB]
    places: dict[bytes, int] = {}
    # The vDSO's table of names follows that of symbols or comes before it; its own end is in no header, so symbols are read until all were found.
    for entry in range(symbols, len(image) - 24, 24):
        name_at, _, value, room = struct.unpack_from("<IIQQ", image, entry)
        name = image[strings + name_at : image.find(b"\0", strings + name_at)] if strings + name_at < len(image) else b""
        if name in _CODE:
            if room < len(_with_seconds(_CODE[name], 0)) or value % 8:
                raise Impossible(f"this kernel's {name.decode()} leaves no room for another")
            places[name] = value
            if len(places) == len(_CODE):
                return places
    raise Impossible("this kernel's vDSO does not tell the time")


def _threads(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _state(thread: Path) -> str:
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "T"  # it ended


def _program_counter(thread: Path) -> int:
    try:
        words = (thread / "syscall").read_text().split()
    except OSError as error:
        raise Impossible(f"where a thread stands cannot be told: {error}") from None
    return int(words[-1], 16) if len(words) > 1 else 0
