"""A process that holds the proxy's listening sockets and does nothing else: `python -m agents.proxy.keeper`, started by the proxy itself.

While a proxy is away (killed, or being restarted) the kernel goes on taking connections and datagrams for sockets that somebody holds, and the next
proxy finds them waiting: a client sees an answer that took a second longer, and no refusal. Without a proxy for `IDLE_S` the keeper ends.

One message is one packet: `+KEY` with a socket keeps it, `-KEY` lets it go, `*` lets all go, `=` is answered with `.` once everything before it is
done, `?` asks for all (each comes as `+KEY`, then `.`), `!` ends the keeper.
Nothing but the standard library is imported: it shall be small.
"""

import array
import contextlib
import os
import select
import socket
import struct
import sys

ADDRESS = "\0keelson-proxy"
"""An abstract address: each network namespace has its own, and it goes with its process."""
IDLE_S = 30.0
KEY_BYTES_MAX = 200
SOCKETS_MAX = 20_000


def send(connection: socket.socket, message: bytes, bound: int | None = None) -> None:
    """Raises OSError."""
    rights = [] if bound is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [bound]))]
    connection.sendmsg([message], rights)


def receive(connection: socket.socket) -> tuple[bytes, int | None]:
    """Nothing at the end. Raises OSError."""
    numbers = array.array("i")
    message, ancillary, _, _ = connection.recvmsg(KEY_BYTES_MAX, socket.CMSG_SPACE(numbers.itemsize))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: numbers.itemsize])
    return message, numbers[0] if numbers else None


def is_of_the_node(connection: socket.socket) -> bool:
    """Whether the other side is a process of our own user and process namespace: in a node's network there are pods, too, whose root is root."""
    process, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    try:
        its, own = (os.stat(f"/proc/{each}/ns/pid") for each in (process, "self"))  # noqa: PTH116 - small, as said above
    except OSError:
        return False
    return user == os.geteuid() and its.st_ino == own.st_ino


def main(address: str = ADDRESS, idle_s: float = IDLE_S) -> int:
    """`address` may begin with `@` for an abstract one, as it can stand on a command line."""
    address = f"\0{address[1:]}" if address.startswith("@") else address
    kept: dict[bytes, int] = {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        try:
            listening.bind(address)
        except OSError:
            return 0  # there is one
        listening.listen(4)
        while select.select([listening], [], [], idle_s)[0]:
            connection, _ = listening.accept()
            with connection:
                try:
                    if not is_of_the_node(connection):
                        continue
                    if not _serve(connection, kept):
                        break
                except OSError:
                    continue  # the proxy is gone: wait for the next one
    return 0


def _serve(connection: socket.socket, kept: dict[bytes, int]) -> bool:
    """One proxy, until it goes. False: it wants the keeper to end."""
    while True:
        message, bound = receive(connection)
        verb, key = message[:1], message[1:]
        if verb == b"+" and bound is not None:
            if (before := kept.pop(key, None)) is not None:
                os.close(before)
            if len(kept) < SOCKETS_MAX:
                kept[key] = bound
            else:
                os.close(bound)
        elif verb == b"-":
            with contextlib.suppress(KeyError):
                os.close(kept.pop(key))
        elif verb == b"*":
            while kept:
                os.close(kept.popitem()[1])
        elif verb == b"=":
            send(connection, b".")
        elif verb == b"?":
            for each, number in kept.items():
                send(connection, b"+" + each, number)
            send(connection, b".")
        elif verb == b"!":
            return False
        elif not message:
            return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ADDRESS))
