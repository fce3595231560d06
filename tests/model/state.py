"""The replicated state as a slow and obvious model: every version of every key in a list. Written from the published semantics, not from our code."""

from collections.abc import Iterable

from kvstore.encoding import KeyValue


class ModelState:
    """`write` and `remove` prepare changes of the next revision; `commit` makes that revision the current one if there are any.

    `put`, `delete` and the like are one change and its commit; they say whether they were allowed.
    """

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        """Versions superseded here are forgotten; 0: never compacted."""
        self.versions: dict[bytes, list[KeyValue]] = {}
        """Every version of a key in order; a deletion has version 0."""
        self.leases: dict[int, int] = {}
        """Granted seconds by id."""
        self.changes: list[KeyValue] = []
        """What the next revision changes so far."""

    # --- reading ------------------------------------------------------------------------------------------------------------

    def live(self, key: bytes, revision: int | None = None) -> KeyValue | None:
        """The version of a key at `revision`; None: as it is now, prepared changes included."""
        found = None
        for kv in self.versions.get(key, []):
            if revision is None or kv.mod_revision <= revision:
                found = kv
        return found if found is not None and found.version else None

    def range(self, key: bytes, end: bytes, revision: int | None = None) -> list[KeyValue]:
        return [kv for name in sorted(self.versions) if covers(key, end, name) and (kv := self.live(name, revision)) is not None]

    # --- changing -----------------------------------------------------------------------------------------------------------

    def write(self, key: bytes, value: bytes, lease: int = 0) -> None:
        before, at = self.live(key), self.revision + 1
        create, version = (before.create_revision, before.version + 1) if before else (at, 1)
        self._change(KeyValue(key, create, at, version, value, lease))

    def remove(self, keys: Iterable[bytes]) -> int:
        """How many of the keys were there."""
        doomed = sorted(key for key in keys if self.live(key))
        for key in doomed:
            self._change(KeyValue(key, 0, self.revision + 1, 0, b"", 0))
        return len(doomed)

    def _change(self, kv: KeyValue) -> None:
        self.versions.setdefault(kv.key, []).append(kv)
        self.changes.append(kv)

    def commit(self) -> list[KeyValue]:
        """The changes that were prepared; with any, the revision moves by one (REV-2, REV-3)."""
        changes, self.changes = self.changes, []
        self.revision += bool(changes)
        return changes

    def put(self, key: bytes, value: bytes, lease: int = 0) -> bool:
        if lease and lease not in self.leases:
            return False
        self.write(key, value, lease)
        self.commit()
        return True

    def delete_range(self, key: bytes, end: bytes) -> int:
        deleted = self.remove([kv.key for kv in self.range(key, end)])
        self.commit()
        return deleted

    def grant(self, lease: int, ttl_s: int) -> bool:
        if lease in self.leases:
            return False
        self.leases[lease] = ttl_s
        return True

    def revoke(self, lease: int) -> bool:
        """Its keys go in one revision (REV-7)."""
        if lease not in self.leases:
            return False
        self.remove(self.attached(lease))
        self.commit()
        del self.leases[lease]
        return True

    def attached(self, lease: int) -> list[bytes]:
        return [key for key in sorted(self.versions) if (kv := self.live(key)) is not None and kv.lease == lease]

    def compact(self, revision: int) -> bool:
        if revision <= self.compacted or revision > self.revision:
            return False
        self.compacted = revision
        return True


def covers(key: bytes, end: bytes, candidate: bytes) -> bool:
    """Is `candidate` in the range (RNG-1)?"""
    if not end:
        return candidate == key
    return candidate >= key and (end == b"\x00" or candidate < end)
