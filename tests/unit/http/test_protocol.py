"""HTTP/2 on a transport: what is written in the turn in which it goes away."""

import asyncio
from typing import Any

from kvstore.http.lane import Call
from kvstore.http.limits import Info, Limits
from kvstore.http.protocol import Http2, Server
from tests.support.http2 import PREFACE, SETTINGS, frame
from tests.unit.http.conversation import CLIENT, UNARY, call
from tests.unit.http.http1 import Transport, run, settle


class App:
    """Keeps its calls until the test answers them."""

    lane_paths = frozenset({UNARY})

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def lane(self, call: Call) -> bool:
        self.calls.append(call)
        return True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("everything is for the lane")


def test_an_answer_to_a_client_who_left_in_the_same_turn_is_dropped_silently() -> None:
    """A closed transport of uvloop refuses what is written to it with an exception, and nobody but the log would see that."""

    async def play() -> None:
        app, transport, failures = App(), Transport(), list[dict[str, Any]]()
        asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
        server = Server(app, Limits(), lambda work, name: None)  # type: ignore[arg-type,return-value]
        connection = Http2(server, Info(CLIENT, ("192.0.2.2", 2379), None, server._spawn))
        transport.protocol = connection
        connection.connection_made(transport)
        connection.data_received(PREFACE + frame(SETTINGS, 0, 0) + call())
        said = transport.written
        app.calls[0].answer(b"late")  # goes out in the next turn
        transport.abort()
        await settle()
        assert not failures
        assert transport.written == said
        assert not connection.connection.out

    run(play)
