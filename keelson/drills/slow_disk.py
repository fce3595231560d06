"""Run a command whose flushes to disk take longer: `python -I -S slow_disk.py CONTROL COMMAND...`, CONTROL being a file that says by how much.

A filter of system calls (seccomp(2), user notification) has the kernel ask before each fsync, fdatasync, msync, sync_file_range and pwritev2; a
process beside the command lets the call wait for as long as CONTROL says (seconds, as eight bytes of a little-endian double) and then lets the
kernel do it. No rights are needed, it works for programs without any library in between, other calls cost nothing more, and the delay can change
while the command runs; flushes of several threads wait side by side. pwritev2 is among them because it can write and flush in one (RWF_DSYNC), as
Keelson's journal does. What is written through a file opened for synchronous writing is not delayed.
"""

import ctypes
import fcntl
import heapq
import mmap
import os
import platform
import select
import signal
import socket
import struct
import sys
import time

CONTROL_BYTES = 8

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER = 1
_NEW_LISTENER, _WAIT_KILLABLE = 1 << 3, 1 << 5
_ASK, _ALLOW = 0x7FC00000, 0x7FFF0000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_GO_ON = 1
_NOTICE = struct.Struct("<QII64s")
_REPLY = struct.Struct("<QqiI")

# The calls' numbers, the machine as the kernel's audit names it, and the number of seccomp itself.
_MACHINES = {
    "x86_64": ((74, 75, 26, 277, 328), 0xC000003E, 317),
    "aarch64": ((82, 83, 227, 84, 287), 0xC00000B7, 277),
}


def why_not() -> str | None:
    """Why no command can be slowed down here."""
    if platform.machine() not in _MACHINES:
        return f"slows flushes down on {' and '.join(_MACHINES)} only, this is {platform.machine()}"
    libc = ctypes.CDLL(None, use_errno=True)
    action = ctypes.c_uint32(_ASK)
    if libc.syscall(_MACHINES[platform.machine()][2], 2, 0, ctypes.byref(action)) != 0:  # SECCOMP_GET_ACTION_AVAIL
        return f"the kernel's seccomp cannot ask a process: {os.strerror(ctypes.get_errno())}"
    return None


class Delay:
    """What the process beside the command goes by; for whoever starts it. The file stays until its folder goes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.set(0.0)

    def set(self, seconds: float) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(handle, struct.pack("<d", seconds), 0)
        finally:
            os.close(handle)


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("size", ctypes.c_uint16), ("code", ctypes.POINTER(_Instruction)))


def main() -> None:
    control, command = sys.argv[1], sys.argv[2:]
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        _beside(theirs, control)
        os._exit(0)
    theirs.close()
    listener = _filter()
    socket.send_fds(ours, [b"x"], [listener])
    ours.close()
    os.close(listener)
    os.execvp(command[0], command)


def _filter() -> int:
    """Install the filter for this process and what becomes of it; the handle at which the kernel asks."""
    calls, machine, seccomp = _MACHINES[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    load, equal, give = 0x20, 0x15, 0x06
    code = [_Instruction(load, 0, 0, 4), _Instruction(equal, 0, len(calls) + 1, machine), _Instruction(load, 0, 0, 0)]
    code += [_Instruction(equal, len(calls) - place, 0, call) for place, call in enumerate(calls)]
    code += [_Instruction(give, 0, 0, _ALLOW), _Instruction(give, 0, 0, _ASK)]
    program = _Program(len(code), (_Instruction * len(code))(*code))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    # With WAIT_KILLABLE (Linux 5.19) a signal, as Go's scheduler sends many, does not make the call begin anew.
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):
        listener = libc.syscall(seccomp, _SET_MODE_FILTER, flags, ctypes.byref(program))
        if listener >= 0:
            return int(listener)
    raise OSError(ctypes.get_errno(), "seccomp")


def _beside(theirs: socket.socket, control: str) -> None:
    """Answer the kernel until the command has ended. Whoever stops the command in good order must not stop this first: its last flushes need us."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _, handles, _, _ = socket.recv_fds(theirs, 1, 1)
    theirs.close()
    if not handles:
        return
    listener = handles[0]
    with open(control, "rb") as file:  # noqa: PTH123 - this runs before site-packages and costs each start its imports
        delay = mmap.mmap(file.fileno(), CONTROL_BYTES, prot=mmap.PROT_READ)
    ear = select.poll()
    ear.register(listener, select.POLLIN)
    waiting: list[tuple[float, int]] = []
    while True:
        timeout_ms = None if not waiting else max(0.0, (waiting[0][0] - time.monotonic()) * 1000)
        for _, event in ear.poll(timeout_ms):
            if event & select.POLLIN:
                _hear(listener, struct.unpack_from("<d", delay)[0], waiting)
            elif event & (select.POLLHUP | select.POLLERR):
                return
        now_s = time.monotonic()
        while waiting and waiting[0][0] <= now_s:
            _let_go(listener, heapq.heappop(waiting)[1])


def _hear(listener: int, delay_s: float, waiting: list[tuple[float, int]]) -> None:
    notice = bytearray(_NOTICE.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, notice)
    except OSError:
        return  # who asked is gone
    asked = _NOTICE.unpack(notice)[0]
    if delay_s <= 0:
        _let_go(listener, asked)
    else:
        heapq.heappush(waiting, (time.monotonic() + delay_s, asked))


def _let_go(listener: int, asked: int) -> None:
    try:
        fcntl.ioctl(listener, _SEND, bytearray(_REPLY.pack(asked, 0, 0, _GO_ON)))
    except OSError:
        return  # it was interrupted, and asks again


if __name__ == "__main__":
    main()
