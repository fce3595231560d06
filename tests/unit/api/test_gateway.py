"""The JSON gateway: the golden answers of etcd (reference, 4.6), its routing, errors, headers and streams."""

import base64
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from kvstore.api.rpc import Settings
from kvstore.wire.gateway import PATHS
from tests.model.backend import CLUSTER, MEMBER, SNAPSHOT, TERM
from tests.unit.api.http2 import Answer, Exchange
from tests.unit.api.served import Served

A, B = "YQ==", "Yg=="
IDS = f'"cluster_id":"{CLUSTER}","member_id":"{MEMBER}"'


def header(revision: int) -> str:
    return f'"header":{{{IDS},"revision":"{revision}","raft_term":"{TERM}"}}'


def body(served: Served, path: str, request: Any) -> str:
    answer = served.http.post(path, request)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json"), answer
    assert answer.headers["grpc-metadata-content-type"] == "application/grpc"
    return answer.text()


def test_golden_answers(served: Served) -> None:
    assert body(served, "/v3/kv/range", {"key": A}) == f"{{{header(1)}}}"
    assert body(served, "/v3/kv/put", {"key": A, "value": B}) == f"{{{header(2)}}}"
    txn = {"success": [{"request_put": {"key": B}}, {"request_range": {"key": B}}, {"request_delete_range": {"key": "eg=="}}]}
    kv = f'{{"key":"{B}","create_revision":"3","mod_revision":"3","version":"1"}}'
    inner = '"header":{"revision":"3"}'
    assert body(served, "/v3/kv/txn", txn) == (
        f'{{{header(3)},"succeeded":true,"responses":[{{"response_put":{{{inner}}}}},'
        f'{{"response_range":{{{inner},"kvs":[{kv}],"count":"1"}}}},{{"response_delete_range":{{{inner}}}}}]}}'
    )
    assert body(served, "/v3/kv/txn", {"compare": [{"key": A, "target": "VERSION", "version": 5}]}) == f"{{{header(3)}}}"
    nested = {"success": [{"request_txn": {"success": []}}]}
    assert (
        body(served, "/v3/kv/txn", nested) == f'{{{header(3)},"succeeded":true,"responses":[{{"response_txn":{{"header":{{}},"succeeded":true}}}}]}}'
    )
    assert body(served, "/v3/lease/timetolive", {"ID": "55"}) == f'{{{header(3)},"ID":"55","TTL":"-1"}}'
    assert body(served, "/v3/lease/keepalive", {"ID": 55}) == f'{{"result":{{{header(3)},"ID":"55"}}}}\n'
    assert body(served, "/v3/maintenance/defragment", {}) == "{}"
    assert body(served, "/v3/maintenance/transfer-leadership", {"targetID": "1"}) == "{}"
    members = body(served, "/v3/cluster/member/list", {})
    assert members.startswith(f'{{"header":{{{IDS},"raft_term":"{TERM}"}},"members":[{{"ID":"{MEMBER}","name":"m1","peerURLs":["http')
    assert body(served, "/v3/auth/status", {}) == f'{{{header(3)},"authRevision":"1"}}'
    assert '"compact_revision":"-1"' in body(served, "/v3/maintenance/hashkv", {})


@pytest.mark.parametrize("path", ["/v3/lease/leases", "/v3/kv/lease/leases", "/v3beta/lease/leases", "/v3beta/kv/lease/leases"])
def test_old_paths(served: Served, path: str) -> None:
    assert body(served, path, {}) == f"{{{header(1)}}}"


def test_every_path_of_the_reference_is_there() -> None:
    expected = """kv/range kv/put kv/deleterange kv/txn kv/compaction watch lease/grant lease/revoke kv/lease/revoke lease/keepalive lease/timetolive
        kv/lease/timetolive lease/leases kv/lease/leases cluster/member/add cluster/member/remove cluster/member/update cluster/member/list
        cluster/member/promote maintenance/alarm maintenance/status maintenance/defragment maintenance/hash maintenance/hashkv
        maintenance/snapshot maintenance/transfer-leadership maintenance/downgrade auth/enable auth/disable auth/status auth/authenticate
        auth/user/add auth/user/get auth/user/list auth/user/delete auth/user/changepw auth/user/grant auth/user/revoke auth/role/add
        auth/role/get auth/role/list auth/role/delete auth/role/grant auth/role/revoke lock/lock lock/unlock election/campaign
        election/proclaim election/leader election/observe election/resign"""
    assert set(PATHS) == {f"/v3/{path}" for path in expected.split()}


