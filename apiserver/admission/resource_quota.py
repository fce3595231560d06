"""Nobody gets more than the namespace's quotas leave (apiserver/pkg/admission/plugin/resourcequota).

What a write adds is charged to `status.used` in the store before the write happens, in one compare-and-set on the quota's newest state: of two
writes that would together exceed it, through whichever servers, one is refused. A write that fails afterwards stays charged until the controller
counts anew.
"""

from collections.abc import Iterable

from apiserver.admission.plugin import refusal, spec_of
from apiserver.machinery import quota
from apiserver.machinery.objects import Object, name_of
from apiserver.machinery.quantity import Quantity, parse
from apiserver.machinery.status import ApiError
from apiserver.request import Passive, Reader, Write, Writer

Amounts = dict[str, Quantity]
ZERO = Quantity(0)
GROWING = ("services", "persistentvolumeclaims")
"""What may use more after an update."""


class ResourceQuota(Passive):
    name = "ResourceQuota"

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    async def validate(self, write: Write) -> None:
        resource = write.resource.qualified
        if not write.namespace or write.subresource or write.object is None:
            return
        if write.operation != "CREATE" and not (write.operation == "UPDATE" and resource in GROWING):
            return
        quotas = [each for each in self._reader.list("resourcequotas", write.namespace) if _limits(each, resource, write.object)]
        if not quotas:
            return
        delta = _delta(resource, write)
        if not any(amount > ZERO for amount in delta.values()):
            return
        await self._charge_all(write, sorted(quotas, key=name_of), delta)

    async def _charge_all(self, write: Write, quotas: list[Object], delta: Amounts) -> None:
        charged: list[Object] = []
        try:
            for each in quotas:
                if write.dry_run:
                    _charged(write, each, delta)
                else:
                    await self._writer.update("resourcequotas", write.namespace, name_of(each), lambda found: _charged(write, found, delta))
                    charged.append(each)
        except ApiError:
            back = {name: -amount for name, amount in delta.items()}
            for each in charged:
                await self._writer.update("resourcequotas", write.namespace, name_of(each), lambda found: _with_usage(found, back))
            raise


def _limits(found: Object, resource: str, obj: Object) -> bool:
    return bool(_limited(resource, _hard(found))) and quota.in_scope(found, resource, obj)


def _hard(found: Object) -> Object:
    """What the controller has taken note of: before that a quota limits nothing."""
    return (found.get("status") or {}).get("hard") or {}


def _delta(resource: str, write: Write) -> Amounts:
    assert write.object is not None
    found = dict(quota.usage(resource, write.object))
    if write.old_object is not None:
        for name, amount in quota.usage(resource, write.old_object).items():
            found[name] = found.get(name, ZERO) - amount
    return found


def _charged(write: Write, found: Object, delta: Amounts) -> Object:
    """The quota with what is asked for. Raises ApiError if that is more than is left."""
    resource, name = write.resource.qualified, name_of(found)
    assert write.object is not None
    hard, used = parsed(_hard(found)), parsed((found.get("status") or {}).get("used"))
    limited = _limited(resource, hard)
    if resource == "pods":
        lacking = _unnamed(write.object, limited)
        if lacking:
            raise refusal(write, f"failed quota: {name}: must specify {'; '.join(lacking)}")
    unknown = sorted(each for each in limited if each not in used)
    if unknown:
        raise refusal(write, f"status unknown for quota: {name}, resources: {','.join(unknown)}")
    asked = {each: amount for each, amount in delta.items() if each in limited}
    over = sorted(each for each, amount in asked.items() if amount > ZERO and hard[each] < used[each] + amount)
    if over:
        told = (
            f"{word}: {','.join(f'{each}={amounts[each]}' for each in over)}"
            for word, amounts in (("requested", asked), ("used", used), ("limited", hard))
        )
        raise refusal(write, f"exceeded quota: {name}, {', '.join(told)}")
    return _with_usage(found, asked)


def _with_usage(found: Object, more: Amounts) -> Object:
    status = found.get("status") or {}
    used = parsed(status.get("used"))
    changed = {name: str(used[name] + amount) for name, amount in more.items() if name in used and amount}
    return {**found, "status": {**status, "used": {**(status.get("used") or {}), **changed}}} if changed else found


def _limited(resource: str, names: Iterable[str]) -> set[str]:
    """Of a quota's names those that an object of the resource may use."""
    return {name for name in names if resource in quota.resources_of({name: "0"})}


def _unnamed(pod: Object, limited: set[str]) -> list[str]:
    """What a pod under a quota leaves open of the compute resources that are limited: `cpu for: a,b` (podEvaluator.Constraints)."""
    spec = spec_of(pod)
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    told = []
    for name in sorted(limited):
        where, key = ("limits", name.removeprefix("limits.")) if name.startswith("limits.") else ("requests", name.removeprefix("requests."))
        lacking = [str(each.get("name", "")) for each in containers if key not in ((each.get("resources") or {}).get(where) or {})]
        if key in quota.COMPUTE and lacking:
            told.append(f"{name} for: {','.join(sorted(lacking))}")
    return told


def parsed(given: Object | None) -> Amounts:
    return {name: parse(value) for name, value in (given or {}).items()}
