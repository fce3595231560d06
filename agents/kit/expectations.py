"""What a controller asked for and has not seen in its cache yet (pkg/controller/controller_utils.go, UIDTrackingControllerExpectations).

A cache is a moment behind. A controller that made three pods, looks again at once and sees none of them, would make three more: so it says beforehand
how many it expects to see, and does nothing to that owner until they have come, or until so much time has passed that an event must have been lost.
Deletions are expected by uid: the same pod is seen to go several times (it is marked, then removed).
"""

from collections.abc import Callable, Iterable

TIMEOUT_S = 300.0


class _Expected:
    __slots__ = ("creations", "deletions", "since_s")

    def __init__(self, since_s: float) -> None:
        self.creations = 0
        self.deletions: set[str] = set()
        self.since_s = since_s


class Expectations:
    """`now_s` is a monotonic clock. Keys are of owners."""

    def __init__(self, now_s: Callable[[], float], timeout_s: float = TIMEOUT_S) -> None:
        self._now_s, self._timeout_s = now_s, timeout_s
        self._expected: dict[str, _Expected] = {}

    def satisfied(self, key: str) -> bool:
        """Whether all that was asked for has been seen, or is not to be waited for any longer."""
        expected = self._expected.get(key)
        if expected is None:
            return True
        return (expected.creations <= 0 and not expected.deletions) or self._now_s() - expected.since_s > self._timeout_s

    def expect_creations(self, key: str, count: int) -> None:
        self._current(key).creations += count

    def expect_deletions(self, key: str, uids: Iterable[str]) -> None:
        self._current(key).deletions.update(uids)

    def creation_observed(self, key: str, count: int = 1) -> None:
        """Seen, or known to have failed: then it will never be seen."""
        expected = self._expected.get(key)
        if expected is not None:
            expected.creations = max(expected.creations - count, 0)

    def deletion_observed(self, key: str, uid: str) -> None:
        expected = self._expected.get(key)
        if expected is not None:
            expected.deletions.discard(uid)

    def forget(self, key: str) -> None:
        """The owner is gone."""
        self._expected.pop(key, None)

    def _current(self, key: str) -> _Expected:
        expected = self._expected.get(key)
        if expected is None or self.satisfied(key):
            expected = self._expected[key] = _Expected(self._now_s())
        return expected
