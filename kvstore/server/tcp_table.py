"""What the machine knows of its TCP connections (Linux: /proc/net/tcp, proc(5)).

Reading costs about 1 us a connection of the whole network namespace; callers ask every few seconds, and only for those who wait.
"""

import socket
from ipaddress import ip_address
from pathlib import Path

_TABLES = {socket.AF_INET: Path("/proc/net/tcp"), socket.AF_INET6: Path("/proc/net/tcp6")}
_ESTABLISHED = "01"


def is_connected(client: tuple[str, int], server: tuple[str, int]) -> bool:
    """False only if the client has closed its connection to our port, or half of it, as Go's HTTP server sees that, too."""
    try:
        family = socket.AF_INET6 if ip_address(client[0]).version == 6 else socket.AF_INET
        lines = _TABLES[family].read_text().splitlines()
    except (ValueError, OSError):
        return True  # no TCP, or no such table: nobody can tell
    remote, port = _as_listed(family, *client), f":{server[1]:04X}"
    for line in lines:
        if remote in line:
            _, local, other, state, *_ = line.split()
            if other == remote and local.endswith(port):
                return state == _ESTABLISHED
    return False


def _as_listed(family: socket.AddressFamily, host: str, port: int) -> str:
    """Words of four bytes, each in the order of a little-endian machine, in hexadecimal."""
    packed = socket.inet_pton(family, host)
    words = (packed[at : at + 4][::-1].hex().upper() for at in range(0, len(packed), 4))
    return f"{''.join(words)}:{port:04X}"
