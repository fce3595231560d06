"""What connections make us keep: request bodies that are not complete, answers that they do not take.

Each is bounded by itself (a message by its limit), but a stranger may open as many streams as he likes and leave each at that point: three seconds
of it cost etcd 2 GB. So the sum is bounded: when it passes the limit, the connection that holds the most is hung up on. Who behaves holds
little, for milliseconds.
"""

from collections.abc import Callable
from typing import Any

FREE_ANSWER_BYTES = 32 << 10
"""Answers up to this size are not counted: the common ones, for which a microsecond matters. How many can wait is bounded by the open requests."""


class Held:
    """The sum, and each connection's share in it. `hang_up` is set by whoever owns the connections."""

    def __init__(self, bytes_max: int) -> None:
        self.hang_up: Callable[[Any], None] = _nobody
        self.total = 0
        self.by_client: dict[Any, int] = {}
        self._gone: dict[Any, int] = {}
        self._bytes_max = bytes_max

    def add(self, client: Any, size: int) -> None:
        """`client` makes us keep `size` bytes more, or less if it is negative."""
        if client in self._gone:
            self._settle(client, size)
            return
        self.total += size
        own = self.by_client.get(client, 0) + size
        if own:
            self.by_client[client] = own
        else:
            self.by_client.pop(client, None)
        if self.total > self._bytes_max and size > 0:
            self._give_up(max(self.by_client, key=self.by_client.__getitem__))

    def _give_up(self, client: Any) -> None:
        """Its requests end in the next turns of the loop; what they hold until then counts no more, or the next in size would go, too."""
        self._gone[client] = self.by_client.pop(client)
        self.total -= self._gone[client]
        self.hang_up(client)

    def _settle(self, client: Any, size: int) -> None:
        self._gone[client] += size
        if not self._gone[client]:
            del self._gone[client]


def _nobody(_client: Any) -> None:
    """Where no server is around the application."""


class Share:
    """What one request holds; to be closed with it."""

    __slots__ = ("_client", "_held", "_size")

    def __init__(self, held: Held, client: Any) -> None:
        self._held = held
        self._client = client
        self._size = 0

    def set(self, size: int) -> None:
        if size != self._size:
            more, self._size = size - self._size, size
            self._held.add(self._client, more)

    def __enter__(self) -> "Share":
        return self

    def __exit__(self, *_error: object) -> None:
        self.set(0)
