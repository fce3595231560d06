"""How many requests are worked on at once: reads and writes apart, watches uncounted (apiserver/pkg/server/filters/maxinflight.go).

Who comes when all places are taken is told to come back: a queue would only hold what its clients have given up already.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from apiserver.machinery.status import ApiError

READS_MAX = 400
WRITES_MAX = 200
LONG_VERBS = ("watch", "proxy", "connect")
LONG_SUBRESOURCES = ("log", "exec", "attach", "portforward", "proxy")
WRITE_VERBS = ("create", "update", "patch", "delete", "deletecollection")
RETRY_AFTER_S = 1


class Inflight:
    def __init__(self, reads_max: int = READS_MAX, writes_max: int = WRITES_MAX) -> None:
        """0 is no limit."""
        self.limits = {"readOnly": reads_max, "mutating": writes_max}
        self.running = {"readOnly": 0, "mutating": 0}
        self._ended = asyncio.Event()

    @contextmanager
    def place(self, verb: str, subresource: str = "", *, exempt: bool = False) -> Iterator[None]:
        """Raises ApiError (429). `exempt`: administrators (system:masters) must get in to mend what fills the places."""
        if verb in LONG_VERBS or subresource in LONG_SUBRESOURCES:
            yield
            return
        kind = "mutating" if verb in WRITE_VERBS else "readOnly"
        limit = self.limits[kind]
        if limit and self.running[kind] >= limit and not exempt:
            told = "the server has received too many requests and has asked us to try again later"
            raise ApiError("TooManyRequests", told, details={"retryAfterSeconds": RETRY_AFTER_S})
        self.running[kind] += 1
        try:
            yield
        finally:
            self.running[kind] -= 1
            self._ended.set()

    async def idle(self, timeout_s: float) -> None:
        """Until nothing is worked on, or for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                while any(self.running.values()):
                    self._ended.clear()
                    await self._ended.wait()
        except TimeoutError:
            return
