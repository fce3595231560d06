"""SchedulingGates: a pod with gates is not looked at before all of them are lifted (KEP-3521)."""

from agents.scheduler.framework import ClusterEvent, Code, Plugin, Status, own_pod
from agents.scheduler.podinfo import PodInfo


class SchedulingGates(Plugin):
    name = "SchedulingGates"
    events = ((ClusterEvent("pods", "update"), own_pod),)

    def pre_enqueue(self, pod: PodInfo) -> Status | None:
        if not pod.gates:
            return None
        return Status(Code.UNRESOLVABLE, (f"waiting for scheduling gates: [{' '.join(pod.gates)}]",), self.name)
