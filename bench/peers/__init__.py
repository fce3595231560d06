"""How each system under measurement is started, and with which settings."""

from collections.abc import Callable
from functools import partial

from bench.peers.base import Missing, Peer
from bench.peers.core import RaftCore
from bench.peers.pysyncobj import PySyncObj
from bench.peers.redis import Redis
from bench.peers.servers import KINDS, Server, kind_of
from bench.peers.zookeeper import ZooKeeper

OTHERS: dict[str, Callable[[], Peer]] = {
    "raft-core": RaftCore,
    "redis": Redis,
    "zookeeper": ZooKeeper,
    "pysyncobj": partial(PySyncObj, tuned=False),
    "pysyncobj-tuned": partial(PySyncObj, tuned=True),
}
"""Systems that have no etcd API."""

NAMES = (*KINDS, *OTHERS)


def peer(text: str) -> Peer:
    """By its name; or NAME=COMMAND for another build with etcd's command line. Raises Missing."""
    if text in OTHERS:
        return OTHERS[text]()
    if "=" not in text and text not in KINDS:
        raise Missing(f"no peer {text!r}; there are {', '.join(NAMES)}, or NAME=COMMAND")
    return Server(kind_of(text))
