"""`Namespace`: the store as seen from below a prefix (clientv3/namespace).

    apps = Namespace(client, b"apps/")
    await apps.put(b"a", b"1")                  # the key apps/a
    await apps.get(b"\\0", b"\\0")                # every key below apps/, and none beside
    async with Session(apps) as session, Mutex(session, b"door"): ...

Keys are given and come back without the prefix: in ranges, writes, transactions and their comparisons, watches, and the keys of a lease. "From
key on" ends where the prefix does. What has no keys in it (leases, members, maintenance, compaction) is the whole store's, as is who may do what:
this is a view and no protection. The lock and election services keep to whole names.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from kvstore.client.around import Around
from kvstore.client.client import Client, prefix_end
from kvstore.client.watch import Watcher
from kvstore.errors import EmptyKey

FROM_KEY = b"\0"
"""As a range_end: no end."""


def interval(prefix: bytes, key: bytes, range_end: bytes) -> tuple[bytes, bytes]:
    """[key, range_end) below `prefix`, in whole keys. Raises EmptyKey: with a prefix before it, no server would."""
    if not key:
        raise EmptyKey
    if not range_end:
        return prefix + key, b""
    return prefix + key, prefix_end(prefix) if range_end == FROM_KEY else prefix + range_end


class Namespace(Around):
    """Whatever a client does, below `prefix`. The client stays its owner's to close."""

    def __init__(self, client: Client, prefix: bytes) -> None:
        super().__init__(client)
        self.prefix = prefix

    async def call(self, path: str, request: Any, *, is_read: bool) -> Any:
        translation = _TRANSLATIONS.get(path)
        if translation is None:
            return await self._client.call(path, request, is_read=is_read)
        into, out_of = translation
        request = type(request).FromString(request.SerializeToString())  # the caller's stays as it is
        into(request, self.prefix)
        answer = await self._client.call(path, request, is_read=is_read)
        out_of(answer, self.prefix)
        return answer

    def watch(self, key: bytes, range_end: bytes = b"", **options: Any) -> "NamespaceWatcher":
        return NamespaceWatcher(self._client, self.prefix, key, range_end, **options)


class NamespaceWatcher(Watcher):
    def __init__(self, client: Client, prefix: bytes, key: bytes, range_end: bytes, **options: Any) -> None:
        super().__init__(client, *interval(prefix, key, range_end), **options)
        self._prefix = prefix

    async def __aiter__(self) -> AsyncGenerator[Any, None]:
        async with aclosing(super().__aiter__()) as responses:
            async for response in responses:
                for event in response.events:
                    _strip(event.kv, self._prefix)
                    if event.HasField("prev_kv"):
                        _strip(event.prev_kv, self._prefix)
                yield response


# --- requests and answers -----------------------------------------------------------------------------------------------


def _into_range(request: Any, prefix: bytes) -> None:
    """Of RangeRequest, DeleteRangeRequest and Compare."""
    request.key, request.range_end = interval(prefix, request.key, request.range_end)


def _into_put(request: Any, prefix: bytes) -> None:
    request.key = interval(prefix, request.key, b"")[0]


def _into_txn(request: Any, prefix: bytes) -> None:
    for compare in request.compare:
        _into_range(compare, prefix)
    for operation in [*request.success, *request.failure]:
        which = operation.WhichOneof("request")
        if which is not None:  # the server refuses one that says nothing
            _INTO[which](getattr(operation, which), prefix)


def _into_nothing(request: Any, prefix: bytes) -> None:
    pass


def _strip(kv: Any, prefix: bytes) -> None:
    assert kv.key.startswith(prefix), f"{kv.key!r} came from below {prefix!r}"
    kv.key = kv.key[len(prefix) :]


def _out_of_range(answer: Any, prefix: bytes) -> None:
    for kv in answer.kvs:
        _strip(kv, prefix)


def _out_of_put(answer: Any, prefix: bytes) -> None:
    if answer.HasField("prev_kv"):
        _strip(answer.prev_kv, prefix)


def _out_of_delete(answer: Any, prefix: bytes) -> None:
    for kv in answer.prev_kvs:
        _strip(kv, prefix)


def _out_of_txn(answer: Any, prefix: bytes) -> None:
    for response in answer.responses:
        which = response.WhichOneof("response")
        if which is not None:
            _OUT_OF[which](getattr(response, which), prefix)


def _out_of_lease(answer: Any, prefix: bytes) -> None:
    """A lease may have keys that this view does not show."""
    answer.keys[:] = [key[len(prefix) :] for key in answer.keys if key.startswith(prefix)]


Translate = Callable[[Any, bytes], None]

_INTO: dict[str, Translate] = {
    "request_range": _into_range,
    "request_put": _into_put,
    "request_delete_range": _into_range,
    "request_txn": _into_txn,
}
_OUT_OF: dict[str, Translate] = {
    "response_range": _out_of_range,
    "response_put": _out_of_put,
    "response_delete_range": _out_of_delete,
    "response_txn": _out_of_txn,
}
_TRANSLATIONS: dict[str, tuple[Translate, Translate]] = {
    "/etcdserverpb.KV/Range": (_into_range, _out_of_range),
    "/etcdserverpb.KV/Put": (_into_put, _out_of_put),
    "/etcdserverpb.KV/DeleteRange": (_into_range, _out_of_delete),
    "/etcdserverpb.KV/Txn": (_into_txn, _out_of_txn),
    "/etcdserverpb.Lease/LeaseTimeToLive": (_into_nothing, _out_of_lease),
}
