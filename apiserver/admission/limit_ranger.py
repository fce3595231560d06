"""Limits on one pod, container or claim, and defaults for who names none: LimitRange objects (plugin/pkg/admission/limitranger)."""

from collections.abc import Iterable

from apiserver.admission.plugin import annotate, is_about, refusal, spec_of
from apiserver.machinery.objects import Object, is_terminating
from apiserver.machinery.quantity import Quantity, parse
from apiserver.machinery.quota import pod_amounts
from apiserver.request import Passive, Reader, Write

ANNOTATION = "kubernetes.io/limit-ranger"

Amounts = dict[str, Quantity]


class LimitRanger(Passive):
    name = "LimitRanger"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, write: Write) -> None:
        if not is_about(write, "pods", "CREATE"):
            return
        told: list[str] = []
        for limit in self._limits(write, "Container"):
            told += _fill(spec_of(write.object), limit)
        if told and write.object is not None:
            annotate(write.object, ANNOTATION, f"LimitRanger plugin set: {'; '.join(told)}")

    async def validate(self, write: Write) -> None:
        if is_about(write, "pods", "CREATE"):
            faults = [
                fault
                for kind in ("Container", "Pod")
                for limit in self._limits(write, kind)
                for fault in _pod_faults(kind, limit, spec_of(write.object))
            ]
        elif is_about(write, "persistentvolumeclaims", "CREATE", "UPDATE") and not is_terminating(write.object or {}):
            requests = amounts(spec_of(write.object), "requests")
            faults = [fault for limit in self._limits(write, "PersistentVolumeClaim") for fault in _claim_faults(limit, requests)]
        else:
            return
        if faults:
            raise refusal(write, faults[0] if len(faults) == 1 else f"[{', '.join(dict.fromkeys(faults))}]")

    def _limits(self, write: Write, kind: str) -> Iterable[Object]:
        for each in self._reader.list("limitranges", write.namespace):
            for limit in spec_of(each).get("limits") or ():
                if limit.get("type") == kind:
                    yield limit


def _fill(spec: Object, limit: Object) -> list[str]:
    told = []
    for field, word in (("containers", "container"), ("initContainers", "init container")):
        for container in spec.get(field) or ():
            for where, source, what in (("requests", "defaultRequest", "request"), ("limits", "default", "limit")):
                wanted = limit.get(source) or {}
                resources = container.get("resources") or {}
                lacking = {name: amount for name, amount in sorted(wanted.items()) if name not in (resources.get(where) or {})}
                if lacking:
                    container["resources"] = {**resources, where: {**(resources.get(where) or {}), **lacking}}
                    told.append(f"{', '.join(lacking)} {what} for {word} {container.get('name', '')}")
    return told


def _pod_faults(kind: str, limit: Object, spec: Object) -> list[str]:
    if kind == "Pod":
        pairs = [(pod_amounts({"spec": spec}, "requests"), pod_amounts({"spec": spec}, "limits"))]
    else:
        all_containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
        pairs = [(amounts(each, "requests"), amounts(each, "limits")) for each in all_containers]
    faults = []
    for requests, limits in pairs:
        for name, least in parsed(limit.get("min")).items():
            faults += _below(kind, name, least, requests, limits)
        for name, most in parsed(limit.get("max")).items():
            faults += _above(kind, name, most, requests, limits)
        for name, ratio in parsed(limit.get("maxLimitRequestRatio")).items():
            faults += _ratio(kind, name, ratio, requests, limits)
    return faults


def _claim_faults(limit: Object, requests: Amounts) -> list[str]:
    kind = "PersistentVolumeClaim"
    faults = []
    for name, least in parsed(limit.get("min")).items():
        faults += _below(kind, name, least, requests, {})
    for name, most in parsed(limit.get("max")).items():
        if name not in requests:
            faults.append(f"maximum {name} usage per {kind} is {most}.  No request is specified")
        elif most < requests[name]:
            faults.append(f"maximum {name} usage per {kind} is {most}, but request is {requests[name]}")
    return faults


def _below(kind: str, name: str, least: Quantity, requests: Amounts, limits: Amounts) -> list[str]:
    told = f"minimum {name} usage per {kind} is {least}"
    if name not in requests:
        return [f"{told}.  No request is specified"]
    if requests[name] < least:
        return [f"{told}, but request is {requests[name]}"]
    return [f"{told}, but limit is {limits[name]}"] if name in limits and limits[name] < least else []


def _above(kind: str, name: str, most: Quantity, requests: Amounts, limits: Amounts) -> list[str]:
    told = f"maximum {name} usage per {kind} is {most}"
    if name not in limits:
        return [f"{told}.  No limit is specified"]
    if most < limits[name]:
        return [f"{told}, but limit is {limits[name]}"]
    return [f"{told}, but request is {requests[name]}"] if name in requests and most < requests[name] else []


def _ratio(kind: str, name: str, most: Quantity, requests: Amounts, limits: Amounts) -> list[str]:
    told = f"{name} max limit to request ratio per {kind} is {most}"
    if not requests.get(name):
        return [f"{told}, but no request is specified or request is 0"]
    if not limits.get(name):
        return [f"{told}, but no limit is specified or limit is 0"]
    ratio = limits[name].milli_value / requests[name].milli_value
    return [f"{told}, but provided ratio is {ratio:f}"] if ratio * 1000 > most.milli_value else []


def amounts(holder: Object, where: str) -> Amounts:
    return parsed((holder.get("resources") or {}).get(where))


def parsed(given: Object | None) -> Amounts:
    return {name: parse(value) for name, value in (given or {}).items()}
