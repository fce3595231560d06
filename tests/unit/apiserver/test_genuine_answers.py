"""The answers that a genuine Kubernetes API server gave to a fixed table of requests, recorded (tests/kubernetes/oracle/golden.py), are ours, too."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from apiserver.custom_resources import CustomResources
from apiserver.handlers import table
from tests.kubernetes.oracle import golden
from tests.kubernetes.oracle.definitions import DEFINITIONS
from tests.kubernetes.oracle.duel import without_versions
from tests.kubernetes.oracle.generate import NAMESPACES
from tests.kubernetes.oracle.memory import DEFINED, FIRST, Memory
from tests.kubernetes.oracle.normal import Names, normal
from tests.kubernetes.oracle.requests import Request
from tests.kubernetes.oracle.sides import removal
from tests.support.api_server import ApiServer
from tests.support.http import Answer

Served = Callable[[Callable[[ApiServer], Coroutine[Any, Any, None]]], None]
DEFINED_NAME = "customresourcedefinitions.apiextensions.k8s.io"


async def begun(api: ApiServer) -> None:
    for name in NAMESPACES:
        assert (await api.post("/api/v1/namespaces", {"metadata": {"name": name}}))[0] == 201
    for each in DEFINITIONS:
        code, created = await api.post(DEFINED, each)
        assert code == 201, created
    api.app.admission.append(NamespaceLifecycle(api.app.caches))
    api.app.table = lambda call, objects, metadata, view, columns: table.table(
        call, objects, metadata, view.version, columns=columns, now=api.app.clock()
    )
    await caught_up(api)
    follower = CustomResources(api.app)
    for _ in range(3):
        await follower.reconcile()
        await caught_up(api)


async def caught_up(api: ApiServer) -> None:
    served = api.app.registry.by_qualified(DEFINED_NAME)
    assert served is not None
    await api.app.caches.of(served).reach(await api.app.caches.newest.revision())


async def asked(api: ApiServer, memory: Memory, request: Request) -> Answer:
    data = memory.body(request)
    async with api.session.request(request.method, memory.path(request), data=data, headers=memory.headers(request)) as answer:
        found = Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read())
    memory.learn(request, found)
    return found


def test_ours_are_the_recorded_answers(served: Served) -> None:
    recorded_at, lines = golden.read()
    since = datetime.now(UTC)

    async def test(api: ApiServer) -> None:
        # An age in years and days is another one tomorrow.
        api.app.clock = lambda: recorded_at + (datetime.now(UTC) - since)  # type: ignore[method-assign]
        await begun(api)
        memory = Memory()
        await asked(api, memory, FIRST)
        wrong, mended = [], []
        for number, line in enumerate(lines, 1):
            ours = normal(await asked(api, memory, line.request), memory.names)
            if without_versions(line.request, ours):
                memory.names = Names()
            faults = golden.judged(line, ours)
            if line.open and not faults:
                mended.append(number)
            if line.restarts:
                if line.request.method != "GET":
                    for step in removal(line.request.subject):
                        await asked(api, memory, step)
                memory.names = Names()
            if faults and not line.open:
                wrong.append("\n  ".join((line.request.brief(), *faults)))
        assert not wrong, "\n".join(wrong[:5])
        assert not mended, f"answers of golden.json that are right now and no longer `open`: {mended}"

    served(test)
