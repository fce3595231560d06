"""One watch request: its lines become events. Whoever wants to go on after its end asks again from the last resourceVersion (agents.kit.informer)."""

from collections.abc import AsyncIterator

import msgspec
from msgspec import Struct

from apiserver.client.errors import from_status
from apiserver.machinery.objects import Object

ADDED, MODIFIED, DELETED, BOOKMARK, ERROR = "ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""The annotation of the bookmark that ends the initial events of a watch-list."""
LINE_BYTES_MAX = 64 << 20
"""An object has 1.5 MiB at most; a line beyond this is no event."""


class WatchEvent(Struct, frozen=True):
    type: str
    object: Object

    @property
    def ends_initial_events(self) -> bool:
        annotations = (self.object.get("metadata") or {}).get("annotations") or {}
        return self.type == BOOKMARK and annotations.get(INITIAL_EVENTS_END) == "true"


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[WatchEvent]:
    """Events out of the bytes of an answer. Raises ApiError for an ERROR event (reason Expired: list again)."""
    decoder = msgspec.json.Decoder()
    rest: list[bytes] = []
    size = 0
    async for chunk in chunks:
        *whole, last = chunk.split(b"\n")
        for line in whole:
            if rest:
                line = b"".join([*rest, line])
                rest, size = [], 0
            if line.strip():
                yield _event(decoder.decode(line))
        if last:
            rest.append(last)
            size += len(last)
            if size > LINE_BYTES_MAX:
                raise from_status({"reason": "InternalError", "message": f"a line of a watch has more than {LINE_BYTES_MAX} bytes"})


def _event(document: Object) -> WatchEvent:
    if document["type"] == ERROR:
        raise from_status(document["object"])
    return WatchEvent(document["type"], document["object"])
