"""A process under the simulator: it runs, is paused, crashes, starts again. What runs in it is a subclass's business.

Everything that a process waits for goes through `later`: it is forgotten by a crash and held back by a pause, as with a real process
that gets SIGKILL or SIGSTOP. Messages that arrive meanwhile are lost or wait in the socket, likewise.
"""

from collections.abc import Callable
from typing import Any

from kvstore.ids import MemberId
from kvstore.raft.messages import Message
from tests.simulation import clocks
from tests.simulation.timeline import Timeline

TICK_S = 0.1


class Process:
    def __init__(self, timeline: Timeline, member: MemberId, skew: float) -> None:
        self.timeline = timeline
        self.id = member
        self.running = False
        self.paused = False
        self.gone = False
        """Removed from the cluster for good: never started again."""
        self.slow_disk_until_s = 0.0
        self.disk_is_full = False
        self.rng = timeline.random(f"process {member}")
        self.clock = clocks.draw(self.rng, skew)
        self._life = 0
        self._held: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    # --- what a subclass does

    def boot(self) -> None:
        """Open the disk and begin."""
        raise NotImplementedError

    def lose_power(self) -> None:
        """The disk forgets what was not synced; memory is gone."""
        raise NotImplementedError

    def on_tick(self) -> None:
        raise NotImplementedError

    def on_message(self, message: Message) -> None:
        raise NotImplementedError

    def on_unreachable(self, peer: MemberId) -> None:
        raise NotImplementedError

    # --- life

    def start(self) -> None:
        if self.running or self.gone:
            return
        self.timeline.say(f"{self.id} starts")
        self.running = True
        self._life += 1
        self.boot()
        self.later(self.rng.uniform(0, TICK_S), self._tick)

    def crash(self) -> None:
        if not self.running:
            return
        self.timeline.say(f"{self.id} crashes")
        self.running = self.paused = False
        self._life += 1
        self._held.clear()
        self.lose_power()

    def pause(self) -> None:
        if self.running:
            self.timeline.say(f"{self.id} is paused")
            self.paused = True

    def resume(self) -> None:
        if not self.paused:
            return
        self.timeline.say(f"{self.id} goes on")
        self.paused = False
        held, self._held = self._held, []
        life = self._life
        for call, args in held:
            self._run(life, call, args)

    def own_time_s(self) -> float:
        return self.clock.read(self.timeline.now_s)

    def later(self, delay_s: float, call: Callable[..., None], *args: Any) -> None:
        self.timeline.after(delay_s, self._run, self._life, call, args)

    def _run(self, life: int, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        if life != self._life:
            return
        if self.paused:
            self._held.append((call, args))
        else:
            call(*args)

    def _tick(self) -> None:
        self.later(self.clock.real_delay(TICK_S), self._tick)
        self.on_tick()

    # --- the network's side

    def deliver(self, message: Message) -> None:
        if self.running:
            self._run(self._life, self.on_message, (message,))

    def unreachable(self, peer: MemberId) -> None:
        if self.running:
            self._run(self._life, self.on_unreachable, (peer,))

    def disk_delay_s(self, mean_s: float, size_bytes: int = 0) -> float:
        """How long a synced write takes now."""
        slow_s = max(0.0, self.slow_disk_until_s - self.timeline.now_s)
        return mean_s * (0.5 + self.rng.random()) + size_bytes / 1e8 + slow_s * self.rng.random()
