"""Requests and limits (pkg/apis/core/validation, ValidateResourceRequirements), and the quality of service they make (component-helpers qos)."""

from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object
from apiserver.machinery.quantity import Quantity, parse
from apiserver.machinery.status import Cause, invalid_value
from apiserver.registry.strategies.checks import NEGATIVE

STANDARD = ("cpu", "memory", "ephemeral-storage")
HUGE_PAGES = "hugepages-"
NOT_OF_CONTAINERS = "must be a standard resource for containers"


def _parsed(value: Any) -> Quantity | None:
    try:
        return parse(value)
    except ValueError:
        return None


def amounts(values: Any, path: str) -> list[Cause]:
    """Every amount of a map is a quantity of at least zero."""
    found = []
    for name, value in (values or {}).items():
        amount = _parsed(value)
        if amount is not None and amount < Quantity(0):
            found.append(invalid_value(f"{path}[{name}]", str(value), NEGATIVE))
    return found


def name_of_container(name: str, path: str) -> list[Cause]:
    found = [invalid_value(path, name, fault) for fault in names.qualified_name(name)]
    if not found and "/" not in name and name not in STANDARD and not name.startswith(HUGE_PAGES):
        found = [invalid_value(path, name, NOT_OF_CONTAINERS)]
    return found


def is_overcommitable(name: str) -> bool:
    """Whether a limit may be above the request: not for huge pages and devices."""
    return name in STANDARD or "kubernetes.io/" in name


def requirements(value: Any, path: str) -> list[Cause]:
    """A container's or pod's resources."""
    if not isinstance(value, dict):
        return []
    limits, requests = value.get("limits") or {}, value.get("requests") or {}
    found: list[Cause] = []
    for kind, listed in (("limits", limits), ("requests", requests)):
        for name in listed:
            found += name_of_container(name, f"{path}.{kind}")
        found += amounts(listed, f"{path}.{kind}")
    for name, asked in requests.items():
        request, limit = _parsed(asked), _parsed(limits.get(name)) if name in limits else None
        if request is None or limit is None:
            if name not in limits and not is_overcommitable(name):
                found.append(invalid_value(f"{path}.limits", str(asked), f"must be set for non overcommitable resources: {name}"))
        elif not is_overcommitable(name) and request != limit:
            found.append(invalid_value(f"{path}.requests", str(asked), f"must be equal to {name} limit of {limits[name]}"))
        elif request > limit:
            found.append(invalid_value(f"{path}.requests", str(asked), f"must be less than or equal to {name} limit of {limits[name]}"))
    return found


def quality_of_service(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort (pkg/apis/core/v1/helper/qos)."""
    held = spec.get("resources") if spec.get("resources") else None
    all_resources = (
        [held] if held else [container.get("resources") or {} for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]]
    )
    guaranteed, something = True, False
    for each in all_resources:
        limits, requests = each.get("limits") or {}, each.get("requests") or {}
        for name in ("cpu", "memory"):
            limit, request = _parsed(limits.get(name, 0)), _parsed(requests.get(name, limits.get(name, 0)))
            something = something or bool(limit) or bool(request)
            guaranteed = guaranteed and bool(limit) and limit == request
    if not something:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
