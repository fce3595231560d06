"""Invariant: a request that two readers could read in two ways is refused, and no spelling of a path reaches what its plain form would not."""

import socket

import pytest

from tests.fuzz.target import Target, answer_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

BODY = b'{"key":"AWtlZXA="}'
LENGTH = b"content-length: %d" % len(BODY)
HOST = b"host: x"
FOUND = b'"kvs"'
"""In an answer: somebody read the key."""


def request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    last = [] if any(header.startswith(b"connection:") for header in headers) else [b"connection: close"]
    return b"\r\n".join([line, *headers, *last, b"", b""]) + body


def asked(target: Target, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", target.member.client_port), 5) as wire:
        wire.sendall(data)
        return answer_of(wire, 1.0)


def status(answer: bytes) -> int:
    """0: hung up on without a word."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


@pytest.mark.parametrize(
    "headers",
    [
        [LENGTH, b"content-length: 3"],
        [b"content-length: 0", LENGTH],
        [b"content-length: +%d" % len(BODY)],
        [b"content-length: -1"],
        [b"content-length: 0x12"],
        [LENGTH, b"transfer-encoding: chunked"],
        [LENGTH, b"transfer-encoding: xchunked"],
        [LENGTH, b"transfer-encoding : chunked"],
        [b"transfer-encoding: chunked, identity"],
        [LENGTH, b"host: y"],
        [LENGTH, b"x: a\r\n folded"],
        [LENGTH, b"nocolon"],
        [LENGTH, b"x\x00y: z"],
    ],
    ids=range(13),
)
def test_bodies_of_two_lengths_and_other_ambiguities(target: Target, headers: list[bytes]) -> None:
    answer = asked(target, request(b"POST /v3/kv/range HTTP/1.1", HOST, *headers, body=BODY))
    assert status(answer) in (400, 501), answer[:200]
    assert FOUND not in answer


def test_a_length_beyond_all_numbers(target: Target) -> None:
    for line in (b"transfer-encoding: chunked", b"content-length: 99999999999999999999999"):
        answer = asked(target, request(b"POST /v3/kv/range HTTP/1.1", HOST, line, body=b"ffffffffffffffff1\r\n" + BODY))
        assert status(answer) in (0, 400, 413)


@pytest.mark.parametrize(
    "path",
    [
        b"/health/../v3/kv/range",
        b"/health/%2e%2e/v3/kv/range",
        b"/v3beta/../v3/kv/range",
        b"/v3beta/%2e%2e/v3/kv/range",
        b"//v3/kv/range",
        b"/v3//kv/range",
        b"/v3/kv/range/",
        b"/V3/KV/RANGE",
        b"/v3/kv/range;x",
        b"/v3/%c0%ae%c0%ae/v3/kv/range",
        b"/v3/kv/range%00",
        b"\\v3\\kv\\range",
        b"/./v3/kv/range",
        b"/metrics/../v3/kv/range",
    ],
)
def test_paths_that_only_look_like_others(target: Target, path: bytes) -> None:
    answer = asked(target, request(b"POST " + path + b" HTTP/1.1", HOST, LENGTH, body=BODY))
    assert status(answer) in (400, 404), answer[:200]
    assert FOUND not in answer


def test_an_encoded_slash_is_a_slash_as_for_etcd(target: Target) -> None:
    assert FOUND in asked(target, request(b"POST /v3%2Fkv%2Frange HTTP/1.1", HOST, LENGTH, body=BODY))


@pytest.mark.parametrize(
    ("line", "statuses"),
    [
        (b"POST http://elsewhere/v3/kv/range HTTP/1.1", (400,)),
        (b"CONNECT x:443 HTTP/1.1", (400, 404, 405, 501)),
        (b"TRACE /version HTTP/1.1", (405,)),
        (b"GET /version\0 HTTP/1.1", (400,)),
        (b"GET /ver sion HTTP/1.1", (400,)),
        (b"GET /version HTTP/3.0", (400, 505)),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1", (414, 431)),
        (b"GET /version?" + b"a" * 100_000 + b" HTTP/1.1", (414, 431)),
        (b"\x16\x03\x01 / HTTP/1.1", (0, 400)),
    ],
    ids=range(9),
)
def test_first_lines(target: Target, line: bytes, statuses: tuple[int, ...]) -> None:
    assert status(asked(target, request(line, HOST))) in statuses


def test_headers_have_bounds(target: Target) -> None:
    assert status(asked(target, request(b"GET /version HTTP/1.1", HOST, b"x: " + b"a" * 100_000))) == 431
    assert status(asked(target, request(b"GET /version HTTP/1.1", HOST, *[b"x%d: y" % number for number in range(200)]))) == 431


def test_nobody_becomes_a_websocket_or_a_grpc_client_of_http1(target: Target) -> None:
    upgrade = [b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 13", b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="]
    for path in (b"/v3/watch", b"/etcdserverpb.Watch/Watch", b"/"):
        assert status(asked(target, request(b"GET " + path + b" HTTP/1.1", HOST, *upgrade))) in (404, 501)
    lines = target.member.log().count("\n")
    for path in (b"/etcdserverpb.KV/Range", b"/etcdserverpb.Watch/Watch", b"/none"):
        grpc = request(b"POST " + path + b" HTTP/1.1", HOST, b"content-type: application/grpc", b"content-length: 5", body=bytes(5))
        assert status(asked(target, grpc)) == 404
    assert target.member.log().count("\n") == lines, "a stranger writes into the log"


def test_no_header_says_who_somebody_is(target: Target) -> None:
    """Nor from where: what proxies say is believed of nobody."""
    claims = [b"x-forwarded-for: 192.0.2.1", b"forwarded: for=192.0.2.1", b"ssl-client-cert: CN=root", b"x-forwarded-proto: https"]
    assert FOUND in asked(target, request(b"POST /v3/kv/range HTTP/1.1", HOST, LENGTH, *claims, body=BODY))
    proxied = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + request(b"GET /version HTTP/1.1", HOST)
    assert status(asked(target, proxied)) in (0, 400)
