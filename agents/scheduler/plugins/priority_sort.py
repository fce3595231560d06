"""PrioritySort: the higher priority first, then who came first."""

from typing import Any

from agents.scheduler.framework import Plugin
from agents.scheduler.podinfo import PodInfo


class PrioritySort(Plugin):
    name = "PrioritySort"

    def sort_key(self, pod: PodInfo, added_at: float) -> Any:
        return (-pod.priority, added_at)