@pytest.mark.parametrize(
    "path, request_, status, code, message",
    [
        ("/v3/kv/range", b"", 400, 3, "etcdserver: key is not provided"),
        ("/v3/kv/range", {"key": A, "revision": 9}, 400, 11, "etcdserver: mvcc: required revision is a future revision"),
        ("/v3/lease/revoke", {"ID": 9}, 404, 5, "etcdserver: requested lease not found"),
    ],
)
def test_errors(served: Served, path: str, request_: Any, status: int, code: int, message: str) -> None:
    answer = served.http.post(path, request_)
    assert answer.status == status
    assert answer.text() == json.dumps({"error": message, "code": code, "message": message}, separators=(",", ":"))


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b"null", b'{"key":5}', b'{"key":"YQ==","key":"YQ=="}', b"\xff", b'{"key":"\\ud800"}', b'{"sort_order":"UP"}']
)
def test_what_is_no_request_is_the_callers_fault(served: Served, text: bytes) -> None:
    answer = served.http.post("/v3/kv/range", text)
    assert (answer.status, answer.json()["code"]) == (400, 3)
    assert answer.json()["message"]
    assert served.http.post("/v3/kv/range", b'{"key":"YQ=="} trailing').status == 200


def test_a_body_beyond_all_limits(served: Served) -> None:
    too_large = b'{"key":"YQ==","value":"' + b"A" * 3_000_000 + b'"}'
    answer = served.http.post("/v3/kv/put", too_large)
    assert (answer.status, answer.json()["code"]) == (429, 8)
    answer = served.http.post("/v3/kv/put", {"key": A, "value": base64.b64encode(b"x" * 1_572_900).decode()})
    assert (answer.status, answer.json()["message"]) == (400, "etcdserver: request is too large")


def test_routing(served: Served) -> None:
    ask = served.http.request
    assert ask("GET", "/v3/kv/range").status == 501
    assert ask("GET", "/v3/kv/range").json() == {"code": 12, "message": "Method Not Allowed"}
    assert (ask("POST", "/v3/kv/nothing", b"{}").status, ask("POST", "/v3/kv/nothing", b"{}").json()) == (404, {"code": 5, "message": "Not Found"})
    for path in ("/v3/kv/range", "/v3/nothing", "/nothing", "/health"):
        answer = ask("OPTIONS", path)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-methods"] == "POST, GET, OPTIONS, PUT, DELETE"
    assert ask("POST", "/v3/kv/range", b"{}").headers["access-control-allow-origin"] == "*"


def test_settings_of_the_gateway() -> None:
    with Served(Settings(gateway=False, cors_origins=("https://good.example",))) as served:
        assert served.http.post("/v3/kv/range", {"key": A}).status == 404
        for origin, allowed in (("https://good.example", True), ("https://bad.example", False)):
            headers = served.http.request("OPTIONS", "/v3/kv/range", headers={"Origin": origin}).headers
            assert (headers.get("access-control-allow-origin") == origin) is allowed


def test_metadata_in_headers(served: Served) -> None:
    def lose_leader(backend: object) -> None:
        backend.leader_id = 0

    def ask(name: str, value: str) -> tuple[int, Any]:
        answer = served.http.request("POST", "/v3/kv/put", b'{"key":"YQ=="}', {name: value})
        return answer.status, answer.json().get("message")

    assert ask("Grpc-Timeout", "never") == (400, "invalid grpc-timeout: never")
    served.do(lambda backend: backend.gate.clear())
    assert ask("Grpc-Timeout", "50m") == (504, "context deadline exceeded")
    served.do(lambda backend: backend.gate.set())
    served.do(lose_leader)
    assert ask("Grpc-Metadata-hasleader", "true") == (503, "etcdserver: no leader")
    assert ask("Grpc-Metadata-hasleader", "false") == (200, None)


class Lines:
    """The lines of a streamed answer as they come."""

    def __init__(self, served: Served, path: str, request: bytes) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        self._connection.request("POST", path, request)
        self.response = self._connection.getresponse()

    def __iter__(self) -> Iterator[Any]:
        while line := self.response.readline():
            yield json.loads(line)

    def close(self) -> None:
        self.response.close()
        self._connection.close()


