"""The lock service over gRPC, on the model of etcd: keys, waiting, and who leaves while waiting."""

import asyncio
import socket

import pytest

from kvstore.wire import messages as pb
from tests.unit.api.coordination import UNKNOWN, Coordination, header, reply

DEADLINE_EXCEEDED = 4


@pytest.mark.parametrize("name, lease, key", [(b"door", 0xA, b"door/a"), (b"", 0xB, b"/b"), (b"\xff\0", 0xC, b"\xff\0/c"), (b"n", -255, b"n/-ff")])
def test_the_key_is_the_name_and_the_lease_in_hexadecimal(service: Coordination, name: bytes, lease: int, key: bytes) -> None:
    service.grant(-255)
    assert service.ask("Lock", pb.LockRequest(name=name, lease=lease)) == pb.LockResponse(header=header(2), key=key)
    [kv] = service.served.wire.ask(pb.RangeRequest(key=key)).kvs
    assert (kv.value, kv.lease) == (b"", lease)


def test_the_same_lease_locks_again_at_once(service: Coordination) -> None:
    first = service.ask("Lock", pb.LockRequest(name=b"door", lease=0xA))
    service.served.wire.ask(pb.PutRequest(key=b"other"))
    assert service.ask("Lock", pb.LockRequest(name=b"door", lease=0xA)) == pb.LockResponse(header=header(3), key=first.key)


def test_without_a_lease_one_of_a_minute_is_made(service: Coordination) -> None:
    key = service.ask("Lock", pb.LockRequest(name=b"door")).key
    lease = pb.LeaseTimeToLiveRequest(ID=int(key.removeprefix(b"door/"), 16), keys=True)
    found = service.served.wire.ask(lease)
    assert (found.grantedTTL, found.keys) == (60, [key])


def test_they_come_in_the_order_in_which_they_asked(service: Coordination) -> None:
    first = service.ask("Lock", pb.LockRequest(name=b"door", lease=0xC))
    second = service.start("Lock", pb.LockRequest(name=b"door", lease=0xA))
    assert service.waits(1)
    third = service.start("Lock", pb.LockRequest(name=b"door", lease=0xB))
    assert service.waits(2)
    assert service.keys() == [b"door/a", b"door/b", b"door/c"]
    service.served.wire.ask(pb.PutRequest(key=b"door/c", value=b"changed but not gone"))
    assert not second.done()
    assert service.ask("Unlock", pb.UnlockRequest(key=first.key)) == pb.UnlockResponse(header=header(6))
    assert second.result() == pb.LockResponse(header=header(6), key=b"door/a")
    assert service.waits(1)
    assert not third.done()
    service.ask("Unlock", pb.UnlockRequest(key=b"door/a"))
    assert third.result() == pb.LockResponse(header=header(7), key=b"door/b")
    assert service.waits(0)


def test_a_waiter_in_the_middle_that_leaves_lets_nobody_in(service: Coordination) -> None:
    service.ask("Lock", pb.LockRequest(name=b"door", lease=0xA))
    middle = service.start("Lock", pb.LockRequest(name=b"door", lease=0xB))
    assert service.waits(1)
    last = service.start("Lock", pb.LockRequest(name=b"door", lease=0xC))
    assert service.waits(2)
    middle.cancel()
    assert service.waits(1)
    assert service.keys() == [b"door/a", b"door/c"]
    assert not last.done()
    service.ask("Unlock", pb.UnlockRequest(key=b"door/a"))
    assert last.result().key == b"door/c"


def test_whoever_waits_no_longer_takes_the_key_along(service: Coordination) -> None:
    service.ask("Lock", pb.LockRequest(name=b"door", lease=0xA))
    answer = service.call("Lock", pb.LockRequest(name=b"door", lease=0xB), timeout_s=0.05)
    assert answer.code == DEADLINE_EXCEEDED
    assert service.waits(0)
    assert service.served.wait_until(lambda backend: backend.model.revision == 4), "put, put, and the delete"
    assert service.keys() == [b"door/a"]


def test_a_client_that_leaves_before_its_key_is_known_to_be_made_leaves_none(service: Coordination) -> None:
    service.served.do(lambda backend: backend.gate.clear())
    call = service.start("Lock", pb.LockRequest(name=b"door", lease=0xA))
    assert service.served.wait_until(lambda backend: backend.waiting == 1)
    call.cancel()
    assert service.served.wait_until(lambda _: any(task.cancelling() for task in asyncio.all_tasks())), "the server has noticed"
    service.served.do(lambda backend: backend.gate.set())
    assert service.served.wait_until(lambda backend: backend.model.revision == 3), "put, and the delete"
    assert service.keys() == []


def test_a_holder_that_asks_again_and_leaves_keeps_the_lock(service: Coordination) -> None:
    service.ask("Lock", pb.LockRequest(name=b"door", lease=0xA))
    service.served.do(lambda backend: backend.gate.clear())
    call = service.start("Lock", pb.LockRequest(name=b"door", lease=0xA))
    assert service.served.wait_until(lambda backend: backend.waiting == 1)
    call.cancel()
    assert service.served.wait_until(lambda _: any(task.cancelling() for task in asyncio.all_tasks())), "the server has noticed"
    service.served.do(lambda backend: backend.gate.set())
    assert service.served.wait_until(lambda _: service.served.app.stats.handled["/v3lockpb.Lock/Lock", "Canceled"] == 1)
    assert service.keys() == [b"door/a"]


