"""The comparison can fail: an oracle beside a liar, one lie at a time, must end in a Mismatch."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf.message import Message

from kvstore.wire import messages as pb
from tests.oracle.duel import Duel, Mismatch
from tests.oracle.run import run
from tests.support import kinds
from tests.support.calls import OK, Reply, Wire

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


class LyingWire:
    """A connection whose replies pass through `lie` before anybody sees them."""

    def __init__(self, wire: Wire, lie: Callable[[str, Reply], Reply]) -> None:
        self._wire, self._lie = wire, lie
        self.channel = wire.channel

    def call(self, method: str, request: Message | bytes) -> Reply:
        reply = self._wire.call(method, request)
        return self._lie(method, reply)

    def keep_alive(self, lease: int) -> Reply:
        return self._wire.keep_alive(lease)

    def close(self) -> None:
        self._wire.close()


@pytest.fixture
def duel(tmp_path: Path) -> Iterator[Duel]:
    made = Duel(kinds.find(kinds.ETCD), kinds.find(kinds.ETCD), tmp_path)
    yield made
    made.close()


def one_more(method: str, reply: Reply) -> Reply:
    if isinstance(reply.message, pb.RangeResponse):
        reply.message.count += 1
    return reply


def lost_previous(method: str, reply: Reply) -> Reply:
    if isinstance(reply.message, pb.PutResponse):
        reply.message.ClearField("prev_kv")
    return reply


def other_text(method: str, reply: Reply) -> Reply:
    return Reply(reply.code, reply.text.replace("compacted", "compact"), reply.message)


def other_code(method: str, reply: Reply) -> Reply:
    return reply if reply.code == OK else Reply(2, reply.text)


def header_of_another(method: str, reply: Reply) -> Reply:
    if isinstance(reply.message, pb.DeleteRangeResponse):
        reply.message.header.member_id += 1
    return reply


def inner_header_too_full(method: str, reply: Reply) -> Reply:
    if isinstance(reply.message, pb.TxnResponse):
        for response in reply.message.responses:
            if response.HasField("response_put"):
                response.response_put.header.raft_term = 2
    return reply


@pytest.mark.parametrize("lie", [one_more, lost_previous, other_text, other_code, header_of_another, inner_header_too_full])
def test_a_lie_in_an_answer_is_found(duel: Duel, lie: Callable[[str, Reply], Reply]) -> None:
    duel.subject.wire = LyingWire(duel.subject.wire, lie)  # type: ignore[assignment]
    with pytest.raises(Mismatch):
        run(duel, 600, seed=5)
    assert duel.spent


def test_an_event_that_never_comes_is_found(duel: Duel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.oracle.duel.WATCH_PATIENCE_S", 0.5)
    duel.watch(0, pb.WatchCreateRequest(key=b"a"))
    duel.ask(pb.PutRequest(key=b"a"))
    duel.settle()
    duel.subject.streams[0].responses = Deaf(duel.subject.streams[0].responses)
    duel.ask(pb.PutRequest(key=b"a"))
    with pytest.raises(Mismatch, match="waited"):
        duel.settle()


class Deaf(list[Message]):
    """Takes no more responses in."""

    def append(self, response: Message) -> None:
        pass


def test_a_write_that_only_one_has_seen_is_found(duel: Duel) -> None:
    duel.subject.wire.ask(pb.PutRequest(key=b"extra"))
    with pytest.raises(Mismatch, match="revision"):
        duel.ask(pb.RangeRequest(key=b"a"))
