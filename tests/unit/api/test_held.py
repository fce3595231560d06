"""What clients may make a member keep: who takes most goes, who takes little is not touched."""

import contextlib
import socket
import time

from kvstore.api.held import Held, Share
from kvstore.api.rpc import Settings
from kvstore.wire import messages as pb
from tests.support import http2
from tests.unit.api.served import Served

LIMIT = 8 << 20
TIMEOUT_S = 10.0


def test_the_largest_goes_and_counts_no_more():
    held = Held(100)
    gone: list[str] = []
    held.hang_up = gone.append
    with Share(held, "a") as first, Share(held, "b") as second, Share(held, "a") as third:
        first.set(30)
        second.set(40)
        third.set(29)
        assert (held.total, gone) == (99, [])
        second.set(50)
        assert gone == ["a"], "its two requests hold 59"
        assert (held.total, held.by_client) == (50, {"b": 50})
        first.set(90)
        assert gone == ["a"], "what is hung up on does not count until it has ended"
        second.set(101)
        assert gone == ["a", "b"]
    assert (held.total, held.by_client) == (0, {})
    with Share(held, "a") as again:
        again.set(10)
        assert held.by_client == {"a": 10}, "who comes again begins anew"


def wait_for_end(wire: socket.socket) -> None:
    """Until the server hangs up."""
    wire.settimeout(TIMEOUT_S)
    with contextlib.suppress(ConnectionResetError):
        while wire.recv(65536):
            pass


def small_put_is_prompt(served: Served) -> None:
    began_s = time.monotonic()
    served.wire.ask(pb.PutRequest(key=b"small", value=b"x"), TIMEOUT_S)
    assert time.monotonic() - began_s < 5


def test_answers_that_nobody_takes():
    with Served(Settings(held_bytes_max=LIMIT)) as served:
        served.wire.ask(pb.PutRequest(key=b"large", value=bytes(1 << 20)))
        block, body = http2.request_block("/etcdserverpb.KV/Range"), http2.message(pb.RangeRequest(key=b"large").SerializeToString())
        with http2.connect(served.port, [(http2.INITIAL_WINDOW, 0)]) as wire:
            for number in range(30):
                stream = 2 * number + 1
                wire.sendall(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block) + http2.frame(http2.DATA, http2.END_STREAM, stream, body))
            wait_for_end(wire)
        small_put_is_prompt(served)
        assert served.wait_until(lambda _: served.app.held.total == 0)


def test_bodies_that_never_end():
    with Served(Settings(held_bytes_max=LIMIT)) as served:
        block = http2.request_block("/etcdserverpb.KV/Put")
        with http2.connect(served.port) as wire, contextlib.suppress(OSError):
            for number in range(30):
                stream = 2 * number + 1
                wire.sendall(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block))
                wire.sendall(http2.frame(http2.DATA, 0, stream, b"\0" + (1_500_000).to_bytes(4, "big")))
                for _ in range(70):
                    wire.sendall(http2.frame(http2.DATA, 0, stream, bytes(16_000)))
            wait_for_end(wire)
        small_put_is_prompt(served)
        assert served.wait_until(lambda _: served.app.held.total == 0)


def test_json_bodies_that_never_end():
    with Served(Settings(held_bytes_max=LIMIT)) as served, contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(("127.0.0.1", served.port), TIMEOUT_S)) for _ in range(12)]
        for wire in crowd:
            wire.sendall(b"POST /v3/kv/put HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\n\r\n" + b" " * 1_000_000)
        assert served.wait_until(lambda _: 0 < served.app.held.total <= LIMIT)
        small_put_is_prompt(served)


def test_a_large_answer_to_somebody_who_reads_is_whole():
    with Served(Settings(held_bytes_max=LIMIT)) as served:
        value = bytes(range(256)) * 5000
        served.wire.ask(pb.PutRequest(key=b"large", value=value))
        for _ in range(20):
            assert served.wire.ask(pb.RangeRequest(key=b"large")).kvs[0].value == value
        assert served.wait_until(lambda _: served.app.held.total == 0)
