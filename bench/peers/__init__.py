"""How each system under measurement is started, and with which settings."""

from collections.abc import Callable

from bench.peers.base import Missing, Peer
from bench.peers.servers import KINDS, Server, kind_of

OTHERS: dict[str, Callable[[], Peer]] = {}
"""Systems that have no etcd API."""

NAMES = (*KINDS, *OTHERS)


def peer(text: str) -> Peer:
    """By its name; or NAME=COMMAND for another build with etcd's command line. Raises Missing."""
    if text in OTHERS:
        return OTHERS[text]()
    if "=" not in text and text not in KINDS:
        raise Missing(f"no peer {text!r}; there are {', '.join(NAMES)}, or NAME=COMMAND")
    return Server(kind_of(text))
