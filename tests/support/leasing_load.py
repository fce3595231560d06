"""Tasks that read and write the same few keys through leasing clients of their own, and their history in the words of the linearizability checker."""

import asyncio
import itertools
import random
from typing import Any

from keelson.drills.checkers.history import Delete, Get, Operation, Outcome, Put, Request, Version
from kvstore.client.client import Client
from kvstore.client.leasing import Leasing
from kvstore.client.namespace import Namespace
from kvstore.errors import StoreError
from kvstore.wire import messages

PAUSE_AFTER_ERROR_S = 0.1


class Slow(Namespace):
    """A client whose requests and answers take their time: what happens in between is seen by the others first."""

    def __init__(self, client: Client, chance: random.Random, delay_s: float) -> None:
        super().__init__(client, b"")
        self._chance, self._delay_s = chance, delay_s

    async def call(self, path: str, request: Any, *, is_read: bool) -> Any:
        await asyncio.sleep(self._delay_s * self._chance.random())
        answer = await super().call(path, request, is_read=is_read)
        await asyncio.sleep(self._delay_s * self._chance.random())
        return answer


class LeasingLoad:
    """`operations` is the history; `hits` counts reads from memory."""

    def __init__(self, prefix: bytes, seed: int, keys: int = 3, pause_s: float = 0.0, delay_s: float = 0.0) -> None:
        self.operations: list[Operation] = []
        self.hits = 0
        self._prefix, self._keys, self._pause_s, self._delay_s = prefix, keys, pause_s, delay_s
        self._chance = random.Random(seed)
        self._stamp, self._values = itertools.count(), itertools.count()
        self._round = 0

    def next_round(self) -> None:
        """Other keys from now on: short histories are judged faster."""
        self._round += 1

    async def work(self, client: Client, tasks: range, steps: int, ttl_s: int = 60) -> None:
        """One leasing client; each of its tasks does `steps` operations, one after the other."""
        slow = Slow(client, self._chance, self._delay_s)
        async with Leasing(slow, self._prefix + b"leasing/", ttl_s=ttl_s) as store:
            async with asyncio.TaskGroup() as group:
                for number in tasks:
                    group.create_task(self._work(number, store, steps), name=f"leasing task {number}")
            self.hits += store.hits

    async def _work(self, number: int, store: Leasing, steps: int) -> None:
        for _ in range(steps):
            await self._step(number, store)
            await asyncio.sleep(self._pause_s * self._chance.random())

    async def _step(self, number: int, store: Leasing) -> None:
        request, calls = self._choose(store)
        called = next(self._stamp)
        try:
            outcome = Outcome(await calls)
        except StoreError:
            self.operations.append(Operation(number, called, None, request, None))
            await asyncio.sleep(PAUSE_AFTER_ERROR_S)
            return
        self.operations.append(Operation(number, called, next(self._stamp), request, outcome))

    def _choose(self, store: Leasing) -> tuple[Request, Any]:
        chance = self._chance
        key, value = self._prefix + b"%d/%d" % (self._round, chance.randrange(self._keys)), b"v%d" % next(self._values)
        roll = chance.random()
        if roll < 0.75:
            return Request((Get(key),)), self._get(store, key)
        if roll < 0.88:
            return Request((Put(key, value),)), self._put(store, key, value)
        if roll < 0.93:
            return Request((Delete(key),)), self._delete(store, key)
        other = self._prefix + b"%d/%d" % (self._round, chance.randrange(self._keys))
        if roll < 0.96 or other == key:
            return Request((Delete(key),)), self._delete(store, key, key + b"\0")
        return Request((Put(key, value), Put(other, value + b"b"))), self._both(store, (key, value), (other, value + b"b"))

    async def _get(self, store: Leasing, key: bytes) -> tuple[Version | None, ...]:
        return (_version((await store.get(key)).kvs),)

    async def _put(self, store: Leasing, key: bytes, value: bytes) -> tuple[Version | None, ...]:
        await store.put(key, value)
        return (None,)

    async def _delete(self, store: Leasing, key: bytes, range_end: bytes = b"") -> tuple[Version | None, ...]:
        return (_version((await store.delete(key, range_end, prev_kv=True)).prev_kvs),)

    async def _both(self, store: Leasing, *pairs: tuple[bytes, bytes]) -> tuple[Version | None, ...]:
        puts = [messages.RequestOp(request_put=messages.PutRequest(key=key, value=value)) for key, value in pairs]
        await store.txn(messages.TxnRequest(success=puts))
        return (None, None)


def _version(kvs: Any) -> Version | None:
    return Version(kvs[0].value, kvs[0].mod_revision) if kvs else None
