"""The simulator's own parts: time, wire, processes. If they lie, nothing they show means anything."""

from kvstore.ids import Index, MemberId, Term
from kvstore.raft.messages import Heartbeat, Message
from tests.simulation.network import Network
from tests.simulation.options import Options, draw
from tests.simulation.process import TICK_S, Process
from tests.simulation.timeline import Timeline

A, B = MemberId(1), MemberId(2)


def heartbeat(read_round: int, sender: MemberId = A, receiver: MemberId = B) -> Heartbeat:
    return Heartbeat(sender, receiver, Term(1), Index(0), read_round)


class Wire:
    def __init__(self, seed: int = 1, **options: object) -> None:
        self.arrived: list[Message] = []
        self.unreachable: list[tuple[MemberId, MemberId]] = []
        self.timeline = Timeline(seed)
        self.network = Network(
            self.timeline, Options(**options), self.arrived.append, lambda sender, receiver: self.unreachable.append((sender, receiver))
        )

    def rounds(self) -> list[int]:
        return [message.read_round for message in self.arrived]  # type: ignore[attr-defined]


def test_events_happen_in_order_of_time_and_then_of_asking() -> None:
    timeline = Timeline(1)
    seen: list[str] = []
    timeline.after(2, seen.append, "late")
    timeline.after(1, seen.append, "first")
    timeline.after(1, seen.append, "second")
    timeline.run(1.5)
    assert (seen, timeline.now_s) == (["first", "second"], 1.5)
    timeline.run(3)
    assert seen == ["first", "second", "late"]


def test_streams_of_chance_do_not_disturb_each_other() -> None:
    alone = [Timeline(5).random("a").random() for _ in range(2)]
    timeline = Timeline(5)
    timeline.random("b").random()
    assert alone[0] == alone[1] == timeline.random("a").random() != Timeline(6).random("a").random()


def test_a_quiet_wire_delivers_everything_once() -> None:
    wire = Wire(jitter_s=0.1, fifo=True)
    for number in range(50):
        wire.network.send(heartbeat(number))
    wire.timeline.run(10)
    assert wire.rounds() == list(range(50))


def test_jitter_reorders() -> None:
    wire = Wire(jitter_s=0.1)
    for number in range(50):
        wire.network.send(heartbeat(number))
    wire.timeline.run(10)
    assert wire.rounds() != sorted(wire.rounds()) == list(range(50))


def test_a_lossy_wire_loses_and_doubles() -> None:
    wire = Wire(loss=0.3, duplicate=0.3)
    for number in range(200):
        wire.network.send(heartbeat(number))
    wire.timeline.run(10)
    kinds = set(wire.rounds())
    assert 100 < len(kinds) < 180
    assert len(wire.rounds()) > len(kinds)


def test_a_cut_is_one_way_and_reported() -> None:
    wire = Wire()
    wire.network.cut_link(A, B)
    for number in range(20):
        wire.network.send(heartbeat(number))
        wire.network.send(heartbeat(number, B, A))
    wire.timeline.run(10)
    assert {message.sender for message in wire.arrived} == {B}
    assert len(wire.arrived) == 20
    assert set(wire.unreachable) == {(A, B)}


def test_a_large_message_delays_those_behind_it() -> None:
    wire = Wire(bytes_per_s=10, jitter_s=0.0)
    wire.network.send(heartbeat(1))
    wire.network.send(heartbeat(2))
    wire.timeline.run(0.6)
    assert wire.rounds() == []
    wire.timeline.run(10)
    assert wire.rounds() == [1, 2]


class Counter(Process):
    ticks = 0
    messages = 0
    crashes = 0

    def boot(self) -> None:
        self.ticks = self.messages = 0

    def lose_power(self) -> None:
        self.crashes += 1

    def on_tick(self) -> None:
        self.ticks += 1

    def on_message(self, message: Message) -> None:
        self.messages += 1

    def on_unreachable(self, peer: MemberId) -> None:
        raise AssertionError("nobody is")


def test_a_pause_holds_back_and_a_crash_forgets() -> None:
    timeline = Timeline(1)
    process = Counter(timeline, A, 0.0)
    process.start()
    timeline.run(10 * TICK_S)
    assert process.ticks == 10
    process.pause()
    process.deliver(heartbeat(1))
    timeline.run(20 * TICK_S)
    assert (process.ticks, process.messages) == (10, 0)
    process.resume()
    assert (process.ticks, process.messages) == (11, 1)
    process.pause()
    process.deliver(heartbeat(1))
    process.crash()
    process.deliver(heartbeat(1))
    timeline.run(30 * TICK_S)
    assert (process.ticks, process.messages, process.crashes) == (11, 1, 1)
    process.start()
    timeline.run(40 * TICK_S)
    assert 9 <= process.ticks <= 10


def test_a_fast_clock_ticks_more_often() -> None:
    timeline = Timeline(1)
    process = Counter(timeline, A, 0.5)
    process.start()
    timeline.run(100.0)
    assert process.ticks == round(100 / TICK_S * process.clock.rate) or abs(process.ticks - 100 / TICK_S * process.clock.rate) < 2
    assert process.clock.rate != 1


def test_swarms_differ_and_every_fault_is_sometimes_off() -> None:
    drawn = [draw(Timeline(seed).random("options")) for seed in range(200)]
    for name in ("loss", "duplicate", "partition_every_s", "crash_every_s", "pause_every_s", "skew", "change_every_s", "transfer_every_s"):
        values = [getattr(options, name) for options in drawn]
        assert 20 < sum(value == 0 for value in values) < 180, name