def test_a_watch_outlives_its_request_and_ends_with_its_client(served: Served) -> None:
    lines = Lines(served, "/v3/watch", b'{"create_request":{"key":"YQ==","watch_id":"3"}} {"create_request":{"key":"Yg=="}}\n{"progress_request":{}}')
    told = iter(lines)
    assert next(told) == {"result": {"header": json.loads(f"{{{header(1)}}}")["header"], "watch_id": "3", "created": True}}
    assert next(told)["result"].get("watch_id") is None
    assert next(told)["result"]["watch_id"] == "-1"
    served.http.post("/v3/kv/put", {"key": A, "value": B})
    event = {"kv": {"key": A, "create_revision": "2", "mod_revision": "2", "version": "1", "value": B}}
    assert next(told)["result"]["events"] == [event]
    served.http.post("/v3/kv/deleterange", {"key": A})
    assert next(told)["result"]["events"] == [{"type": "DELETE", "kv": {"key": A, "mod_revision": "3"}}]
    lines.close()
    assert served.wait_until(lambda backend: not backend.streams), "a watcher outlives its client"


def test_requests_of_a_watch_are_heard_as_they_come(served: Served) -> None:
    """The body need not have ended (over HTTP/2: an HTTP/1.1 body is given to the application when it is whole)."""
    with Exchange(served.port) as exchange:
        stream, answer = exchange.begin("/v3/watch", {"content-type": "application/json"}), Answer()
        exchange.send(stream, b'{"create_request":{"key":"YQ=="}}{"create_requ', end=False)
        while answer.body.count(b"\n") < 1:
            exchange.take(stream, answer)
        exchange.send(stream, b'est":{"key":"Yg=="}}', end=False)
        while answer.body.count(b"\n") < 2:
            exchange.take(stream, answer)
        assert [json.loads(line)["result"].get("watch_id", "0") for line in answer.body.splitlines()] == ["0", "1"]
        exchange.reset(stream)
        assert served.wait_until(lambda backend: not backend.streams)


def test_a_watch_below_the_compacted_revision(served: Served) -> None:
    for _ in range(3):
        served.http.post("/v3/kv/put", {"key": A})
    served.http.post("/v3/kv/compaction", {"revision": 3})
    lines = Lines(served, "/v3/watch", b'{"create_request":{"key":"YQ==","start_revision":2}}')
    told = iter(lines)
    assert next(told)["result"]["created"]
    assert next(told) == {
        "result": {
            "header": {"cluster_id": str(CLUSTER), "member_id": str(MEMBER), "raft_term": str(TERM)},
            "canceled": True,
            "compact_revision": "3",
        }
    }
    lines.close()


def test_failing_streams(served: Served) -> None:
    before = Lines(served, "/v3/watch", b'{"create_request":5}')
    assert before.response.status == 400
    [failure] = list(before)
    assert failure["error"]["code"] == 3
    before.close()
    cut = Lines(served, "/v3/lease/keepalive", b'{"ID":"1"} {"ID"')
    assert cut.response.status == 200
    first, last = list(cut)
    assert first["result"]["ID"] == "1"
    assert last == {"error": {"code": 3, "message": "unexpected EOF"}}
    cut.close()


def test_an_observer_that_leaves_before_there_is_anything_to_observe_is_noticed(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(b"POST /v3/election/observe HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        assert served.wait_until(lambda backend: any(stream.watchers for stream in backend.streams))
    assert served.wait_until(lambda backend: not backend.streams)


def test_a_snapshot_in_lines(served: Served) -> None:
    lines = Lines(served, "/v3/maintenance/snapshot", b"")
    results = [line["result"] for line in lines]
    assert b"".join(base64.b64decode(result["blob"]) for result in results[:-1]) == SNAPSHOT
    assert [result.get("remaining_bytes") for result in results] == [str(len(SNAPSHOT) - 32_768), str(len(SNAPSHOT) - 65_536), None, None]
    lines.close()


def test_a_client_that_leaves_before_its_answer_hurts_nobody(served: Served) -> None:
    served.do(lambda backend: backend.gate.clear())
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(b'POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{"key":"YQ=="}')
        assert served.wait_until(lambda backend: backend.waiting == 1)
    served.do(lambda backend: backend.gate.set())
    assert served.wait_until(lambda backend: backend.model.revision == 2)
    assert served.http.post("/v3/kv/range", {"key": A}).status == 200
