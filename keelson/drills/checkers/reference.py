"""The store's whole history as the members applied it: what every read, watch and acknowledged write is held against."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol

from keelson.drills.checkers.violation import Violation
from kvstore.encoding import KeyValue, decode_key_value

FIRST_REVISION = 1
"""The revision of an empty store."""


class ChangedKey(Protocol):
    """One key's part of a change: its new version (a tombstone if `deleted`) and the one before, encoded as `mvccpb.KeyValue`."""

    @property
    def key(self) -> bytes: ...
    @property
    def deleted(self) -> bool: ...
    @property
    def kv(self) -> bytes: ...
    @property
    def prev_kv(self) -> bytes | None: ...


class Change(Protocol):
    """All that one revision changed, in order. Equal if all of it is."""

    @property
    def revision(self) -> int: ...
    @property
    def events(self) -> Sequence[ChangedKey]: ...


class Reference:
    def __init__(self) -> None:
        self.changes: dict[int, Change] = {}
        self.revision = FIRST_REVISION
        self._versions: dict[bytes, tuple[list[int], list[KeyValue | None]]] = {}
        """By key: the revisions at which it changed, and what it became."""
        self._written: dict[bytes, int] = {}
        """Value to the revision that wrote it: clients never write a value twice, except the empty one."""

    def on_changes(self, batch: Sequence[Change]) -> None:
        """A member applied `batch`; the first to do so writes history, the others must agree."""
        for change in batch:
            known = self.changes.get(change.revision)
            if known is None:
                self._add(change)
            elif known != change:
                raise Violation("the same outcome everywhere", f"revision {change.revision} is {known} and {change}")

    def _add(self, change: Change) -> None:
        if change.revision != self.revision + 1:
            raise Violation("revisions without gaps", f"{change.revision} came after {self.revision}")
        self.revision = change.revision
        self.changes[change.revision] = change
        for event in change.events:
            kv = None if event.deleted else decode_key_value(event.kv)
            revisions, versions = self._versions.setdefault(event.key, ([], []))
            revisions.append(change.revision)
            versions.append(kv)
            if kv is not None and kv.value and self._written.setdefault(kv.value, change.revision) != change.revision:
                raise Violation("applied once", f"value {kv.value!r} was written at {self._written[kv.value]} and at {change.revision}")

    def at(self, key: bytes, revision: int) -> KeyValue | None:
        """What `key` was as of `revision`."""
        revisions, versions = self._versions.get(key, ([], []))
        position = bisect_right(revisions, revision)
        return versions[position - 1] if position else None

    def range(self, prefix: bytes, revision: int) -> list[KeyValue]:
        """Everything under `prefix` as of `revision`, in key order."""
        keys = sorted(key for key in self._versions if key.startswith(prefix))
        return [kv for key in keys if (kv := self.at(key, revision)) is not None]

    def written_at(self, value: bytes) -> int | None:
        return self._written.get(value)
