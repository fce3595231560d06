"""Clients at every endpoint that put, read, compare and delete, each request on its own schedule, and what became of it.

The load is open: a request goes out when its time has come, whether or not those before it were answered, as with many users. So a pause of the
cluster is seen at its full length by those who came meanwhile, and not only by a few who wait. Each member has clients that begin with it and go
on to the others when it fails them, by the rules of `kvstore.client`; after the fault they are sent home, or they would all stay at whichever member
was never broken.

Keys change every second: a history by key stays short enough to be judged, however long the load goes on. Values are never written twice.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from typing import Any

from msgspec import Struct

from keelson.drills.checkers.history import Compare, Delete, Get, Operation, Outcome, Put, Request, Version
from keelson.drills.cluster import Cluster, Member
from kvstore.client import requests
from kvstore.client.client import Client, StoreError
from kvstore.client.errors import NotConnected

PREFIX = b"drill/"
GENERATION_S = 1.0
KEYS_PER_REQUEST = 0.1
"""Keys in a generation for each request a second: some ten requests to each key, half of them writes."""
CLIENTS = 2
"""That begin at each member."""
OUTSTANDING_MAX = 5000
"""Requests without an answer at one time; a drill that comes there is misconfigured."""


class Sample(Struct):
    """One request as its client saw it; times are of time.monotonic()."""

    endpoint: str
    """The member that its client began with."""
    is_write: bool
    called_s: float
    returned_s: float
    error: str = ""
    unknown: bool = False
    """It failed, and nobody knows whether it was done."""


class Load:
    """`operations` is the history so far, `samples` the same requests as clients saw them."""

    def __init__(self, cluster: Cluster, rate_per_s: float, timeout_s: float, seed: int, prefix: bytes = PREFIX) -> None:
        self.cluster, self.rate_per_s, self.timeout_s = cluster, rate_per_s, timeout_s
        self.operations: list[Operation] = []
        self.samples: list[Sample] = []
        self.outstanding = 0
        self._prefix = prefix
        self._chance = random.Random(seed)
        self._stamp = itertools.count()
        self._values = itertools.count()
        self.began_at: dict[bytes, float] = {}
        """When the write of a value was called: nobody can have heard of it before."""
        self._clients: dict[tuple[str, int], Client] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, and until what is under way then has ended."""
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                due_s = began_s + number / self.rate_per_s
                if (left_s := due_s - time.monotonic()) > 0:
                    await asyncio.sleep(left_s)
                if stop.is_set():
                    break
                assert self.outstanding < OUTSTANDING_MAX, f"{self.outstanding} requests wait for an answer"
                generation = int((time.monotonic() - began_s) / GENERATION_S)
                group.create_task(self._one(number, self._choose(generation)), name=f"request {number}")

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    @property
    def failed_tries(self) -> int:
        return sum(client.channels.failed_tries for client in self._clients.values())

    def go_home(self) -> None:
        for client in self._clients.values():
            client.channels.use(0)

    async def _one(self, number: int, request: Request) -> None:
        members = self.cluster.members
        member = members[number % len(members)]
        client = self._client(member, number // len(members) % CLIENTS)
        step = request.success[0]
        sample = Sample(member.name, not isinstance(step, Get), time.monotonic(), 0.0)
        if isinstance(step, Put):
            self.began_at[step.value] = sample.called_s
        called = next(self._stamp)
        outcome: Outcome | None = None
        self.outstanding += 1
        try:
            outcome = await ask(client, request)
        except StoreError as error:
            sample.error = str(error) or type(error).__name__
            sample.unknown = sample.is_write and not isinstance(error, NotConnected)
        finally:
            self.outstanding -= 1
            sample.returned_s = time.monotonic()
            self.samples.append(sample)
            self.operations.append(Operation(number, called, None if outcome is None else next(self._stamp), request, outcome))

    def _client(self, member: Member, number: int) -> Client:
        key = (member.client_url, number)
        client = self._clients.get(key)
        if client is None:
            urls = [each.client_url for each in self.cluster.members]
            at = urls.index(member.client_url)
            client = self._clients[key] = Client([*urls[at:], *urls[:at]], tls=member.tls, timeout_s=self.timeout_s)
        return client

    def _choose(self, generation: int) -> Request:
        chance = self._chance
        keys = max(5, int(self.rate_per_s * KEYS_PER_REQUEST))
        key = self._prefix + b"%d/%d" % (generation, chance.randrange(keys))
        value = self._prefix + b"v%d" % next(self._values)
        roll = chance.random()
        if roll < 0.5:
            return Request((Put(key, value),))
        if roll < 0.8:
            return Request((Get(key),))
        if roll < 0.9:
            return Request((Put(key, value),), (Compare(key, mod=0),), (Get(key),))
        return Request((Delete(key),))

    async def read_everything(self, client: Client) -> None:
        """Read every key that was touched, once more: what was acknowledged must still be there. Raises StoreError."""
        for key in sorted(set[bytes]().union(*(operation.keys() for operation in self.operations))):
            request = Request((Get(key),))
            called = next(self._stamp)
            outcome = await ask(client, request)
            self.operations.append(Operation(-1, called, next(self._stamp), request, outcome))

    def errors(self, most: int = 8) -> dict[str, int]:
        return dict(Counter(sample.error for sample in self.samples if sample.error).most_common(most))


async def ask(client: Client, request: Request) -> Outcome:
    """What came of `request`. Raises StoreError."""
    (step,) = request.success
    if request.compares:
        assert isinstance(step, Put)
        answer = await client.txn(
            requests.TxnRequest(
                compare=[requests.Compare(key=step.key, target=2, mod_revision=compare.mod) for compare in request.compares],
                success=[requests.RequestOp(request_put=requests.PutRequest(key=step.key, value=step.value))],
                failure=[requests.RequestOp(request_range=requests.RangeRequest(key=step.key))],
            )
        )
        found = None if answer.succeeded else _version(answer.responses[0].response_range.kvs)
        return Outcome((found,), answer.succeeded, answer.header.revision)
    if isinstance(step, Put):
        return Outcome((None,), True, (await client.put(step.key, step.value)).header.revision)
    if isinstance(step, Get):
        answer = await client.get(step.key)
        return Outcome((_version(answer.kvs),), True, answer.header.revision)
    answer = await client.delete(step.key, prev_kv=True)
    return Outcome((_version(answer.prev_kvs),), True, answer.header.revision)


def _version(kvs: Any) -> Version | None:
    return Version(kvs[0].value, kvs[0].mod_revision) if kvs else None
