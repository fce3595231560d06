"""What a pod needs of a resource over its whole life (component-helpers/resource): scheduler and quota ask for it in different numbers."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Number = TypeVar("Number")
Amounts = dict[str, Number]


def effective(spec: Mapping[str, Any], of_container: Callable[[Mapping[str, Any]], Amounts[Number]]) -> Amounts[Number]:
    """The larger of the containers' sum and of what is needed while an init container runs; sidecars (init containers that are restarted) counted
    from their start on. `of_container` gives amounts of its own each time: they are added to."""
    total: Amounts[Number] = {}
    for container in spec.get("containers") or ():
        add(total, of_container(container))
    sidecars: Amounts[Number] = {}
    peak: Amounts[Number] = {}
    for container in spec.get("initContainers") or ():
        asked = of_container(container)
        if container.get("restartPolicy") == "Always":
            add(total, asked)
            add(sidecars, asked)
            raise_to(peak, sidecars)
        else:
            add(asked, sidecars)
            raise_to(peak, asked)
    raise_to(total, peak)
    return total


def add(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value


def raise_to(total: dict[str, Any], other: Mapping[str, Any]) -> None:
    for name, value in other.items():
        if name not in total or value > total[name]:
            total[name] = value
