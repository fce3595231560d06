"""The replicated state as a slow and obvious model: every version of every key in a list. Written from the published semantics, not from our code."""

from kvstore.encoding import KeyValue


class ModelState:
    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        self.versions: dict[bytes, list[KeyValue]] = {}
        """Every version of a key in order; a deletion has version 0."""
        self.leases: dict[int, int] = {}

    def live(self, key: bytes, revision: int | None = None) -> KeyValue | None:
        found = None
        for kv in self.versions.get(key, []):
            if revision is None or kv.mod_revision <= revision:
                found = kv
        return found if found is not None and found.version else None

    def range(self, key: bytes, end: bytes, revision: int | None = None) -> list[KeyValue]:
        def inside(candidate: bytes) -> bool:
            if not end:
                return candidate == key
            return candidate >= key and (end == b"\x00" or candidate < end)

        return [kv for name in sorted(self.versions) if inside(name) and (kv := self.live(name, revision)) is not None]

    def put(self, key: bytes, value: bytes, lease: int = 0) -> bool:
        if lease and lease not in self.leases:
            return False
        self.revision += 1
        before = self.live(key)
        create, version = (before.create_revision, before.version + 1) if before else (self.revision, 1)
        self.versions.setdefault(key, []).append(KeyValue(key, create, self.revision, version, value, lease))
        return True

    def delete(self, keys: list[bytes]) -> int:
        doomed = sorted(key for key in keys if self.live(key))
        if doomed:
            self.revision += 1
        for key in doomed:
            self.versions[key].append(KeyValue(key, 0, self.revision, 0, b"", 0))
        return len(doomed)

    def delete_range(self, key: bytes, end: bytes) -> int:
        return self.delete([kv.key for kv in self.range(key, end)])

    def grant(self, lease: int, ttl_s: int) -> bool:
        if lease in self.leases:
            return False
        self.leases[lease] = ttl_s
        return True

    def revoke(self, lease: int) -> bool:
        if self.leases.pop(lease, None) is None:
            return False
        self.delete([key for key in self.versions if (kv := self.live(key)) is not None and kv.lease == lease])
        return True

    def compact(self, revision: int) -> bool:
        if revision <= self.compacted or revision > self.revision:
            return False
        self.compacted = revision
        return True
