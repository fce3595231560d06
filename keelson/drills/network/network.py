"""Between members: one direction of one pair can be cut, silently. Clients still reach everybody.

A cut is told to nobody: no connection is refused or reset, words just do not arrive. What was under way when a cut is mended arrives late, as TCP
does it.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keelson.drills.cluster import Cluster, Member


class Network(ABC):
    name: str
    """For the report: how the cut was made."""

    @abstractmethod
    async def prepare(self, cluster: "Cluster") -> None:
        """Before the members' first start: their URLs change. Raises Impossible."""

    @abstractmethod
    async def cut(self, sender: "Member", receiver: "Member") -> None:
        """Nothing from `sender` arrives at `receiver` any more; the other direction is another cut."""

    @abstractmethod
    async def mend(self) -> None:
        """Every direction is open again."""

    @abstractmethod
    async def close(self) -> None:
        """Everything that `prepare` made is gone. The members do not run any more."""

    async def isolate(self, member: "Member", others: "list[Member]") -> None:
        """Both directions between `member` and each of `others`."""
        for other in others:
            await self.cut(member, other)
            await self.cut(other, member)


def choose() -> Network:
    """Namespaces where they can be made, else proxies."""
    from keelson.drills.network.namespaces import Namespaces, why_not
    from keelson.drills.network.proxies import Proxies

    return Namespaces() if why_not() is None else Proxies()
