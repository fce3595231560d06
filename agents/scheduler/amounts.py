"""Resource amounts as the scheduler counts them: CPU in thousandths, everything else in whole units, rounded up (framework.Resource).

Manifests repeat few quantities very often, so what a text means is remembered.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from apiserver.machinery import quantity
from apiserver.machinery.effective import add, effective

Amounts = dict[str, int]
"""Resource name to amount: cpu in thousandths, others in units (bytes, pieces)."""

NONZERO_CPU = 100
"""What a container without a request counts as when nodes are scored, thousandths of a CPU (schedutil.DefaultMilliCPURequest)."""
NONZERO_MEMORY = 200 << 20
"""The same for memory, bytes (schedutil.DefaultMemoryRequest)."""
REMEMBERED_MAX = 4096


@lru_cache(REMEMBERED_MAX)
def amount(resource: str, text: str) -> int:
    parsed = quantity.parse(text)
    return parsed.milli_value if resource == "cpu" else parsed.value


def amounts(raw: Mapping[str, Any] | None) -> Amounts:
    return {name: amount(name, str(text)) for name, text in raw.items()} if raw else {}


def pod_requests(spec: Mapping[str, Any], *, nonzero: bool = False) -> Amounts:
    """What a pod asks of its node (component-helpers/resource PodRequests): the larger of its containers' sum and of what it needs while an init
    container runs, sidecars (init containers that are restarted) counted from their start on; the pod's own requests, where it has some, instead;
    overhead on top. `nonzero` puts the defaults above in the place of missing CPU and memory requests of containers."""
    total = effective(spec, lambda container: _of_container(container, nonzero))
    if own := amounts((spec.get("resources") or {}).get("requests")):
        total.update(own)
    if spec.get("overhead"):
        add(total, amounts(spec["overhead"]))
    return total


def _of_container(container: Mapping[str, Any], nonzero: bool) -> Amounts:
    found = amounts((container.get("resources") or {}).get("requests"))
    if nonzero:
        found.setdefault("cpu", NONZERO_CPU)
        found.setdefault("memory", NONZERO_MEMORY)
    return found
