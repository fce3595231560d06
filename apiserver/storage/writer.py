"""What the server itself writes, past admission: default roles, system objects (`Writer` in apiserver.request)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apiserver.machinery.objects import Object, metadata, name_of, namespace_of
from apiserver.request import Change
from apiserver.storage.keys import key
from apiserver.storage.objects import Removed

if TYPE_CHECKING:
    from apiserver.app import App


class _Absent(Exception):
    pass


class SystemWriter:
    """Raises StoreError besides what `change` raises."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def create(self, resource: str, obj: Object) -> bool:
        app = self._app
        served = app.registry.by_qualified(resource)
        assert served is not None, f"{resource} is not served"
        where = key(served.prefix, namespace_of(obj), name_of(obj))
        if app.caches.of(served).get(where) is not None:
            return False  # every start asks for all of them
        meta = {**metadata(obj), "uid": app.new_uid(), "creationTimestamp": app.now()}
        return await app.objects.create(served.prefix, where, {**obj, "metadata": meta}) is not None

    async def update(self, resource: str, namespace: str, name: str, change: Change) -> Object | None:
        app = self._app
        served = app.registry.by_qualified(resource)
        assert served is not None, f"{resource} is not served"
        where = key(served.prefix, namespace, name)

        async def step(current: Object | None) -> Object | Removed:
            if current is None:
                raise _Absent
            return change(current)

        try:
            row = await app.objects.update(served.prefix, where, step)
        except _Absent:
            return None
        return row.obj
