"""Invariant: garbage, silence, half-finished handshakes and crowds on a port hinder nobody else."""

import contextlib
import random
import socket
import ssl
import time

import pytest

from kvstore.wire import messages as pb
from tests.fuzz.target import Target, answer_of, rounds
from tests.support import http2
from tests.support.calls import Wire
from tests.support.http import client_context
from tests.support.http2 import PREFACE

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

EMPTY_SETTINGS = http2.frame(http2.SETTINGS, 0, 0)


def ports(target: Target) -> list[int]:
    return [target.member.client_port, target.member.peer_port]


def test_random_bytes_on_both_ports(any_target: Target) -> None:
    chance = random.Random(40)
    for number in rounds():
        connection = any_target.connect(ports(any_target)[number % 2], secure=False)
        with contextlib.suppress(OSError):
            connection.sendall(chance.randbytes(chance.choice([1, 10, 200, 5000, 100_000])))
        connection.close()
        if number % 50 == 0:
            any_target.check()


def test_silent_connections_in_numbers(any_target: Target) -> None:
    """Opened and left alone, some with the beginning of something."""
    beginnings = [
        b"",
        b"P",
        b"POST /v3/kv/put HTTP/1.1\r\nContent-Length: 100\r\n\r\n{",
        PREFACE,
        PREFACE + EMPTY_SETTINGS,
        b"\x16\x03\x01\x02\x00\x01",
    ]
    crowd = []
    for number in range(200):
        connection = any_target.connect(ports(any_target)[number % 2], secure=False)
        connection.sendall(beginnings[number % len(beginnings)])
        crowd.append(connection)
    any_target.check()
    for connection in crowd:
        connection.close()


def test_a_client_that_sends_a_byte_at_a_time_is_served(target: Target) -> None:
    connection = target.connect()
    body = b'{"key":"AWtlZXA="}'
    for byte in b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body:
        connection.sendall(bytes([byte]))
    assert b'"count":"1"' in answer_of(connection).replace(b" ", b"")


def test_frames_of_http2_that_break_its_rules(any_target: Target) -> None:
    frames = {
        "a frame of 16 MiB": b"\xff\xff\xff\x00\0\0\0\0\x01",
        "data on a stream that is idle": b"\0\0\x01\x00\0\0\0\0\x05x",
        "a window of more than 2^31": b"\0\0\x04\x08\0\0\0\0\0\x7f\xff\xff\xff" * 3,
        "headers that do not unpack": b"\0\0\x05\x01\x04\0\0\0\x01\xff\xff\xff\xff\xff",
        "headers on an even stream": b"\0\0\x01\x01\x05\0\0\0\x02\x82",
        "settings with an odd length": b"\0\0\x05\x04\0\0\0\0\0abcde",
        "a continuation of nothing": b"\0\0\x01\x09\x04\0\0\0\x01x",
        "a push from a client": b"\0\0\x04\x05\x04\0\0\0\x01\0\0\0\x02",
        "ten thousand pings": b"\0\0\x08\x06\0\0\0\0\0pingpong" * 10_000,
        "ten thousand settings": EMPTY_SETTINGS * 10_000,
        "resets of streams that never were": b"".join(b"\0\0\x04\x03\0" + (2 * n + 1).to_bytes(4, "big") + b"\0\0\0\x08" for n in range(5000)),
    }
    for name, data in frames.items():
        connection = any_target.connect()
        with contextlib.suppress(OSError):
            connection.sendall(PREFACE + EMPTY_SETTINGS + data)
        answer_of(connection, 1)
        any_target.check()
        assert any_target.member.alive(), name


def grpc_request(target: Target, body: bytes, path: str = "/etcdserverpb.KV/Put", end: bool = True, **headers: str) -> bytes:
    """Send `body` as the DATA of one gRPC call and return all that the server said (HTTP/2 frames)."""
    block = http2.request_block(path, **headers)
    data = http2.opening() + http2.frame(http2.HEADERS, http2.END_HEADERS, 1, block)
    for at in range(0, max(len(body), 1), 16_000):
        last = at + 16_000 >= len(body)
        data += http2.frame(http2.DATA, http2.END_STREAM if end and last else 0, 1, body[at : at + 16_000])
    connection = target.connect()
    connection.sendall(data)
    return answer_of(connection, 3)


