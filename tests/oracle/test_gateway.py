"""The JSON gateway beside etcd's: bodies as they stand on the line, streams line by line, and the other paths of the client port."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.outcomes import json_masked
from tests.oracle.sides import Side
from tests.support import kinds

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STREAM_TIMEOUT_S = 10


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    oracle = Side(kinds.find(kinds.ETCD), folder / "oracle")
    try:
        subject = Side(kinds.subject(), folder / "subject")
        yield oracle, subject
        subject.close()
    finally:
        oracle.close()


def masked(side: Side, body: bytes) -> Any:
    pairs = json.loads(body, object_pairs_hook=lambda found: [list(pair) for pair in found])
    return list(json_masked(side, pairs))


def both(pair: tuple[Side, Side], path: str, body: Any) -> Any:
    """The masked answer of both, which must be one, to one POST."""
    answers = [side.member.http.post(path, body) for side in pair]
    shown = [(answer.status, answer.headers["content-type"], masked(side, answer.body)) for side, answer in zip(pair, answers, strict=True)]
    assert shown[0] == shown[1]
    return shown[0][2]


def test_names_numbers_and_bytes_are_read_in_every_form(pair: tuple[Side, Side]) -> None:
    both(pair, "/v3/kv/put", {"key": "Zm9v", "value": "YmFy", "prevKv": True})
    both(pair, "/v3/kv/put", {"key": "Zm9v", "value": "+/8=", "prev_kv": True})
    both(pair, "/v3/kv/range", {"key": "AA==", "rangeEnd": "AA==", "limit": "1"})
    both(pair, "/v3/kv/range", {"key": "AA==", "range_end": "AA==", "limit": 1, "sortOrder": "DESCEND", "sort_target": "MOD"})
    both(pair, "/v3/kv/range", {"key": "AA==", "range_end": "AA==", "sort_order": 2, "unknown": {"a": [1]}})
    both(pair, "/v3/kv/range", {"key": "Zm9v", "revision": None, "count_only": True})
    both(pair, "/v3/kv/txn", {"compare": [{"key": "Zm9v", "target": "VALUE", "value": "+/8="}], "success": [{"requestRange": {"key": "Zm9v"}}]})
    both(pair, "/v3/kv/range", b"")


def test_present_but_empty_messages_stay(pair: tuple[Side, Side]) -> None:
    both(pair, "/v3/kv/put", {"key": "Zm9v"})
    nested = {"success": [{"request_txn": {"success": [{"request_delete_range": {"key": "Zm9v"}}]}}, {"request_range": {"key": "Zm9v"}}]}
    both(pair, "/v3/kv/txn", nested)
    both(pair, "/v3/kv/txn", {"compare": [{"key": "Zm9v", "target": "VERSION", "version": "5"}]})


def test_leases_by_both_their_paths(pair: tuple[Side, Side]) -> None:
    both(pair, "/v3/lease/grant", {"ID": "71", "TTL": "1000"})
    both(pair, "/v3/kv/put", {"key": "bGVhc2Vk", "lease": 71})
    for prefix in ("/v3", "/v3/kv", "/v3beta"):
        both(pair, f"{prefix}/lease/leases", {})
    for side in pair:
        answer = side.member.http.post("/v3/kv/lease/timetolive", {"ID": 71, "keys": True}).json()
        assert answer["keys"] == ["bGVhc2Vk"] and 990 <= int(answer["TTL"]) <= int(answer["grantedTTL"]) == 1000
    both(pair, "/v3/lease/timetolive", {"ID": "404"})
    both(pair, "/v3/kv/lease/revoke", {"ID": "71"})


def test_values_that_do_not_parse_are_the_callers_fault(pair: tuple[Side, Side]) -> None:
    wrong = [b"{", b"[]", b'{"key": 5}', b'{"key": "%%%"}', b'{"limit": "x"}', b'{"limit": 1.5}', b'{"sort_order": "UP"}', b'{"count_only": 1}']
    for body in [*wrong, b'"text"', b'{"key": "Zm9v"', b"\xff\xfe", b'{"limit": 99999999999999999999}']:
        answers = [side.member.http.post("/v3/kv/range", body) for side in pair]
        assert [answer.status for answer in answers] == [400, 400], (body, answers)
        assert [answer.json()["code"] for answer in answers] == [3, 3]
        assert all(answer.json()["message"] for answer in answers)


class Lines:
    """The lines of one streaming answer as they come."""

    def __init__(self, side: Side, path: str, body: bytes) -> None:
        self._side = side
        self._connection = http.client.HTTPConnection("127.0.0.1", side.member.client_port, timeout=STREAM_TIMEOUT_S)
        self._connection.request("POST", path, body)
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.content_type = self._response.headers["content-type"]

    def next(self) -> Any:
        line = self._response.readline()
        return masked(self._side, line) if line else None

    def close(self) -> None:
        self._response.close()
        self._connection.close()


def test_a_watch_streams_a_line_for_each_response_and_outlives_its_request(pair: tuple[Side, Side]) -> None:
    shown = []
    for side in pair:
        lines = Lines(side, "/v3/watch", b'{"create_request": {"key": "d2F0Y2hlZA==", "prev_kv": true}}')
        got = [lines.next()]
        for value in ("MQ==", "Mg=="):
            side.member.http.post("/v3/kv/put", {"key": "d2F0Y2hlZA==", "value": value})
            got.append(lines.next())
        side.member.http.post("/v3/kv/deleterange", {"key": "d2F0Y2hlZA=="})
        got.append(lines.next())
        lines.close()
        shown.append((lines.status, lines.content_type, got))
    assert shown[0] == shown[1]


def test_several_requests_in_one_watch_body(pair: tuple[Side, Side]) -> None:
    body = b'{"create_request": {"key": "YQ==", "watch_id": 5}}\n {"create_request": {"key": "Yg=="}}{"cancel_request": {"watch_id": 5}}'
    shown = []
    for side in pair:
        lines = Lines(side, "/v3/watch", body)
        shown.append([lines.next() for _ in range(3)])
        lines.close()
    assert shown[0] == shown[1]


def test_keep_alive_ends_after_the_last_answer(pair: tuple[Side, Side]) -> None:
    both(pair, "/v3/lease/grant", {"ID": "72", "TTL": "1000"})
    shown = []
    for side in pair:
        lines = Lines(side, "/v3/lease/keepalive", b'{"ID": "72"}{"ID": "404"}')
        shown.append([lines.next() for _ in range(3)])
        lines.close()
    assert shown[0] == shown[1]
    assert shown[0][2] is None, "the stream did not end"
    both(pair, "/v3/lease/revoke", {"ID": 72})


def test_a_snapshot_comes_in_lines_and_ends_with_its_checksum(pair: tuple[Side, Side]) -> None:
    import base64
    import hashlib

    for side in pair:
        connection = http.client.HTTPConnection("127.0.0.1", side.member.client_port, timeout=STREAM_TIMEOUT_S)
        connection.request("POST", "/v3/maintenance/snapshot", b"{}")
        results = [json.loads(line)["result"] for line in connection.getresponse().read().splitlines()]
        connection.close()
        blobs = [base64.b64decode(result.get("blob", "")) for result in results]
        content = b"".join(blobs[:-1])
        assert blobs[-1] == hashlib.sha256(content).digest()
        assert content and max(map(len, blobs)) <= 32 * 1024
        left = len(content)
        for result, blob in zip(results[:-1], blobs[:-1], strict=True):
            left -= len(blob)
            assert int(result.get("remaining_bytes", "0")) == left


@pytest.mark.parametrize("path", ["/health", "/health?serializable=true", "/health?exclude=NOSPACE"])
def test_health_is_told_the_same(pair: tuple[Side, Side], path: str) -> None:
    answers = [side.member.http.get(path) for side in pair]
    assert [(answer.status, answer.json()) for answer in answers] == [(200, {"health": "true", "reason": ""})] * 2


def test_other_methods_and_paths_of_the_port(pair: tuple[Side, Side]) -> None:
    for method, path, status in [("POST", "/health", 405), ("GET", "/nothing", 404), ("OPTIONS", "/v3/kv/range", 200)]:
        assert [side.member.http.request(method, path).status for side in pair] == [status] * 2, (method, path)
    for side in pair:
        version = side.member.http.get("/version").json()
        assert version["etcdserver"].startswith("3.") and version["etcdcluster"].startswith("3.")
        metrics = side.member.http.get("/metrics").text()
        for name in (
            "etcd_server_has_leader 1",
            "etcd_server_is_leader 1",
            "etcd_mvcc_db_total_size_in_bytes",
            "process_resident_memory_bytes",
        ):
            assert f"\n{name}" in metrics, name
