"""DefaultBinder: pods/binding says which node it is."""

from agents.scheduler.framework import CycleState, Hands, Plugin, Status
from agents.scheduler.podinfo import PodInfo


class DefaultBinder(Plugin):
    name = "DefaultBinder"

    async def bind(self, state: CycleState, pod: PodInfo, node: str, hands: Hands) -> Status | None:
        await hands.bind(pod, node)
        return None
