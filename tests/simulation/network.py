"""The wire between members: loses, delays, reorders, doubles and cuts. Messages travel as bytes, so nobody shares an object.

Everything may come twice but a forwarded proposal, the one message that is not idempotent: a transport may lose it, but must not repeat it
(frames on one connection are not, and what a broken connection may have carried is not sent again).

A link is a directed pair. A cut link loses what is sent and (by chance) what is on its way; both happen with real connections.
"""

from collections.abc import Callable

import msgspec

from kvstore.ids import MemberId
from kvstore.member.messages import AnyPeerMessage
from kvstore.raft.messages import ForwardProposals, Message
from tests.simulation.options import Options
from tests.simulation.timeline import Timeline

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AnyPeerMessage).decode  # type: ignore[arg-type]

QUEUE_S_MAX = 2.0
"""A transport's queue has an end: what would wait longer than this for the line is dropped."""

Link = tuple[MemberId, MemberId]
Deliver = Callable[[Message], None]
Unreachable = Callable[[MemberId, MemberId], None]


class Network:
    def __init__(self, timeline: Timeline, options: Options, deliver: Deliver, unreachable: Unreachable) -> None:
        self._timeline = timeline
        self._options = options
        self._deliver = deliver
        self._unreachable = unreachable
        self._rng = timeline.random("network")
        self.cut: set[Link] = set()
        self.lossy = True
        self._epoch: dict[Link, int] = {}
        """Counts the cuts of a link; what was sent before a cut may be lost with it."""
        self._busy_until_s: dict[Link, float] = {}
        self._last_arrival_s: dict[Link, float] = {}
        self.sent = 0

    def send(self, message: Message) -> None:
        link = (message.sender, message.receiver)
        data = _encode(message)
        self.sent += 1
        timeline, options, rng = self._timeline, self._options, self._rng
        timeline.note(data)
        if timeline.trace:
            print(f"{timeline.now_s:11.6f} {link[0]}→{link[1]} {brief(message)}{'  (cut)' if link in self.cut else ''}")
        if link in self.cut:
            if options.report_unreachable and rng.random() < 0.3:
                timeline.after(options.latency_s, self._unreachable, *link)
            return
        if self.lossy:
            if options.loss and rng.random() < options.loss:
                return
            if options.duplicate and rng.random() < options.duplicate and type(message) is not ForwardProposals:
                self._carry(link, data, rng.uniform(0, 1.0))
        self._carry(link, data, 0.0)

    def _carry(self, link: Link, data: bytes, extra_s: float) -> None:
        options, now_s = self._options, self._timeline.now_s
        # A large message keeps the line busy, so those behind it wait as they would behind a snapshot.
        line_free_s = max(now_s, self._busy_until_s.get(link, 0.0))
        if line_free_s > now_s + QUEUE_S_MAX:
            return
        line_free_s += len(data) / options.bytes_per_s
        self._busy_until_s[link] = line_free_s
        jitter_s = options.jitter_s if self.lossy else min(options.jitter_s, 0.01)
        arrival_s = line_free_s + options.latency_s + jitter_s * self._rng.random() ** 3 + extra_s
        if (options.fifo or not self.lossy) and not extra_s:
            arrival_s = self._last_arrival_s[link] = max(arrival_s, self._last_arrival_s.get(link, 0.0))
        self._timeline.after(arrival_s - now_s, self._arrive, link, self._epoch.get(link, 0), data)

    def _arrive(self, link: Link, epoch: int, data: bytes) -> None:
        if link in self.cut or (epoch != self._epoch.get(link, 0) and self._rng.random() < 0.5):
            return
        self._deliver(_decode(data))

    def cut_link(self, sender: MemberId, receiver: MemberId) -> None:
        self.cut.add((sender, receiver))
        self._epoch[sender, receiver] = self._epoch.get((sender, receiver), 0) + 1

    def heal_link(self, sender: MemberId, receiver: MemberId) -> None:
        self.cut.discard((sender, receiver))

    def heal(self) -> None:
        """Everything reaches everybody from now on, soon and in order."""
        self.cut.clear()
        self.lossy = False


def brief(message: Message) -> str:
    """One line for the trace: the type and its fields, entries by index and term only."""
    parts = []
    for name in message.__struct_fields__:
        value = getattr(message, name)
        if name in ("sender", "receiver"):
            continue
        if name == "entries":
            value = " ".join(f"{entry.index}@{entry.term}" for entry in value)
        elif isinstance(value, bytes):
            value = f"{len(value)}B"
        elif name == "datas":
            value = f"{len(value)} proposals"
        parts.append(f"{name}={value}")
    return f"{type(message).__name__} {' '.join(parts)}"
