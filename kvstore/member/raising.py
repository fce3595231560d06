"""Alarms that this member is raising: an alarm is a command like any other, and whoever was refused because of it is told when it stands.

One proposal an alarm at a time, however many are refused meanwhile. A lost one is forgotten at its deadline; the next reason raises it again.
"""

from typing import Any

_Alarm = tuple[int, int]
"""Member and type."""


class Raising:
    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._out: dict[_Alarm, tuple[float, list[Any]]] = {}

    def wanted(self, member_id: int, alarm: int, token: Any, now_s: float) -> bool:
        """`token` (or None) waits for the alarm. True: it is to be proposed, nobody has yet."""
        known = self._out.get((member_id, alarm))
        if known is None:
            self._out[member_id, alarm] = now_s + self._timeout_s, [token]
            return True
        known[1].append(token)
        return False

    def stands(self, member_id: int, alarm: int) -> list[Any]:
        """The alarm was applied; who waited for it."""
        known = self._out.pop((member_id, alarm), None)
        return [] if known is None else [token for token in known[1] if token is not None]

    def expire(self, now_s: float) -> list[Any]:
        """Who waited too long; their alarm is forgotten."""
        tokens = []
        for key in [key for key, (deadline_s, _) in self._out.items() if deadline_s <= now_s]:
            tokens += self.stands(*key)
        return tokens

    def drain(self) -> list[Any]:
        """All tokens, for when the member stops."""
        return self.expire(float("inf"))
