"""What a supervisor does about its members' processes: events and the time go in, actions come out. No process, no clock, no file.

Rules:
* a member that dies is started again: soon at first, later and later if it keeps dying, from the start once it has run for a while;
* a member that ends by itself with status 0 has left the cluster (etcd ends so when it was removed): it stays away; other programs do not leave;
* asked to stop, every member gets SIGTERM, stage by stage, and SIGKILL once its time is over; nothing is started any more.
"""

from collections.abc import Collection, Mapping
from enum import Enum

from msgspec import Struct


class Policy(Struct, frozen=True):
    first_delay_s: float = 0.1
    delay_max_s: float = 10.0
    steady_s: float = 30.0
    """Whoever ran that long and dies had a single misfortune, not a habit."""
    stop_timeout_s: float = 15.0


class Start(Struct, frozen=True):
    member: str


class AskToStop(Struct, frozen=True):
    member: str


class Kill(Struct, frozen=True):
    member: str


Action = Start | AskToStop | Kill


class Phase(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    KILLED = "killed"
    GONE = "gone"


class Watched(Struct):
    """`due_s`: when to start (WAITING) or to kill (STOPPING)."""

    phase: Phase = Phase.WAITING
    due_s: float = 0.0
    started_s: float = 0.0
    deaths_in_a_row: int = 0
    restarts: int = 0


class Supervision:
    """The members by name, and what is to be done about them."""

    def __init__(
        self, members: Mapping[str, float], policy: Policy | None = None, stop_stages: Mapping[str, int] | None = None, faithful: Collection[str] = ()
    ) -> None:
        """`members`: after how many seconds each is started for the first time. `stop_stages`: who is not in it stops in stage 0. `faithful`: those
        that are started again however they ended."""
        self.policy = policy or Policy()
        self._stop_stages = dict(stop_stages or {})
        self.members = {name: Watched() for name in members}
        self._first_start_s = dict(members)
        self._faithful = frozenset(faithful)
        self.stopping = False

    @property
    def finished(self) -> bool:
        """Nobody runs and nobody is to be started."""
        return all(member.phase is Phase.GONE for member in self.members.values())

    def decide(self, now_s: float) -> list[Action]:
        """What to do now. Actions asked for are not asked for again; a Start is answered by `started` or `exited`."""
        for name in list(self._first_start_s):
            self.members[name].due_s = now_s + self._first_start_s.pop(name)
        actions: list[Action] = []
        stage = min((self._stage(name) for name, member in self.members.items() if member.phase is not Phase.GONE), default=0)
        for name, member in self.members.items():
            if self.stopping and member.phase is Phase.RUNNING and self._stage(name) == stage:
                member.phase, member.due_s = Phase.STOPPING, now_s + self.policy.stop_timeout_s
                actions.append(AskToStop(name))
            elif member.phase is Phase.WAITING and now_s >= member.due_s:
                member.phase = Phase.RUNNING
                actions.append(Start(name))
            elif member.phase is Phase.STOPPING and now_s >= member.due_s:
                member.phase = Phase.KILLED
                actions.append(Kill(name))
        return actions

    def _stage(self, name: str) -> int:
        return self._stop_stages.get(name, 0)

    def next_deadline_s(self) -> float | None:
        """When `decide` has something to do again if nothing happens before."""
        return min((member.due_s for member in self.members.values() if member.phase in (Phase.WAITING, Phase.STOPPING)), default=None)

    def started(self, name: str, now_s: float) -> None:
        """The process runs: started just now, or found running by a supervisor that takes over."""
        member = self.members[name]
        assert member.phase in (Phase.WAITING, Phase.RUNNING), f"{name} started while {member.phase}"
        member.phase, member.started_s = Phase.RUNNING, now_s

    def exited(self, name: str, status: int | None, now_s: float) -> float | None:
        """The process ended, or could not be started; after how many seconds it is started again, None if it is not."""
        member = self.members[name]
        if self.stopping or (status == 0 and name not in self._faithful):
            member.phase = Phase.GONE
            return None
        if now_s - member.started_s >= self.policy.steady_s:
            member.deaths_in_a_row = 0
        delay_s: float = min(self.policy.first_delay_s * 2.0 ** min(member.deaths_in_a_row, 32), self.policy.delay_max_s)
        member.deaths_in_a_row += 1
        member.restarts += 1
        member.phase, member.due_s = Phase.WAITING, now_s + delay_s
        return delay_s

    def stop(self) -> None:
        """From now on everything only ends."""
        self.stopping = True
        for member in self.members.values():
            if member.phase is Phase.WAITING:
                member.phase = Phase.GONE
