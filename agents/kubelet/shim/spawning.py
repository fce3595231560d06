"""How a process comes into a container's process namespace, and what it tells the shim on the way.

Into a namespace that is new, a child of the shim is born as the first process: nobody is there who could touch it, and it mounts /proc, puts off its
rights and becomes the program.

Into a namespace where a container lives already, nothing may be born that has more than the container: with CAP_SYS_PTRACE it could take such a
process over before it has put its rights off. A child of the shim, invisible there, does all the work outside: root, user, capabilities, seccomp,
closing of descriptors. Only then it clones, as one more child of the shim, the process that is seen inside and has nothing left to do but to become
the program.

Messages to the shim carry the sender's number, set by the kernel: what the process inside says about anybody but itself counts for nothing.
"""

import contextlib
import os
import select
import signal
import socket
import struct
from collections.abc import Callable

from agents.kubelet.shim import kernel

TERMINAL, BORN, FAILED = b"T", b"B", b"F"
"""First byte of a message: a terminal's other side comes with it; the number of the process inside; why it came to nothing."""
MESSAGE_BYTES_MAX = 4096
PATIENCE_S = 50.0
"""A process of a container that somebody holds up must not hold up its shim."""

Child = Callable[[int], None]
"""Runs in the forked process, with the socket on which it reports; never returns."""


class Failed(Exception):
    """Told to the kubelet in place of an answer."""


def spawn(child: Child, stdio_ends: tuple[int, ...] = (), *, new_namespace: int | None = None) -> tuple[int, int]:
    """Fork `child`; with `new_namespace`, the descriptor of the shim's own, into a process namespace of its own.

    Returns the number of the process that became the program, and its terminal's other side (-1 without one); raises Failed with what was reported.
    The ends in `stdio_ends` are closed here.
    """
    told, telling = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    told.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    try:
        if new_namespace is not None:
            kernel.unshare(kernel.CLONE_NEWPID)
        first = os.fork()
        if first == 0:
            child(telling.fileno())
            os._exit(128)
    except OSError as error:
        told.close()
        raise Failed(str(error.strerror)) from None
    finally:
        if new_namespace is not None:
            # Only children are in the namespace, and only until the next one.
            kernel.setns(new_namespace, kernel.CLONE_NEWPID)
        telling.close()
        for fd in stdio_ends:
            os.close(fd)
    with told:
        pid, terminal, text = _report(told, first)
    if pid != first:
        _end(first, 0)  # its work was done when it had told of the other one
    if text:
        if terminal >= 0:
            os.close(terminal)
        _end(pid, signal.SIGKILL)
        raise Failed(text)
    return pid, terminal


def _end(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, number)
        os.waitpid(pid, 0)


def _report(told: socket.socket, first: int) -> tuple[int, int, str]:
    """Process, terminal, and text of a failure: when all who could tell more have become programs, or are gone."""
    pid, terminal, texts = first, -1, {}
    born = False
    while True:
        if not _readable(told, PATIENCE_S):
            return pid, terminal, f"it did not begin within {PATIENCE_S:g} s"
        data, sender, fds = _receive(told)
        if not data:
            break
        if fds and (sender != first or terminal >= 0 or not data.startswith(TERMINAL)):
            for fd in fds:
                os.close(fd)
        elif fds:
            terminal = fds[0]
        elif data.startswith(BORN) and sender == first:
            born, pid = True, int(data[1:])
        elif data.startswith(FAILED):
            texts[sender] = data[1:].decode(errors="replace") or "failed"
    return pid, terminal, texts.get(first) or (texts.get(pid, "") if born else "")


def _receive(told: socket.socket) -> tuple[bytes, int, list[int]]:
    """A message, its sender's process and descriptors that came with it."""
    room = socket.CMSG_SPACE(struct.calcsize("3i")) + socket.CMSG_SPACE(4)
    data, ancillary, _, _ = told.recvmsg(MESSAGE_BYTES_MAX, room, socket.MSG_CMSG_CLOEXEC)
    sender, fds = 0, []
    for _, kind, content in ancillary:
        if kind == socket.SCM_CREDENTIALS:
            sender = struct.unpack("3i", content[: struct.calcsize("3i")])[0]
        elif kind == socket.SCM_RIGHTS:
            fds += [fd for (fd,) in struct.iter_unpack("i", content[: len(content) // 4 * 4])]
    return data, sender, fds


def _readable(told: socket.socket, patience_s: float) -> bool:
    poll = select.poll()
    poll.register(told, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(patience_s * 1000))


def hand_over(told: int) -> None:
    """Go on inside: the caller ends here, and the new process, a child of the shim, returns. It was told of by the one it comes from."""
    pid = kernel.clone_sibling()
    if pid:
        os.write(told, BORN + str(pid).encode())
        os._exit(0)
    os.setsid()
