"""The gateway's lane answers as the way of all does, byte by byte, and leaves to it what is not its own."""

import asyncio
import json
import logging
from typing import Any

import pytest

from kvstore.api.app import App
from kvstore.api.rpc import Settings
from kvstore.wire import messages
from tests.model.backend import ModelBackend
from tests.unit.http.http1 import Peer, run, settle

A, B = "YQ==", "Yg=="


class Gateway:
    """The services over the model, behind a connection without a socket."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.backend = ModelBackend()
        self.app = App(self.backend, settings or Settings())
        self.peer = Peer(self.app)

    async def lane(self, path: str, body: bytes, *fields: bytes) -> bytes:
        head = b"POST %b HTTP/1.1\r\nHost: x\r\n" % path.encode() + b"".join(field + b"\r\n" for field in fields)
        return await self.peer.said(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    async def way_of_all(self, path: str, body: bytes, *fields: bytes) -> bytes:
        """A chunked body is not for the lane."""
        head = b"POST %b HTTP/1.1\r\nHost: x\r\n" % path.encode() + b"".join(field + b"\r\n" for field in fields)
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return await self.peer.said(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n")

    @property
    def tasks(self) -> int:
        """Of which each request that is not the lane's has one."""
        return len(self.peer.tasks)


REQUESTS: list[tuple[str, Any]] = [
    ("/v3/kv/range", {"key": A}),
    ("/v3/kv/put", {"key": A, "value": B}),
    ("/v3/kv/put", {"key": A, "value": B, "prevKv": True}),
    ("/v3beta/kv/put", {"key": A, "prev_kv": True}),
    ("/v3/kv/range", {"key": "AA==", "range_end": "AA==", "limit": "1"}),
    ("/v3/kv/range", {"key": A, "revision": 99}),
    ("/v3/kv/range", {}),
    ("/v3/kv/put", {"key": A, "ignore_value": True, "value": B}),
    ("/v3/kv/put", {"key": A, "lease": 77}),
    ("/v3/kv/txn", {"compare": [{"key": A, "target": "VERSION", "version": "3"}], "success": [{"request_put": {"key": B}}], "failure": [{}]}),
    ("/v3/kv/txn", {"success": [{"request_put": {"key": B}}, {"request_range": {"key": B}}, {"request_txn": {}}]}),
    ("/v3/kv/txn", {"success": [{"request_put": {"key": B}}, {"request_put": {"key": B}}]}),
    ("/v3/kv/deleterange", {"key": A, "range_end": "eg==", "prev_kv": True}),
    ("/v3/kv/range", b"{"),
    ("/v3/kv/range", b""),
    ("/v3/kv/range", b"\xff"),
    ("/v3/kv/range", b'{"key":"YQ==","key":"YQ=="}'),
    ("/v3/kv/range", b'{"sort_order":"UP"}'),
]


def test_both_ways_answer_alike() -> None:
    async def work() -> None:
        one, other = Gateway(), Gateway()
        for path, content in REQUESTS:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            said = await one.lane(path, body)
            assert said == await other.way_of_all(path, body), (path, content)
            assert said.startswith(b"HTTP/1.1 ") and b"access-control-allow-origin: *\r\n" in said
        assert (one.tasks, other.tasks) == (0, len(REQUESTS))
        assert one.app.stats.handled == other.app.stats.handled and one.app.stats.started == other.app.stats.started
        await one.peer.end()
        await other.peer.end()

    run(work)


def test_what_is_not_the_lanes() -> None:
    async def work() -> None:
        body = b'{"key":"YQ=="}'
        gateway = Gateway()
        for field in (b"Authorization: x", b"Grpc-Metadata-Token: x", b"Grpc-Timeout: never", b"Grpc-Metadata-Client-Api-Version: 3.5"):
            before = gateway.tasks
            said = await gateway.lane("/v3/kv/range", body, field)
            assert gateway.tasks == before + 1, field
            assert said == await gateway.way_of_all("/v3/kv/range", body, field)
        assert gateway.app.stats.client_versions == {(False, "3.5"): 2}
        assert b'{"code":5,"message":"Not Found"}' in await gateway.lane("/v3/kv/nothing", body)
        for settings in (Settings(gateway=False), Settings(host_whitelist=("y",))):
            other = Gateway(settings)
            assert (await other.lane("/v3/kv/range", body)).startswith(b"HTTP/1.1 4") and other.tasks == 1

    run(work)


def test_a_store_with_users_looks_at_each_caller() -> None:
    async def work() -> None:
        gateway = Gateway()
        body = b'{"key":"YQ=="}'
        await gateway.lane("/v3/kv/range", body)
        assert gateway.tasks == 0
        gateway.app.gateway_lane._guarded = lambda: True
        await gateway.lane("/v3/kv/range", body)
        assert gateway.tasks == 1

    run(work)


