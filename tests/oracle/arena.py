"""A duel that is started once and used by many tests; after a mismatch the next user gets fresh servers."""

from pathlib import Path

from tests.oracle.duel import Duel
from tests.support.kinds import Kind


class Arena:
    def __init__(self, oracle: Kind, subject: Kind, folder: Path) -> None:
        self._oracle, self._subject, self._folder = oracle, subject, folder
        self._duel: Duel | None = None
        self._count = 0

    def enter(self) -> Duel:
        """Both sides empty, equal, and alive."""
        if self._duel is not None and self._duel.spent:
            self.close()
        if self._duel is None:
            self._count += 1
            self._duel = Duel(self._oracle, self._subject, self._folder / f"round-{self._count}")
        return self._duel

    def close(self) -> None:
        if self._duel is not None:
            self._duel.close()
            self._duel = None
