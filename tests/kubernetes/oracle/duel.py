"""Two servers; every request goes to both, and their answers must be one. What was not is collected, so that one run tells all of it."""

import copy

from msgspec import Struct

from tests.kubernetes.oracle.differences import expected
from tests.kubernetes.oracle.normal import Names, Plain
from tests.kubernetes.oracle.requests import Request
from tests.kubernetes.oracle.sides import Side
from tests.support.compare import differences

HISTORY = 12


class Mismatch(Struct, frozen=True):
    request: str
    lines: tuple[str, ...]
    history: tuple[str, ...]

    def text(self) -> str:
        return "\n".join((self.request, *(f"  {line}" for line in self.lines)))


def without_versions(request: Request, answer: Plain) -> bool:
    """The objects of a collection are deleted side by side, so the order of their revisions is nobody's promise: whether this was such a request."""
    if request.method != "DELETE" or not request.path.endswith(("widgets", "gadgets")):
        return False
    for item in (answer["body"].get("items") or ()) if isinstance(answer["body"], dict) else ():
        item["metadata"].pop("resourceVersion", None)
    return True


class Duel:
    def __init__(self, genuine: Side, ours: Side) -> None:
        self.genuine, self.ours = genuine, ours
        self.found: list[Mismatch] = []
        self.asked = 0
        self._log: list[str] = []

    def begin(self) -> None:
        """Nothing told so far is remembered."""
        for side in (self.genuine, self.ours):
            side.forget()
        self._log.clear()

    def ask(self, request: Request) -> tuple[Plain, Plain]:
        return self._compared(request, self.genuine.ask(request))

    def recorded(self, request: Request) -> Plain:
        """The genuine answer, before anything that is meant to differ was taken out."""
        told = self.genuine.ask(request)
        kept = copy.deepcopy(told)
        without_versions(request, kept)
        self._compared(request, told)
        return kept

    def _compared(self, request: Request, one: Plain) -> tuple[Plain, Plain]:
        self.asked += 1
        self._log.append(request.brief())
        other = self.ours.ask(request)
        for side, answer in ((self.genuine, one), (self.ours, other)):
            if without_versions(request, answer):
                side.memory.names = Names()
        one, other = expected(request, one, other)
        lines = tuple(differences(one, other))
        if lines:
            self.found.append(Mismatch(request.brief(), lines, tuple(self._log[-HISTORY:])))
            self._reconcile(request)
        return one, other

    def _reconcile(self, request: Request) -> None:
        """After a mismatch the two may hold different states: what it was about goes, and the counting begins again."""
        for side in (self.genuine, self.ours):
            if request.method != "GET":
                side.remove(request.subject)
            side.memory.names = Names()