def test_deadlines_and_leaders() -> None:
    async def work() -> None:
        gateway = Gateway()
        assert b'"revision":"2"' in await gateway.lane("/v3/kv/put", b'{"key":"YQ=="}', b"Grpc-Timeout: 1H")
        gateway.backend.gate.clear()
        said = await gateway.lane("/v3/kv/put", b'{"key":"YQ=="}', b"Grpc-Timeout: 1n")
        await asyncio.sleep(0.001)
        said += await gateway.peer.said()
        assert said.startswith(b"HTTP/1.1 504 ") and b"context deadline exceeded" in said
        gateway.backend.gate.set()
        await settle()
        assert await gateway.peer.said() == b"", "an answer that comes too late is none"
        gateway.backend.leader_id = 0  # type: ignore[assignment]
        said = await gateway.lane("/v3/kv/put", b'{"key":"YQ=="}', b"Grpc-Metadata-Hasleader: true")
        assert said.startswith(b"HTTP/1.1 503 ") and b"etcdserver: no leader" in said
        assert gateway.tasks == 0

    run(work)


def test_a_learner_serves_what_may_be_old() -> None:
    async def work() -> None:
        gateway = Gateway()
        gateway.backend.learner = True
        for body in (b'{"key":"YQ=="}', b'{"key":"YQ==","serializable":true}'):
            assert await gateway.lane("/v3/kv/range", body) == await gateway.way_of_all("/v3/kv/range", body)

    run(work)


def test_origins() -> None:
    async def work() -> None:
        gateway = Gateway(Settings(cors_origins=("https://a",)))
        body = b'{"key":"YQ=="}'
        assert b"access-control" not in await gateway.lane("/v3/kv/range", body, b"Origin: https://b")
        said = await gateway.lane("/v3/kv/range", body, b"Origin: https://a")
        assert b"access-control-allow-origin: https://a\r\n" in said and gateway.tasks == 0
        assert said == await gateway.way_of_all("/v3/kv/range", body, b"Origin: https://a")

    run(work)


@pytest.mark.parametrize("way", ["lane", "way_of_all"])
def test_calls_are_reported_as_grpc_would_have_carried_them(way: str, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        gateway = Gateway(Settings(slow_request_s=0.0, access_log=True))
        await getattr(gateway, way)("/v3/kv/put", b'{"key":"YQ==","value":"Yg=="}')
        await getattr(gateway, way)("/v3/kv/range", b'{"key":"YQ=="}')
        await getattr(gateway, way)("/v3/kv/range", b'{"key":5}')

    with caplog.at_level(logging.INFO):
        run(work)
    slow = [record.__dict__["fields"] for record in caplog.records if record.message == "request stats"]
    sizes = [(each["request size"], each["response count"], each["request content"]) for each in slow]
    put = messages.PutRequest(key=b"a", value=b"b").ByteSize()
    assert [size for size, _, _ in sizes[:2]] == [put, messages.RangeRequest(key=b"a").ByteSize()]
    assert sizes[1][1] == 1 and 'key:"a"' in sizes[0][2].replace(" ", "")
    told = [record.__dict__["fields"] for record in caplog.records if record.name == "kvstore.access"]
    assert [(each["code"], each["transport"]) for each in told] == [("OK", "json"), ("OK", "json"), ("InvalidArgument", "json")]


@pytest.mark.parametrize("way", ["lane", "way_of_all"])
def test_a_transaction_nested_deeper_than_protobuf_reads(way: str) -> None:
    """It is applied, so it is answered, too."""

    async def work() -> None:
        gateway = Gateway()
        content: dict[str, Any] = {"success": [{"request_put": {"key": A}}]}
        for _ in range(100):
            content = {"success": [{"request_txn": content}]}
        said = await getattr(gateway, way)("/v3/kv/txn", json.dumps(content).encode())
        assert said.startswith(b"HTTP/1.1 200 ") and said.count(b"response_txn") == 100 and said.count(b"response_put") == 1

    run(work)


@pytest.mark.parametrize("name", ["request_txn", "requestTxn"])
def test_no_depth_of_nesting_is_a_failure_of_ours(name: str) -> None:
    async def work() -> None:
        gateway = Gateway()
        for depth in (127, 128, 200, 320, 470, 500, 1000, 3000):
            text = b'{"success":[{"%b":' % name.encode() * depth + b"{}" + b"}]}" * depth
            for way in (gateway.lane, gateway.way_of_all):
                said = await way("/v3/kv/txn", text)
                assert said.startswith(b"HTTP/1.1 200 " if depth <= 128 else b"HTTP/1.1 400 "), (depth, said[:200])

    run(work)