def test_a_lease_that_ends_while_waiting_is_told_when_the_turn_comes(service: Coordination) -> None:
    service.ask("Lock", pb.LockRequest(name=b"door", lease=0xA))
    waiting = service.start("Lock", pb.LockRequest(name=b"door", lease=0xB))
    assert service.waits(1)
    service.revoke(0xB)
    service.revoke(0xA)
    answer = reply(waiting)
    assert (answer.code, answer.text) == (UNKNOWN, "mutex: session is expired")


def test_history_that_is_compacted_makes_a_waiter_look_again(service: Coordination) -> None:
    service.ask("Lock", pb.LockRequest(name=b"door", lease=0xA))
    waiting = service.start("Lock", pb.LockRequest(name=b"door", lease=0xB))
    assert service.waits(1)

    def as_after_a_snapshot(backend: object) -> None:
        """The watcher missed what a compaction then took away."""
        for stream in backend.streams:
            for watcher in stream.watchers.values():
                watcher.next_revision = 1
        backend.model.compact_revision = backend.model.revision
        backend.tell()

    service.served.do(as_after_a_snapshot)
    assert service.waits(1)
    assert not waiting.done()
    service.ask("Unlock", pb.UnlockRequest(key=b"door/a"))
    assert waiting.result().key == b"door/b"


def test_unlocking_needs_neither_lock_nor_owner(service: Coordination) -> None:
    assert service.ask("Unlock", pb.UnlockRequest(key=b"nothing")) == pb.UnlockResponse(header=header(1))
    service.served.wire.ask(pb.PutRequest(key=b"any"))
    assert service.ask("Unlock", pb.UnlockRequest(key=b"any")) == pb.UnlockResponse(header=header(3))


@pytest.mark.parametrize(
    "method, request_, text",
    [
        ("Lock", pb.LockRequest(name=b"x", lease=404), "etcdserver: requested lease not found"),
        ("Lock", pb.LockRequest(name=b"n" * 1_600_000, lease=0xA), "etcdserver: request is too large"),
        ("Unlock", pb.UnlockRequest(), "etcdserver: key is not provided"),
        ("Unlock", pb.UnlockRequest(key=b"n" * 1_600_000), "etcdserver: request is too large"),
    ],
)
def test_errors_have_lost_their_codes(service: Coordination, method: str, request_: object, text: str) -> None:
    answer = service.call(method, request_)
    assert (answer.code, answer.text) == (UNKNOWN, text)
    assert service.keys() == []


def test_over_the_gateway(service: Coordination) -> None:
    answer = service.served.http.post("/v3/lock/lock", {"name": "ZG9vcg==", "lease": "10"})
    assert (answer.status, answer.json()["key"]) == (200, "ZG9vci9h")
    answer = service.served.http.post("/v3/lock/lock", {"name": "ZG9vcg==", "lease": "404"})
    text = "etcdserver: requested lease not found"
    assert (answer.status, answer.json()) == (500, {"error": text, "code": 2, "message": text})
    assert service.served.http.post("/v3/lock/unlock", {"key": "ZG9vci9h"}).status == 200
    assert service.keys() == []


def test_a_waiter_over_http_1_1_that_leaves_is_noticed(service: Coordination) -> None:
    service.ask("Lock", pb.LockRequest(name=b"door", lease=0xA))
    body = b'{"name":"ZG9vcg==","lease":"11"}'
    with socket.create_connection(("127.0.0.1", service.served.port)) as connection:
        connection.sendall(b"POST /v3/lock/lock HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        assert service.waits(1)
        assert service.keys() == [b"door/a", b"door/b"]
    assert service.waits(0)
    assert service.served.wait_until(lambda _: service.served.app.stats.handled["/v3lockpb.Lock/Lock", "Canceled"] == 1)
    assert service.keys() == [b"door/a"]


def test_a_waiter_over_http_1_1_that_stays_gets_the_lock(service: Coordination) -> None:
    service.ask("Lock", pb.LockRequest(name=b"door", lease=0xA))
    body = b'{"name":"ZG9vcg==","lease":"11"}'
    with socket.create_connection(("127.0.0.1", service.served.port)) as connection:
        connection.sendall(b"POST /v3/lock/lock HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        assert service.waits(1)
        service.ask("Unlock", pb.UnlockRequest(key=b"door/a"))
        connection.settimeout(10)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_many_waiters_leave_nothing_behind(service: Coordination) -> None:
    service.ask("Lock", pb.LockRequest(name=b"door", lease=0xA))
    service.grant(*range(100, 150))
    calls = [service.start("Lock", pb.LockRequest(name=b"door", lease=lease)) for lease in range(100, 150)]
    assert service.waits(50)
    for call in calls:
        call.cancel()
    assert service.waits(0)
    assert service.served.wait_until(lambda _: service.served.app.stats.handled["/v3lockpb.Lock/Lock", "Canceled"] == 50)
    assert service.keys() == [b"door/a"]
    assert service.ask("Lock", pb.LockRequest(name=b"door", lease=0xA)).key == b"door/a"
