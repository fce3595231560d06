"""Invariant: whatever is POSTed to the gateway gets an HTTP status from the caller's range and a JSON body that says what was wrong."""

import contextlib
import json
import random
from typing import Any

import pytest

from tests.fuzz.target import Target, answer_of, rounds
from tests.oracle.sides import GATEWAY_PATHS

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

FIELDS = ["key", "range_end", "rangeEnd", "limit", "revision", "sort_order", "count_only", "TTL", "ID", "compare", "success", "lease", "x"]
HARMLESS = sorted(path for path in GATEWAY_PATHS.values() if path.rsplit("/", 1)[1] in ("range", "timetolive", "leases", "list", "status"))


def anything(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(9 if depth < 4 else 6)
    scalars = (None, True, -1, 1e308, "AA==", "\ud800\u0000", 2**63, "9" * 40, -0.5, "NaN", "", "%%%")
    if kind < 6:
        return chance.choice(scalars)
    if kind == 6:
        return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(FIELDS): anything(chance, depth + 1) for _ in range(chance.randrange(5))}


def test_random_bodies(target: Target) -> None:
    chance = random.Random(30)
    for _ in rounds():
        body = json.dumps(anything(chance)).encode()
        if chance.random() < 0.4:
            at = chance.randrange(len(body) + 1)
            body = body[:at] + chance.randbytes(chance.randrange(3)) + body[at + chance.randrange(3) :]
        answer = target.member.http.post(chance.choice(HARMLESS), body, timeout_s=5)
        assert answer.status in (200, 400, 404), (answer.status, body, answer.body)
        told = answer.json()
        assert answer.status == 200 or (told["code"] and told["message"]), (body, told)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b'{"key":"' + b"A" * 1_000_000, b'{"key": ' + b"9" * 100_000 + b"}"])
def test_deep_and_endless_json(target: Target, body: bytes) -> None:
    assert target.member.http.post("/v3/kv/range", body).status == 400


def test_a_body_larger_than_any_request(target: Target) -> None:
    try:
        answer = target.member.http.post("/v3/kv/put", b'{"key":"YQ==","value":"' + b"A" * 8_000_000 + b'"}')
    except OSError:
        return  # hung up in the middle of it: clear enough
    assert answer.status in (400, 413, 429), answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /v3/kv/range HTTP/1.1\r\n\r\n",
        b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
        b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Many: 1\r\n" * 20_000 + b"\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\x00" * 4096,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ],
    ids=range(12),
)
def test_requests_that_are_no_http(any_target: Target, request_bytes: bytes) -> None:
    connection = any_target.connect()
    with contextlib.suppress(OSError):  # it may hang up before it has heard all
        connection.sendall(request_bytes)
    got = answer_of(connection)
    assert not got.startswith(b"HTTP/1.1 2") or b"GET / HTTP/9.9" in request_bytes, got[:200]


def test_wrong_content_types_and_methods(target: Target) -> None:
    http = target.member.http
    for content_type in ("text/plain", "application/grpc+json", "application/json", "", "a" * 5000):
        answer = http.request("POST", "/etcdserverpb.KV/Range", b"\0\0\0\0\0", {"content-type": content_type})
        assert 400 <= answer.status < 600, (content_type, answer)
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "BREW"):
        assert http.request(method, "/v3/kv/range", b"{}").status in (400, 404, 405, 501), method
