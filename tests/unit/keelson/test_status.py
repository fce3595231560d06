"""From members' answers to what is shown, and what a bad answer becomes."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from keelson.launcher import calls, status
from keelson.launcher.calls import Caller, NoAnswer, Status
from keelson.launcher.cluster import Cluster, ClusterSpec, MemberSpec
from keelson.launcher.status import Process

LEADER = Status(1, 1, 3, 120, 120, 40, 24_576, "3.6.0", False)
ANSWERS = {
    "m1": LEADER,
    "m2": Status(2, 1, 3, 110, 100, 35, 20_480, "3.6.0", False),
    "m3": NoAnswer("connection refused"),
    "m4": NoAnswer("no answer in time"),
    "m5": Status(5, 0, 4, 90, 90, 30, 20_480, "3.6.0", False),
    "m6": Status(6, 1, 3, 120, 120, 40, 20_480, "3.6.0", True),
}
KNOWN = {name: Process(pid=100, up_s=75.0, restarts=1) for name in ANSWERS} | {"m3": Process(restarts=4)}
URLS = {name: f"https://{name}" for name in ANSWERS}


def test_every_member_has_its_row() -> None:
    rows = status.rows(ANSWERS, KNOWN, URLS)
    assert [(row.name, row.role, row.lag, row.healthy) for row in rows] == [
        ("m1", "leader", 0, True),
        ("m2", "follower", 20, True),
        ("m3", "down", None, False),
        ("m4", "no answer", None, False),
        ("m5", "no leader", 30, False),
        ("m6", "learner", 0, True),
    ]
    assert rows[2].problem == "connection refused"
    assert rows[2].restarts == 4


def test_the_table_lines_up() -> None:
    text = status.as_text(status.rows(ANSWERS, KNOWN, URLS)[:3], colour=False)
    assert text.split("\n") == [
        "MEMBER  ROLE      TERM  INDEX  REVISION  DB SIZE  LAG     UP  RESTARTS  CLIENT URL",
        "m1      leader       3    120        40    25 kB    0  1m15s         1  https://m1",
        "m2      follower     3    110        35    20 kB   20  1m15s         1  https://m2",
        "m3      down         -      -         -        -    -      -         4  https://m3",
    ]


def test_the_live_table_has_the_same_cells() -> None:
    table = status._live_table(status.rows(ANSWERS, KNOWN, URLS))
    assert [column.header for column in table.columns] == list(status.HEADERS[:-1])
    assert table.row_count == len(ANSWERS)


def test_the_gateways_json_is_understood() -> None:
    answer = {
        "header": {"cluster_id": "1", "member_id": "18446744073709551615", "revision": "7", "raft_term": "2"},
        "version": "3.6.0",
        "dbSize": "20480",
        "leader": "18446744073709551615",
        "raftIndex": "12",
        "raftTerm": "2",
        "raftAppliedIndex": "11",
    }
    assert calls.decode_status(answer) == Status(2**64 - 1, 2**64 - 1, 2, 12, 11, 7, 20_480, "3.6.0", False)


class Handler(http.server.BaseHTTPRequestHandler):
    replies: ClassVar[dict[str, tuple[int, bytes]]] = {
        "/health": (503, b'{"health":"false","reason":"RAFT NO LEADER"}\n'),
        "/v3/maintenance/status": (200, b'{"no":"header"}'),
        "/garbage": (200, b"<html>"),
    }

    def do_GET(self) -> None:
        code, body = self.replies[self.path]
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name is the base class's

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def caller() -> Iterator[Caller]:
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Caller(Cluster(Path("/nowhere"), ClusterSpec((MemberSpec("m1", server.server_port, 1),), insecure=True)))
        server.shutdown()
        thread.join()


def test_bad_answers_are_no_answers(caller: Caller) -> None:
    (member,) = caller.cluster.members
    with pytest.raises(NoAnswer, match=r"HTTP 503: .*RAFT NO LEADER"):
        caller.check_health(member)
    with pytest.raises(NoAnswer, match="not a status: KeyError"):
        caller.status(member)
    with pytest.raises(NoAnswer, match="no JSON"):
        caller.request(member, "GET", "/garbage")
    assert [str(answer) for answer in caller.statuses().values()] == ["not a status: KeyError('header')"]


def test_nobody_there_is_no_answer() -> None:
    caller = Caller(Cluster(Path("/nowhere"), ClusterSpec((MemberSpec("m1", 1, 2),), insecure=True)))
    with pytest.raises(NoAnswer, match="connection refused"):
        caller.check_health(caller.cluster.members[0])


class Refusing(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        content = b"CommonName of client sending a request against gateway will be ignored and not used as expected\n"
        self.send_response(400)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def test_a_certificate_that_the_gateway_refuses_goes_by_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    class Line:
        def call(self, path: str, body: dict[str, str]) -> dict[str, str]:
            return {"asked": path} | body

        def close(self) -> None:
            closed.append(self)

    closed: list[Line] = []
    monkeypatch.setattr(Caller, "line", lambda *_: Line())
    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        caller = Caller(Cluster(Path("/nowhere"), ClusterSpec((MemberSpec("m1", server.server_port, 1),), insecure=True)))
        (member,) = caller.cluster.members
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        assert caller.request(member, "POST", "/v3/kv/put", {"key": "aw=="}) == {"asked": "/v3/kv/put", "key": "aw=="}
        server.shutdown()
        thread.join()
    assert caller.request(member, "POST", "/v3/kv/put", {}) == {"asked": "/v3/kv/put"}, "the gateway is not asked again"
    assert len(closed) == 2
