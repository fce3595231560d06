"""`Leasing`: linearizable reads from memory, of keys to which nobody else writes meanwhile (clientv3/leasing).

    async with Leasing(client, b"leasing/") as store:
        await store.get(b"a")       # asks the server, and takes the key over
        await store.get(b"a")       # from memory
        await store.put(b"a", b"1") # goes to the server, and is remembered

    PREFIX/KEY      this key is somebody's, attached to his session; with the value REVOKE, another wants to write

The protocol, which only works if everybody who writes these keys keeps to it (this class, or etcd's Go library with the same prefix):

* whoever reads a key that is nobody's makes the leasing key in the same transaction, and may then answer from memory as long as the leasing key is
  there for certain: until his session ends, by his own clock (see `client.session`), or until he has let go of it;
* a write happens only if the leasing key is absent, or still the writer's own: that is compared in its transaction. If it is another's, the
  writer puts REVOKE there and waits until it is gone: the owner forgets the value first, and deletes the leasing key then;
* while a write is under way nothing is answered from memory, because others may see its effect before its answer has come back. A write whose
  outcome nobody knows may happen yet: then everything is forgotten, and a new session begins, whose leasing keys that write does not pass.

A key that is attached to a lease is not kept: it goes without anybody writing. What comes from memory carries the header with which it was learnt.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from keelson.cogs.tasks import TaskSet
from kvstore.client.around import Around
from kvstore.client.client import Client
from kvstore.client.contest import delete_if_unchanged, unchanged
from kvstore.client.namespace import interval
from kvstore.client.session import SESSION_TTL_S, Session
from kvstore.client.waiting import LOOK_AGAIN_S, deleted_or_late
from kvstore.client.writes import Touched, touched
from kvstore.errors import SessionExpired, StoreError
from kvstore.wire import messages

REVOKE = b"REVOKE"
KEYS_MAX = 10_000
"""So many keys are kept at most; further ones are read from the server."""
REST_S = 2.0
"""So long a key that another wanted is not taken over again: two who both read and write it would only pass it to and fro."""
AGAIN_S = 0.5

_RANGE, _PUT, _DELETE, _TXN = (f"/etcdserverpb.KV/{method}" for method in ("Range", "Put", "DeleteRange", "Txn"))
_Compare, _Op = messages.Compare, messages.RequestOp


class Kept(Struct):
    """A key of ours: the revision at which its leasing key was made, and the last answer about it (kv None: it does not exist)."""

    revision: int
    header: Any
    kv: Any


class Leasing(Around):
    """Whatever a client does; keys are read from memory where that is right. The client stays its owner's to close."""

    def __init__(self, client: Client, prefix: bytes, *, ttl_s: int = SESSION_TTL_S) -> None:
        super().__init__(client)
        self.prefix = prefix
        self.ttl_s = ttl_s
        self.hits = 0
        """Reads answered from memory."""
        self._kept: dict[bytes, Kept] = {}
        self._session: Session | None = None
        self._writing: Counter[bytes] = Counter()
        self._bulk = 0
        """Writes under way that touch ranges or several keys."""
        self._acquiring: dict[bytes, set[object]] = {}
        """Take-overs under way; one that is no more in here when its answer comes has been overtaken."""
        self._rests: dict[bytes, float] = {}
        self._renewal = asyncio.Event()
        self._tasks = TaskSet("leasing")

    async def __aenter__(self) -> Self:
        self._tasks.start("session", self._run())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of all keys. The client goes on."""
        await self._tasks.close()

    async def call(self, path: str, request: Any, *, is_read: bool) -> Any:
        if path == _RANGE:
            return await self._range(request)
        if path == _PUT:
            response = await self._write(request.key, _Op(request_put=request))
            return _with_header(response.responses[0].response_put, response.header)
        if path == _DELETE and not request.range_end:
            response = await self._write(request.key, _Op(request_delete_range=request))
            return _with_header(response.responses[0].response_delete_range, response.header)
        if path == _DELETE:
            response = await self._write_many(messages.TxnRequest(success=[_Op(request_delete_range=request)]))
            return _with_header(response.responses[0].response_delete_range, response.header)
        if path == _TXN and touched(request):
            return await self._write_many(request)
        return await self._client.call(path, request, is_read=is_read)

    # --- reading ------------------------------------------------------------------------------------------------------------

    async def _range(self, request: Any) -> Any:
        key = request.key
        if request == messages.RangeRequest(key=key) and key and (session := self._session) is not None and session.alive:
            kept = self._kept.get(key)
            if kept is not None and self._is_quiet(key):
                self.hits += 1
                return _answer(kept)
            if kept is None and self._may_take(key):
                return await self._take(key, session)
        return await self._client.call(_RANGE, request, is_read=True)

    def _is_quiet(self, key: bytes) -> bool:
        return not self._bulk and not self._writing[key]

    def _may_take(self, key: bytes) -> bool:
        now_s = asyncio.get_running_loop().time()
        return self._is_quiet(key) and len(self._kept) + len(self._acquiring) < KEYS_MAX and self._rests.get(key, now_s) <= now_s

    async def _take(self, key: bytes, session: Session) -> Any:
        """Read from the server, and take the key over if it is nobody's."""
        with self._taking(key) as is_valid:
            leasing_key = self.prefix + key
            get = _Op(request_range=messages.RangeRequest(key=key))
            claim = _Op(request_put=messages.PutRequest(key=leasing_key, lease=session.lease))
            look = _Op(request_range=messages.RangeRequest(key=leasing_key))
            unleased = _Compare(result=_Compare.EQUAL, target=_Compare.LEASE, key=key, lease=0)
            request = messages.TxnRequest(compare=[unchanged(leasing_key, 0), unleased], success=[get, claim], failure=[get, look])
            response = await self._client.call(_TXN, request, is_read=True)  # a second try finds what the first one made
            found = _with_header(response.responses[0].response_range, response.header)
            revision = response.header.revision if response.succeeded else _own(response.responses[1].response_range.kvs, session.lease)
            is_leased = bool(found.kvs) and found.kvs[0].lease != 0
            if revision and not is_leased and is_valid() and self._session is session:
                self._kept[key] = Kept(revision, response.header, found.kvs[0] if found.kvs else None)
        return found

    @contextlib.contextmanager
    def _taking(self, key: bytes) -> Any:
        """Gives a function that says whether the value read may be kept: no write and no revocation has come in between."""
        token = object()
        self._acquiring.setdefault(key, set()).add(token)
        try:
            yield lambda: token in self._acquiring.get(key, ()) and self._is_quiet(key)
        finally:
            tokens = self._acquiring.get(key)
            if tokens is not None:
                tokens.discard(token)
                if not tokens:
                    del self._acquiring[key]

    def _forget(self, key: bytes) -> None:
        """Answer no more from memory, nor with what is being read just now."""
        self._kept.pop(key, None)
        self._acquiring.pop(key, None)

    # --- writing ------------------------------------------------------------------------------------------------------------

    async def _write(self, key: bytes, operation: Any) -> Any:
        """One key: the TxnResponse, its first response that of `operation`."""
        if not key:
            return await self._client.txn(messages.TxnRequest(success=[operation]))  # which is refused
        leasing_key = self.prefix + key
        get = _Op(request_range=messages.RangeRequest(key=key))
        revoke = _Op(request_put=messages.PutRequest(key=leasing_key, value=REVOKE, ignore_lease=True))
        while True:
            async with self._changing(key):
                kept = self._kept.get(key)
                fence = _made_by(leasing_key, b"", kept.revision if kept is not None else 0)
                response = await self._client.txn(messages.TxnRequest(compare=[fence], success=[operation, get], failure=[revoke]))
                if response.succeeded:
                    self._learn(key, kept, response)
                    return response
            await deleted_or_late(self._client, leasing_key, response.header.revision)

    def _learn(self, key: bytes, kept: Kept | None, response: Any) -> None:
        """What our own write has made of a key of ours. Answers may come in another order than the writes happened."""
        self._acquiring.pop(key, None)
        if kept is None or self._kept.get(key) is not kept or response.header.revision < kept.header.revision:
            return
        kvs = response.responses[1].response_range.kvs
        kept.header, kept.kv = response.header, kvs[0] if kvs else None
        if kept.kv is not None and kept.kv.lease:
            self._let_go(key, kept.revision)

    async def _write_many(self, request: Any) -> Any:
        """A transaction, as one step behind a comparison of all leasing keys that it concerns. Raises StoreError."""
        own: dict[bytes, int] = {}
        concerned = touched(request)
        while True:
            async with self._changing(None):
                fences = [await self._fence(part, own) for part in concerned]
                looks = [_Op(request_range=messages.RangeRequest(key=key, range_end=end)) for key, end in map(self._leasing, concerned)]
                response = await self._client.txn(messages.TxnRequest(compare=fences, success=[_Op(request_txn=request)], failure=looks))
                if response.succeeded:
                    for part in concerned:
                        for key in [key for key in self._kept if part.covers(key)]:
                            self._forget(key)
                    self._acquiring.clear()
                    return _with_header(response.responses[0].response_txn, response.header)
            await self._clear_the_way([kv for look in response.responses for kv in look.response_range.kvs], own)

    def _leasing(self, part: Touched) -> tuple[bytes, bytes]:
        return interval(self.prefix, part.key, part.range_end)

    async def _fence(self, part: Touched, own: dict[bytes, int]) -> Any:
        """A Compare: no leasing key in this part is another's."""
        key, range_end = self._leasing(part)
        if not range_end:
            kept = self._kept.get(part.key)
            return _made_by(key, b"", own.get(key, 0) if kept is None else kept.revision)
        while True:
            # Comparing with our newest would not do: another's may be older. After this look, all that there are, are ours.
            look = await self._client.get(key, range_end)
            others = [kv for kv in look.kvs if not self._is_ours(kv)]
            if not others:
                return _made_by(key, range_end, look.header.revision)
            await self._clear_the_way(others, {})

    def _is_ours(self, leasing_key: Any) -> bool:
        return self._session is not None and leasing_key.lease == self._session.lease

    async def _clear_the_way(self, leasing_keys: list[Any], own: dict[bytes, int]) -> None:
        """Have others let go of theirs, and note what is ours without our remembering it."""
        own.clear()
        for kv in leasing_keys:
            if self._is_ours(kv):
                own[kv.key] = kv.create_revision
                continue
            put = _Op(request_put=messages.PutRequest(key=kv.key, value=REVOKE, ignore_lease=True))
            asked = await self._client.txn(messages.TxnRequest(compare=[unchanged(kv.key, kv.create_revision)], success=[put]))
            if asked.succeeded:
                await deleted_or_late(self._client, kv.key, asked.header.revision)

    @contextlib.asynccontextmanager
    async def _changing(self, key: bytes | None) -> AsyncIterator[None]:
        """A write is under way, to one key or to many (None). One that may happen or not makes us forget everything."""
        if key is None:
            self._bulk += 1
        else:
            self._writing[key] += 1
        try:
            yield
        except StoreError as error:
            if not error.deterministic:
                self._begin_anew()
            raise
        except BaseException:
            self._begin_anew()
            raise
        finally:
            if key is None:
                self._bulk -= 1
            else:
                self._writing[key] -= 1
                if not self._writing[key]:
                    del self._writing[key]

    # --- the session --------------------------------------------------------------------------------------------------------

    def _begin_anew(self) -> None:
        self._session = None
        self._kept.clear()
        self._acquiring.clear()
        self._renewal.set()

    async def _run(self) -> None:
        """One session after the other, as long as this is open."""
        while True:
            session = Session(self._client, ttl_s=self.ttl_s)
            try:
                await session.start()
                now = await self._client.get(self.prefix or b"\0", count_only=True)
                self._renewal.clear()
                self._session = session
                with contextlib.suppress(SessionExpired):
                    async with session.guard():
                        await self._answer_revocations(session, now.header.revision)
            except StoreError:
                await asyncio.sleep(AGAIN_S)
            finally:
                self._begin_anew()
                with contextlib.suppress(StoreError):  # then it ends by itself
                    await session.close()

    async def _answer_revocations(self, session: Session, revision: int) -> None:
        """Until a new session is wanted. What is asked of us since `revision` is done, also while a connection breaks."""

        async def follow() -> None:
            watcher = self._client.watch(*interval(self.prefix, b"\0", b"\0"), start_revision=revision + 1)
            try:
                while True:
                    # A silent watch may be one that hangs: nobody could write to our keys.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_AGAIN_S), contextlib.aclosing(aiter(watcher)) as responses:
                            async for response in responses:
                                self._hear(session, response.events)
            except StoreError:
                self._renewal.set()

        async with asyncio.TaskGroup() as group:
            following = group.create_task(follow(), name="leasing revocations")
            await self._renewal.wait()
            following.cancel()

    def _hear(self, session: Session, events: Any) -> None:
        for event in events:
            key = event.kv.key.removeprefix(self.prefix)
            if event.type == messages.Event.DELETE:
                # Ours are deleted by ourselves; one that is not any more is not ours, whoever did it.
                kept = self._kept.get(key)
                if kept is not None and kept.revision < event.kv.mod_revision:
                    self._forget(key)
            elif event.kv.value == REVOKE and event.kv.lease == session.lease:
                self._let_go(key, event.kv.create_revision)

    def _let_go(self, key: bytes, revision: int) -> None:
        """Forget, and only then tell the others."""
        self._forget(key)
        if len(self._rests) >= KEYS_MAX:
            self._rests.clear()
        self._rests[key] = asyncio.get_running_loop().time() + REST_S
        self._tasks.start("let go", self._delete(self.prefix + key, revision))

    async def _delete(self, leasing_key: bytes, revision: int) -> None:
        try:
            await delete_if_unchanged(self._client, leasing_key, revision)
        except StoreError:
            self._renewal.set()  # with the session's lease all of them go


def _made_by(key: bytes, range_end: bytes, revision: int) -> Any:
    """A Compare: whatever is there was made at `revision` or before; or nothing is there."""
    return _Compare(result=_Compare.LESS, target=_Compare.CREATE, key=key, range_end=range_end, create_revision=revision + 1)


def _own(leasing_keys: Any, lease: int) -> int:
    """The revision at which our leasing key was made, 0 if it is not ours or not for long."""
    for kv in leasing_keys:
        if kv.lease == lease and kv.value != REVOKE:
            revision: int = kv.create_revision
            return revision
    return 0


def _with_header(response: Any, header: Any) -> Any:
    """Answers inside a transaction have none of their own."""
    response.header.CopyFrom(header)
    return response


def _answer(kept: Kept) -> Any:
    kvs = [] if kept.kv is None else [kept.kv]
    return messages.RangeResponse(header=kept.header, kvs=kvs, count=len(kvs))
