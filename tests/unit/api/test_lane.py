"""The lane answers as the application does through ASGI, whatever comes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kvstore.api.app import App
from kvstore.api.rpc import Settings
from kvstore.errors import NoLeader, NoSpace
from kvstore.http.lane import Call, Head
from kvstore.wire import messages
from kvstore.wire.grpc import prefixed
from tests.model.backend import ModelBackend

KV = "/etcdserverpb.KV/"
GRPC = ((b"content-type", b"application/grpc"), (b"te", b"trailers"))


class Recorded(Call):
    def __init__(self, head: Head, body: bytes) -> None:
        self.head, self.body, self.closed = head, body, False
        self.message: bytes | None = None
        self.trailers: list[tuple[bytes, bytes]] | None = None
        self.ended = asyncio.Event()

    @property
    def client(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    @property
    def tls(self) -> None:
        return None

    def answer(self, message: bytes) -> None:
        assert self.message is None and self.trailers is None
        self.message = message
        self.ended.set()

    def fail(self, trailers: list[tuple[bytes, bytes]]) -> None:
        assert self.message is None and self.trailers is None
        self.trailers = trailers
        self.ended.set()

    @property
    def status(self) -> tuple[int, str]:
        assert self.trailers is not None
        fields = dict(self.trailers)
        return int(fields[b"grpc-status"]), fields.get(b"grpc-message", b"").decode()


def head(method: str, *more: tuple[bytes, bytes]) -> Head:
    return Head("POST", "http", b"x", (KV + method).encode(), KV + method, (*GRPC, *more))


async def ask(app: App, at: Head, message: Any) -> Recorded:
    call = Recorded(at, prefixed(message if isinstance(message, bytes) else message.SerializeToString()))
    assert app.lane(call)
    async with asyncio.timeout(10):
        await call.ended.wait()
    return call


def served(check: Callable[[App, ModelBackend], Any]) -> None:
    async def run() -> None:
        backend = ModelBackend()
        await check(App(backend, Settings(request_bytes_max=1000)), backend)

    asyncio.run(run())


def test_each_method_is_answered_and_counted() -> None:
    async def check(app: App, _: ModelBackend) -> None:
        put = await ask(app, head("Put"), messages.PutRequest(key=b"a", value=b"1"))
        assert messages.PutResponse.FromString(put.message).header.revision == 2
        found = messages.RangeResponse.FromString((await ask(app, head("Range"), messages.RangeRequest(key=b"a"))).message)
        assert [(kv.key, kv.value) for kv in found.kvs] == [(b"a", b"1")]
        operation = messages.RequestOp(request_put=messages.PutRequest(key=b"b", value=b"2"))
        txn = await ask(app, head("Txn"), messages.TxnRequest(success=[operation]))
        assert messages.TxnResponse.FromString(txn.message).succeeded
        gone = await ask(app, head("DeleteRange"), messages.DeleteRangeRequest(key=b"a", range_end=b"c"))
        assert messages.DeleteRangeResponse.FromString(gone.message).deleted == 2
        assert app.stats.handled == {(KV + method, "OK"): 1 for method in ("Put", "Range", "Txn", "DeleteRange")}
        assert app.stats.open_calls == 0

    served(check)


@pytest.mark.parametrize(
    ("method", "message", "code", "text"),
    [
        ("Put", b"\xff\xff", 13, "grpc: error unmarshalling request"),
        ("Put", messages.PutRequest(), 3, "etcdserver: key is not provided"),
        ("Put", messages.PutRequest(key=b"a", value=bytes(1000)), 3, "etcdserver: request is too large"),
        ("Range", messages.RangeRequest(key=b"a", revision=99), 11, "etcdserver: mvcc: required revision is a future revision"),
        ("Txn", messages.TxnRequest(success=[messages.RequestOp()]), 3, "etcdserver: key not found"),
    ],
)
def test_refusals_are_as_everywhere(method: str, message: Any, code: int, text: str) -> None:
    async def check(app: App, _: ModelBackend) -> None:
        status = (await ask(app, head(method), message)).status
        assert status[0] == code and status[1].startswith(text)
        assert app.stats.open_calls == 0

    served(check)


def test_a_message_beyond_the_limit_is_refused_by_its_length() -> None:
    async def check(app: App, _: ModelBackend) -> None:
        size = Settings(request_bytes_max=1000).message_bytes_max + 1
        call = Recorded(head("Put"), b"\0" + size.to_bytes(4, "big"))
        assert app.lane(call)
        assert call.status[0] == 8

    served(check)


def test_without_a_leader_only_who_asked_for_one_is_refused() -> None:
    async def check(app: App, backend: ModelBackend) -> None:
        backend.leader_id = type(backend.leader_id)(0)
        refused = await ask(app, head("Range", (b"hasleader", b"true")), messages.RangeRequest(key=b"a"))
        assert refused.status == (14, NoLeader.text)
        assert (await ask(app, head("Range"), messages.RangeRequest(key=b"a"))).message is not None

    served(check)


def test_a_learner_gives_serializable_ranges_only() -> None:
    async def check(app: App, backend: ModelBackend) -> None:
        backend.learner = True
        assert (await ask(app, head("Put"), messages.PutRequest(key=b"a"))).status[0] == 9
        assert (await ask(app, head("Range"), messages.RangeRequest(key=b"a"))).status[0] == 9
        assert (await ask(app, head("Range"), messages.RangeRequest(key=b"a", serializable=True))).message is not None

    served(check)


def test_a_deadline_ends_the_wait_and_the_late_outcome_goes_nowhere() -> None:
    async def check(app: App, backend: ModelBackend) -> None:
        backend.gate.clear()
        at = head("Put", (b"grpc-timeout", b"1m"))
        call = await ask(app, at, messages.PutRequest(key=b"a"))
        assert call.status == (4, "context deadline exceeded")
        backend.gate.set()
        await ask(app, head("Put"), messages.PutRequest(key=b"b"))
        assert backend.model.revision == 3
        assert call.message is None
        assert app.stats.handled == {(KV + "Put", "DeadlineExceeded"): 1, (KV + "Put", "OK"): 1}

    served(check)


def test_a_deadline_that_makes_no_sense_is_refused() -> None:
    async def check(app: App, _: ModelBackend) -> None:
        assert (await ask(app, head("Put", (b"grpc-timeout", b"soon")), messages.PutRequest(key=b"a"))).status[0] == 13

    served(check)


def test_with_authentication_nothing_is_taken() -> None:
    async def check(app: App, backend: ModelBackend) -> None:
        backend.auth_enabled = lambda: True  # type: ignore[method-assign]
        app = App(backend, Settings())
        assert not app.lane(Recorded(head("Range"), prefixed(b"")))

    served(check)


def test_the_versions_that_clients_say_are_counted_for_each_call() -> None:
    async def check(app: App, _: ModelBackend) -> None:
        at = head("Range", (b"client-api-version", b"3.5"))
        for _number in range(2):
            await ask(app, at, messages.RangeRequest(key=b"a"))
        assert app.stats.client_versions == {(False, "3.5"): 2}

    served(check)


def test_an_error_of_ours_is_an_internal_one() -> None:
    async def check(app: App, backend: ModelBackend) -> None:
        def start(_request: Any, answer: Any) -> None:
            answer.set_result(object())

        backend.start = start  # type: ignore[method-assign]
        app = App(backend, Settings())
        assert (await ask(app, head("Put"), messages.PutRequest(key=b"a"))).status[0] == 13

    served(check)


def test_the_store_s_errors_keep_their_code() -> None:
    async def check(app: App, backend: ModelBackend) -> None:
        backend.start = lambda _request, answer: answer.set_exception(NoSpace())  # type: ignore[method-assign]
        app = App(backend, Settings())
        assert (await ask(app, head("Put"), messages.PutRequest(key=b"a"))).status == (8, NoSpace.text)

    served(check)
