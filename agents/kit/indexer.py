"""A cache of objects by key (`namespace/name`), and by whatever else is asked for often (client-go's tools/cache, ThreadSafeStore).

Objects in it are shared by everyone: never change one.
"""

from collections.abc import Callable, Iterable, Iterator

from apiserver.machinery.objects import Object, controller_of, key_of, namespace_of

IndexFunction = Callable[[Object], Iterable[str]]
"""The values under which an object is found in one index."""


def by_namespace(obj: Object) -> Iterable[str]:
    return (namespace_of(obj),)


def by_controller(obj: Object) -> Iterable[str]:
    """The uid of the owner that controls it; the empty string for those that nobody controls."""
    owner = controller_of(obj)
    return (str(owner["uid"]) if owner else "",)


def by_node(obj: Object) -> Iterable[str]:
    """The node that a pod is bound to; nothing for pods that wait for one."""
    node = (obj.get("spec") or {}).get("nodeName")
    return (node,) if node else ()


NAMESPACE, CONTROLLER, NODE = "namespace", "controller", "node"
STANDARD: dict[str, IndexFunction] = {NAMESPACE: by_namespace, CONTROLLER: by_controller}


class Indexer:
    def __init__(self, indexes: dict[str, IndexFunction] | None = None) -> None:
        self._objects: dict[str, Object] = {}
        self._functions = dict(indexes or {})
        self._indexes: dict[str, dict[str, set[str]]] = {name: {} for name in self._functions}

    def add_index(self, name: str, function: IndexFunction) -> None:
        """A further index, filled from what is there. The same name twice is the same index."""
        if name in self._functions:
            return
        self._functions[name] = function
        self._indexes[name] = {}
        for key, obj in self._objects.items():
            self._enter(name, key, obj)

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        """All objects as they are now; safe against changes while it is walked."""
        return iter(list(self._objects.values()))

    def keys(self) -> set[str]:
        return set(self._objects)

    def get(self, key: str) -> Object | None:
        return self._objects.get(key)

    def by(self, index: str, value: str) -> list[Object]:
        """The objects that an index holds under a value, in the order of their keys. Raises KeyError for an index that does not exist."""
        return [self._objects[key] for key in sorted(self._indexes[index].get(value, ()))]

    def put(self, obj: Object) -> Object | None:
        """The object that was there before."""
        key = key_of(obj)
        before = self._objects.get(key)
        if before is not None:
            self._leave(key, before)
        self._objects[key] = obj
        for name in self._functions:
            self._enter(name, key, obj)
        return before

    def remove(self, key: str) -> Object | None:
        before = self._objects.pop(key, None)
        if before is not None:
            self._leave(key, before)
        return before

    def _enter(self, name: str, key: str, obj: Object) -> None:
        for value in self._functions[name](obj):
            self._indexes[name].setdefault(value, set()).add(key)

    def _leave(self, key: str, obj: Object) -> None:
        for name, function in self._functions.items():
            index = self._indexes[name]
            for value in function(obj):
                held = index.get(value)
                if held is not None:
                    held.discard(key)
                    if not held:
                        del index[value]
