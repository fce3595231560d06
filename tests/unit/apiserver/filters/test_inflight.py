"""Places for requests: how many, for whom, in which order; and a flood through which leases are renewed."""

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest

from apiserver.filters import inflight as inflight_module
from apiserver.filters.inflight import Inflight
from apiserver.machinery.status import ApiError
from apiserver.request import User
from tests.support.api_server import MERGE

ANNA, BERT = User("anna"), User("bert")
NODE = User("system:node:n1", ("system:nodes",))
ADMIN = User("admin", ("system:masters",))


def run(test):
    async def whole():
        async with asyncio.timeout(20):
            await test()

    asyncio.run(whole())


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


def test_reads_and_writes_have_places_of_their_own_and_watches_need_none(monkeypatch):
    monkeypatch.setattr(inflight_module, "WAIT_S", 0.01)

    async def test():
        inflight = Inflight(reads_max=1, writes_max=1)
        async with AsyncExitStack() as held:
            for verb, subresource in (("create", ""), ("list", ""), ("watch", ""), ("get", "log")):
                await held.enter_async_context(inflight.place(verb, subresource, ANNA))
            for verb in ("update", "get"):
                with pytest.raises(ApiError) as refused:
                    await held.enter_async_context(inflight.place(verb, "", BERT))
                assert (refused.value.code, refused.value.details) == (429, {"retryAfterSeconds": 1})
            await held.enter_async_context(inflight.place("update", "", ADMIN))
            await held.enter_async_context(inflight.place("get", "", User("system:anonymous"), "/readyz"))
            assert inflight.running == {"readOnly": 2, "mutating": 2}
        assert inflight.running == {"readOnly": 0, "mutating": 0}

    run(test)


class Flood:
    """Requests that hold what they get until they are told to let go."""

    def __init__(self, group, inflight):
        self._group = group
        self._inflight = inflight
        self.let_go = asyncio.Event()
        self.got = []
        self.refused = []

    def ask(self, user, count=1, verb="create"):
        for _ in range(count):
            self._group.create_task(self._one(user, verb))

    async def _one(self, user, verb):
        try:
            async with self._inflight.place(verb, "", user):
                self.got.append(user.name)
                await self.let_go.wait()
        except ApiError:
            self.refused.append(user.name)


def test_one_client_leaves_places_to_the_others_and_everybody_to_the_system(monkeypatch):
    monkeypatch.setattr(inflight_module, "WAITING_MAX", 100)

    async def test():
        inflight = Inflight(writes_max=20)
        async with asyncio.TaskGroup() as group:
            flood = Flood(group, inflight)
            flood.ask(ANNA, 100)
            await turns()
            assert len(flood.got) == 8, "half of the sixteen that are not the system's"
            flood.ask(BERT, 100)
            await turns()
            assert flood.got.count("bert") == 4
            for number in range(30):
                flood.ask(User(f"other{number}"))
            await turns()
            assert (len(flood.got), inflight.running["mutating"]) == (16, 16)
            flood.ask(NODE)
            await turns()
            assert flood.got[-1] == NODE.name, "the system's share is free"
            flood.let_go.set()
        assert (len(flood.got), flood.refused) == (231, [])
        assert (inflight.running["mutating"], inflight.places["mutating"].waiting) == (0, 0)

    run(test)


def test_places_that_come_free_go_round_the_clients(monkeypatch):
    monkeypatch.setattr(inflight_module, "WAITING_MAX", 3)

    async def test():
        inflight = Inflight(writes_max=1)
        order = []

        async def ask(user):
            async with inflight.place("create", "", user):
                order.append(user.name)
                await turns()

        async with asyncio.TaskGroup() as group:
            for user in (ANNA, ANNA, ANNA, ANNA, BERT, BERT):
                group.create_task(ask(user))
            await asyncio.sleep(0)
            with pytest.raises(ApiError) as refused:
                await ask(ANNA)
            assert refused.value.code == 429, "three of hers wait already"
        assert order == ["anna", "anna", "bert", "anna", "bert", "anna"]

    run(test)


def test_who_goes_away_while_it_waits_takes_no_place():
    async def test():
        inflight = Inflight(writes_max=1)
        async with asyncio.TaskGroup() as group:
            flood = Flood(group, inflight)
            flood.ask(ANNA)
            await turns()
            waiting = group.create_task(flood._one(BERT, "create"))
            late = group.create_task(flood._one(BERT, "create"))
            await turns()
            waiting.cancel()
            flood.let_go.set()
            late.cancel()  # in the very turn in which its place comes free
        assert (inflight.running["mutating"], inflight.places["mutating"].waiting) == (0, 0)

    run(test)


LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def test_leases_are_renewed_while_one_client_floods(served, monkeypatch):
    """The greedy one lists and writes with many requests at once and reads none of its large answers."""

    async def who(request):
        name = request.headers.get("X-Who", "admin")
        return {"admin": ADMIN, "greedy": User("greedy"), "node": NODE, "elector": User("system:kube-scheduler")}[name]

    async def test(api):
        monkeypatch.setattr(inflight_module, "WAIT_S", 0.2)
        monkeypatch.setattr(inflight_module, "WAITING_MAX", 10)
        monkeypatch.setattr(api.chain, "_authenticate", who)
        api.app.inflight = Inflight(reads_max=20, writes_max=10)
        large = "/api/v1/namespaces/default/configmaps"
        for name in ("a", "b"):
            await api.post(large, {"metadata": {"name": name}, "data": {"x": "y" * 300_000}})
        await api.post(large, {"metadata": {"name": "small"}})
        for name in ("node", "elector"):
            assert (await api.post(LEASE, {"metadata": {"name": name}, "spec": {"holderIdentity": name, "leaseDurationSeconds": 40}}))[0] == 201
        codes = []
        stalled = [socket.socket(socket.AF_UNIX) for _ in range(30)]
        for each in stalled:
            each.connect(api.path)
            each.sendall(f"GET {large} HTTP/1.1\r\nHost: api\r\nX-Who: greedy\r\n\r\n".encode())

        greedy = {"X-Who": "greedy"}
        over = asyncio.Event()

        async def flood(number):
            while not over.is_set():
                if number % 2:
                    answer = await api.ask("GET", large, **greedy)
                else:
                    answer = await api.ask("PATCH", f"{large}/small", {"data": {"z": str(len(codes))}}, MERGE, **greedy)
                codes.append(answer[0])

        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(flood(number))
            for _ in range(3):
                for name in ("node", "elector"):
                    code, lease = await api.ask("GET", f"{LEASE}/{name}", **{"X-Who": name})
                    assert code == 200, lease
                    code, told = await api.ask("PUT", f"{LEASE}/{name}", lease, **{"X-Who": name})
                    assert code == 200, told
            over.set()
            for each in stalled:
                each.close()
        assert set(codes) >= {429}, "the flood was one"

    served(test)
