"""Between an object's JSON and the bytes in the store: nothing, or encryption. One transformer a resource."""

from typing import Protocol


class Transformer(Protocol):
    """`key` is where the value stands: encryption binds the value to it, so that nobody swaps two values. Both raise ValueError."""

    def to_storage(self, value: bytes, key: bytes) -> bytes: ...
    def from_storage(self, value: bytes, key: bytes) -> bytes: ...


class Plain:
    def to_storage(self, value: bytes, key: bytes) -> bytes:
        return value

    def from_storage(self, value: bytes, key: bytes) -> bytes:
        return value


PLAIN = Plain()
