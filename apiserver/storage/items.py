"""What the watch cache holds: objects decoded once and encoded once, for however many readers."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from apiserver.machinery.objects import Object
from apiserver.registry.registry import Served

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"

WAYS_MAX = 2
"""Of converting an object to one version."""

_encode = msgspec.json.Encoder().encode


T = TypeVar("T")


def batches(items: Iterable[T], size_of: Callable[[T], int], count_max: int, bytes_max: int) -> Iterator[list[T]]:
    """So many at once as `count_max` and `bytes_max` allow; what is larger comes alone."""
    batch: list[T] = []
    size_bytes = 0
    for each in items:
        if batch and (len(batch) == count_max or size_bytes + size_of(each) > bytes_max):
            yield batch
            batch, size_bytes = [], 0
        batch.append(each)
        size_bytes += size_of(each)
    if batch:
        yield batch


class Item:
    """One object at one revision. Its forms in the versions of the API, and their bytes, are made when first wanted and kept."""

    __slots__ = ("_bytes", "_forms", "key", "name", "namespace", "obj", "revision", "size_bytes")

    def __init__(self, key: str, obj: Object, revision: int, size_bytes: int = 0) -> None:
        """`size_bytes`: how large it is in the store."""
        self.key = key
        self.obj = obj
        """As stored, with its resourceVersion. Shared: never change it."""
        self.revision = revision
        self.size_bytes = size_bytes
        meta = obj["metadata"]
        self.namespace: str = meta.get("namespace") or ""
        self.name: str = meta.get("name") or ""
        self._forms: dict[str, Object] = {}
        self._bytes: dict[str, bytes] = {}

    def form(self, served: Served) -> Object:
        found = self._forms.get(served.form)
        if found is None:
            found = self._forms[served.form] = served.in_version(self.obj)
        return found

    def has_form(self, served: Served) -> bool:
        return self.obj.get("apiVersion") == served.resource.api_version or served.form in self._forms

    def keep_form(self, served: Served, obj: Object) -> None:
        """What somebody else made of it. Of one version the last ways are kept, so that a watch from before the way was changed and a list from after
        take nothing from each other."""
        version = served.resource.api_version
        ways = [form for form in self._forms if form.partition("#")[0] == version and form != served.form]
        for old in ways[: 1 - WAYS_MAX]:
            self._forms.pop(old)
            self._bytes.pop(old, None)
        self._forms[served.form] = obj

    def encoded(self, served: Served) -> bytes:
        found = self._bytes.get(served.form)
        if found is None:
            found = self._bytes[served.form] = _encode(self.form(served))
        return found

    def at(self, revision: int) -> "Item":
        """The same state told under a later resourceVersion: what a watcher is shown of an object that it sees no more."""
        obj = {**self.obj, "metadata": {**self.obj["metadata"], "resourceVersion": str(revision)}}
        return Item(self.key, obj, revision, self.size_bytes)


class Event:
    """One change of one object. `item` is the state after it, of a deletion the last state under the deletion's revision; `before` the one before."""

    __slots__ = ("_left", "before", "item", "revision", "type")

    def __init__(self, type: str, item: Item, before: Item | None) -> None:
        self.type = type
        self.item = item
        self.before = before
        self.revision = item.revision
        self._left: Item | None = None

    def left(self) -> Item:
        """For a watcher whose selector matched before and does not any more: the state of before, under this revision."""
        if self._left is None:
            assert self.before is not None
            self._left = self.before.at(self.revision)
        return self._left


Line = tuple[bytes, bytes, bytes]
"""What comes before the object, its bytes as all watchers share them, what comes after."""

_HEADS = {type: b'{"type":"' + type.encode() + b'","object":' for type in (ADDED, MODIFIED, DELETED, "BOOKMARK", "ERROR")}


def line(type: str, encoded: bytes) -> Line:
    return _HEADS[type], encoded, b"}\n"


def document(type: str, obj: Any) -> Line:
    return line(type, _encode(obj))
