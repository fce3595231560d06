"""What a fault is. Each is a class in a file of its own in `faults/`; a drill is one of them under load.

The order in which a drill calls it:

    why_not(program)              before anything: a reason to skip it here ("needs root"), or None
    await prepare(cluster)        members are planned, none runs: change flags, wrappers, addresses, make disks, start proxies
    (the members start, clients begin, the calm phase passes)
    await inject(cluster, tell)   time 0 of the timeline is its first `tell`: say it right before the blow, after what has to be looked up
    (hold_s pass; a fault whose injection is the whole story has hold_s = 0)
    await heal(cluster, tell)     afterwards every member runs again and nothing is in its way; the drill then waits until all are healthy
    (the aftermath passes, load ends)
    judge(trial)                  what this fault promises beyond what every drill checks
    await clean_up(cluster)       always, also after an error: what prepare made goes away; the members do not run any more

`tell(text)` says what happens, for the progress line and as a mark on the timeline ("m2 killed"). A fault that cannot be injected after all raises
`Impossible`, and the drill is told as skipped with that reason, never as passed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from keelson.drills.program import Program

if TYPE_CHECKING:
    from keelson.drills.cluster import Cluster
    from keelson.drills.trial import Trial

Tell = Callable[[str], None]


class Impossible(Exception):
    """This fault cannot be injected here; the text says why in a few words."""


class Verdict(Struct, frozen=True):
    """One promise and whether it was kept; `detail` says how it was broken, or what was looked at."""

    promise: str
    kept: bool
    detail: str = ""


class Fault(ABC):
    name: ClassVar[str]
    """As the command line and the reports say it: leader-kill."""
    what: ClassVar[str]
    """One line for people: what is done, and to whom."""
    needs_tls: ClassVar[bool] = False
    members: ClassVar[int] = 3
    """As many at least."""
    hold_s: float = 5.0
    """Seconds between inject and heal. The drill's command line may change it (an instance's own)."""

    def why_not(self, program: Program) -> str | None:
        """Why this cannot be done on this machine or to this program; None if it can."""
        return None

    async def prepare(self, cluster: "Cluster") -> None:  # noqa: B027 - most faults need nothing
        """Before the first member starts."""

    @abstractmethod
    async def inject(self, cluster: "Cluster", tell: Tell) -> None: ...

    @abstractmethod
    async def heal(self, cluster: "Cluster", tell: Tell) -> None: ...

    def judge(self, trial: "Trial") -> Sequence[Verdict]:
        return ()

    async def clean_up(self, cluster: "Cluster") -> None:  # noqa: B027
        """After the members were stopped, whatever happened before."""