def test_grpc_lengths_that_lie(any_target: Target) -> None:
    put = pb.PutRequest(key=b"lie", value=b"x").SerializeToString()
    bodies = {
        "claims 4 GiB": b"\0\xff\xff\xff\xff" + put,
        "claims 1.9 MiB and ends": b"\0\x00\x1e\x00\x00" + put,
        "claims less than it brings": b"\0\0\0\0\x02" + put,
        "half a header": b"\0\0",
        "nothing at all": b"",
        "two messages for a unary call": (b"\0" + len(put).to_bytes(4, "big") + put) * 2,
        "an unknown compression flag": b"\x07" + len(put).to_bytes(4, "big") + put,
        "says gzip, is not": b"\x01" + len(put).to_bytes(4, "big") + put,
    }
    for name, body in bodies.items():
        said = grpc_request(any_target, body, grpc_encoding="gzip") if "gzip" in name else grpc_request(any_target, body)
        assert said, f"{name}: not a word"
        any_target.check()


def test_odd_grpc_headers(target: Target) -> None:
    body = b"\0\0\0\0\x00"
    for headers in ({"grpc_timeout": "99999999999H"}, {"grpc_timeout": "x"}, {"grpc_encoding": "zstd"}, {"content_type": "application/grpc+thrift"}):
        assert grpc_request(target, body, **headers), headers
    for path in ("/", "", "/etcdserverpb.KV", "/etcdserverpb.KV/Range?x=1", "/" + "a" * 8000, "//", "/\x00/\x7f"):
        grpc_request(target, body, path)
        target.check()


def test_a_watch_of_garbage_ends_alone(target: Target) -> None:
    assert grpc_request(target, b"\0\0\0\0\x05\xff\xff\xff\xff\xff", "/etcdserverpb.Watch/Watch", end=False)
    assert grpc_request(target, b"\0\0\0\0\x00" * 1000, "/etcdserverpb.Watch/Watch", end=False)


def test_a_client_that_never_reads(target: Target) -> None:
    """It asks for 200 times a megabyte and takes nothing: the server must wait for it, not pile up."""
    wire = Wire(target.member.endpoint)
    wire.ask(pb.PutRequest(key=b"large", value=b"x" * 1_000_000))
    raw = target.connect()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    body = b'{"key":"bGFyZ2U="}'
    request = b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    raw.settimeout(1)
    try:
        for _ in range(200):
            raw.sendall(request)
    except OSError:
        pass
    time.sleep(0.5)
    target.check()
    raw.close()
    wire.ask(pb.DeleteRangeRequest(key=b"large"))
    wire.close()


def test_broken_tls_handshakes(any_target: Target) -> None:
    """Plain text, old versions, no certificate, a stranger's certificate, a hello and then nothing."""
    if any_target.tls is None:
        hello = ssl.MemoryBIO()
        client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="x")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        connection = any_target.connect()
        connection.sendall(hello.read())
        answer_of(connection, 1)
        return
    for port in ports(any_target):
        plain = any_target.connect(port, secure=False)
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"true" not in answer_of(plain, 1)
        without = client_context(any_target.tls, with_certificate=False)
        assert not secret(any_target, port, without)
        old = client_context(any_target.tls)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLS"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        assert not secret(any_target, port, old)
    any_target.check()


def secret(target: Target, port: int, context: ssl.SSLContext) -> bytes:
    """What the server tells a client that comes with `context`; nothing, if it refuses it."""
    raw = target.connect(port, secure=False)
    try:
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(1000)
    except OSError:
        return b""
    finally:
        raw.close()


def test_handshakes_that_are_never_finished(either: Target) -> None:
    """Half a hello on each of hundreds of connections: whoever means it is served at once, and they are given up after some seconds."""
    if either.tls is None:
        pytest.skip("there is no handshake")
    hello = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="x")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    half = hello.read()[:100]
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(contextlib.closing(either.connect(ports(either)[number % 2], secure=False))) for number in range(1400)]
        for number, connection in enumerate(crowd):
            with contextlib.suppress(OSError):
                connection.sendall(half[: number % 100])
        began_s = time.monotonic()
        either.check()
        assert secret(either, either.member.client_port, client_context(either.tls))
        assert time.monotonic() - began_s < 5
        for last in crowd[-2:]:
            last.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert last.recv(1) == b"", "a handshake that is not finished is given up"
    either.check()
