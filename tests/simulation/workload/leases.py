"""Owners of leases: each is granted one, hangs a key on it, renews it for a while, and then revokes it or walks away."""

from typing import TYPE_CHECKING

from msgspec import Struct

from kvstore.errors import LeaseNotFound, StoreError
from kvstore.ids import LeaseId
from kvstore.model import LeaseGrant, LeaseGrantResult, LeaseRevoke, Put, PutResult
from tests.simulation.checkers.leases import LeaseChecker
from tests.simulation.workload.clients import Record, Store

if TYPE_CHECKING:
    import random

PATIENCE_S = 1.5
"""A question without an answer is asked again, elsewhere, after this long."""


class KeepAlive(Struct, frozen=True):
    """A client's renewal; the answer is the TTL, 0 if there is no such lease."""

    lease_id: LeaseId


class LeaseOwner:
    def __init__(self, store: Store, record: Record, checker: LeaseChecker, number: int) -> None:
        self.store = store
        self.record = record
        self.checker = checker
        self.number = number
        self.rng: random.Random = store.timeline.random(f"lease owner {number}")
        self.stopped = False
        self.attached = 0
        self._life = 0
        self._grants = 0
        self._begin()

    def _begin(self) -> None:
        self._life += 1
        if not self.stopped:
            self.store.timeline.after(self.rng.expovariate(0.5), self._grant, self._life)

    def _ask(self, request: object, answered: object) -> None:
        self.store.ask(self.rng.choice(self.store.client_members()), request, answered)  # type: ignore[arg-type]

    def _grant(self, life: int) -> None:
        self._grants += 1
        lease_id = self.number * 1_000_000 + self._grants
        called_s = self.store.timeline.now_s

        def answered(result: object) -> None:
            if life != self._life:
                return
            if isinstance(result, LeaseGrantResult):
                self.checker.on_granted(result.id, result.ttl_s, called_s)
                self._attach(life, result.id)
                self._renew(life, result.id, self.rng.randrange(8))
            else:
                self._begin()

        self._ask(LeaseGrant(lease_id, self.rng.randrange(1, 10)), answered)
        # Nobody knows what became of a lost grant: if it happened, it has to end by itself.
        self.store.timeline.after(4 * PATIENCE_S, self._begin_if, life, self._grants)

    def _begin_if(self, life: int, grants: int) -> None:
        if life == self._life and grants == self._grants and not self.checker.leases.get(self.number * 1_000_000 + grants):
            self._begin()

    def _attach(self, life: int, lease_id: LeaseId) -> None:
        def answered(result: object) -> None:
            self.attached += isinstance(result, PutResult)

        value = self.record.new_value(self.store.options.value_bytes)
        self._ask(Put(b"l/%d" % lease_id, value, lease_id), answered)

    def _renew(self, life: int, lease_id: LeaseId, times: int) -> None:
        if life != self._life:
            return
        if times == 0 or self.stopped:
            if self.rng.random() < 0.4:
                self.checker.on_revoke_asked(lease_id)
                self._ask(LeaseRevoke(lease_id), _check_revoked)
            self._begin()
            return
        called_s = self.store.timeline.now_s
        self._ask(KeepAlive(lease_id), lambda result: self._renewed(lease_id, result, called_s))
        self.store.timeline.after(self.rng.uniform(0.3, PATIENCE_S), self._renew, life, lease_id, times - 1)

    def _renewed(self, lease_id: LeaseId, result: object, called_s: float) -> None:
        if isinstance(result, int) and result > 0:
            self.checker.on_renewed(lease_id, result, called_s)


def _check_revoked(result: object) -> None:
    assert not isinstance(result, StoreError) or not result.deterministic or isinstance(result, LeaseNotFound), f"revoke: {result!r}"
