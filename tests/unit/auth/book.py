"""A state machine whose accounts tests ask and change: entries go in one after the other, as a named user or as the cluster."""

from typing import Any

from kvstore.accounts import CLUSTER, AuthEnable, Caller, Permission, RoleAdd, RoleGrantPermission, UserAdd, UserGrantRole
from kvstore.errors import StoreError
from kvstore.ids import Index, Term
from kvstore.statemachine.machine import Machine
from kvstore.storage.memory_engine import MemoryDisk

READ, WRITE, READWRITE = 0, 1, 2


class Book:
    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self._open()

    def _open(self) -> None:
        engine = self.disk.open_state()
        self.machine = Machine(engine)
        self.machine.begin(engine.begin_write())

    def restart(self) -> None:
        self.machine.seal()
        self.machine.transaction.commit()
        self.disk.crash()
        self._open()

    @property
    def revision(self) -> int:
        return self.machine.accounts.revision

    def now(self, name: str) -> Caller:
        """This user, as things are now."""
        return Caller(name, self.revision)

    def outcome(self, command: Any, caller: Caller = CLUSTER) -> Any:
        return self.machine.apply(Index(self.machine.applied_index + 1), Term(1), command, caller.name, caller.revision)

    def do(self, command: Any, caller: Caller = CLUSTER) -> Any:
        """Raises if it is refused."""
        outcome = self.outcome(command, caller)
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    def add_root(self) -> None:
        self.do(UserAdd("root", b"hash"))
        self.do(UserGrantRole("root", "root"))

    def add(self, user: str, *permissions: Permission) -> None:
        """A user with a role of his own, of the same name."""
        self.do(UserAdd(user, b"hash"))
        self.do(RoleAdd(user))
        self.do(UserGrantRole(user, user))
        for permission in permissions:
            self.do(RoleGrantPermission(user, permission))


def guarded_book(*permissions: Permission) -> Book:
    """Authentication is on; "ann" has these permissions."""
    book = Book()
    book.add_root()
    book.add("ann", *permissions)
    book.do(AuthEnable())
    return book
