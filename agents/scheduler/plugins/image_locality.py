"""ImageLocality: nodes that hold the pod's images already are better, the more the larger the images; an image that lies on few nodes counts less,
lest all pods gather there (image_locality.go)."""

from collections.abc import Sequence

from agents.scheduler.framework import SCORE_MAX, SKIP, CycleState, Plugin, Status
from agents.scheduler.nodeinfo import NodeInfo
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.snapshot import Snapshot

SIZE_MIN_BYTES = 23 << 20
"""Smaller sums do not matter."""
SIZE_MAX_PER_CONTAINER_BYTES = 1000 << 20
"""Larger ones matter no more."""


def normalized_name(image: str) -> str:
    """With `:latest` if there is no tag (a digest counts as one)."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def score_of(size_bytes: int, containers: int) -> int:
    most = SIZE_MAX_PER_CONTAINER_BYTES * containers
    return SCORE_MAX * (min(max(size_bytes, SIZE_MIN_BYTES), most) - SIZE_MIN_BYTES) // (most - SIZE_MIN_BYTES)


class ImageLocality(Plugin):
    name = "ImageLocality"

    def pre_score(self, state: CycleState, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]) -> Status | None:
        total = len(snapshot.order)
        spread = [(name, snapshot.image_nodes[name] / total) for name in map(normalized_name, pod.images) if name in snapshot.image_nodes]
        if not spread:
            return SKIP
        state.values[self.name] = spread
        return None

    def score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        spread, containers = state.values[self.name], len(pod.images)
        return [score_of(sum(int(node.images[name] * share) for name, share in spread if name in node.images), containers) for node in nodes]
