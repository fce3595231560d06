"""POST pods/NAME/eviction: a deletion that disruption budgets may forbid (pkg/registry/core/pod/storage/eviction.go).

The budget is taken from before the pod goes, in the store, so that two servers never spend the same one.
"""

from __future__ import annotations

from datetime import datetime

from aiohttp import web

from apiserver.handlers import delete, deleting, refusals, respond, writing
from apiserver.handlers.call import Call
from apiserver.handlers.deleting import TIME, Options
from apiserver.machinery.conditions import is_true
from apiserver.machinery.objects import Object, is_terminating, labels_of, metadata, name_of, resource_version_of
from apiserver.machinery.selectors import from_label_selector
from apiserver.machinery.status import ApiError, Cause, bad_request, forbidden, success
from apiserver.registry import schemas
from apiserver.storage.keys import key
from apiserver.storage.objects import Removed

DISRUPTED_MAX = 2000
"""Evictions that a budget's controller has not seen yet."""
BUDGETS = "poddisruptionbudgets.policy"
UNGUARDED_PHASES = ("Succeeded", "Failed", "Pending")
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


async def evict(call: Call) -> web.StreamResponse:
    """Raises ApiError: 429 with cause DisruptionBudget if a budget forbids it."""
    if call.info.verb != "create":
        raise refusals.not_allowed()
    eviction, text = await writing.body(call)
    if eviction.get("apiVersion") == "policy/v1beta1":
        eviction["apiVersion"] = "policy/v1"
    writing.admit_kind(eviction, "policy/v1", "Eviction")
    writing.decoded(call, eviction, schemas.check_kind("policy", "v1", "Eviction"), text)
    if (metadata(eviction).get("name") or call.name) != call.name:
        raise bad_request("name in URL does not match name in Eviction object")
    asked = deleting.options(eviction.get("deleteOptions") or {})
    dry_run = asked.dry_run or call.dry_run
    row = await call.app.objects.get(call.served.prefix, call.key())
    if row is None:
        raise call.not_found()
    pod = row.obj
    guarded = not (is_terminating(pod) or (pod.get("status") or {}).get("phase") in UNGUARDED_PHASES)
    version = asked.resource_version
    if not guarded and not is_terminating(pod) and (pod.get("status") or {}).get("phase") == "Pending":
        version = version or resource_version_of(pod)
    if guarded:
        version = version or await _take_from_budget(call, pod, dry_run=dry_run)
    options = Options(**{**{name: getattr(asked, name) for name in asked.__struct_fields__}, "dry_run": dry_run, "resource_version": version})
    await delete.delete_one(call, call.name, options)
    return respond.json(success(), 201)


async def _take_from_budget(call: Call, pod: Object, *, dry_run: bool) -> str:
    """Take one disruption from the pod's budget; the resourceVersion that the pod must still have, if that matters. Raises ApiError."""
    app = call.app
    served = app.registry.by_qualified(BUDGETS)
    assert served is not None
    await app.caches.of(served).reach(await app.caches.newest.revision())
    budgets = [each for each in app.caches.list(BUDGETS, call.namespace) if covers(each, pod)]
    if not budgets:
        return ""
    if len(budgets) > 1:
        told = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise ApiError("InternalError", told)
    status = budgets[0].get("status") or {}
    if may_go_unready(pod, budgets[0]) and not is_true(pod, "Ready") and status.get("currentHealthy", 0) >= 0:
        return resource_version_of(pod)
    now = app.clock()

    async def step(budget: Object | None) -> Object | Removed:
        if budget is None:
            raise ApiError("TooManyRequests", REFUSED, details={"retryAfterSeconds": 10})
        return taken(budget, name_of(pod), now)

    where = key(served.prefix, call.namespace, name_of(budgets[0]))
    if dry_run:
        taken(budgets[0], name_of(pod), now)
    else:
        await app.objects.update(served.prefix, where, step)
    return ""


def covers(budget: Object, pod: Object) -> bool:
    """A budget without selector, or with one that cannot be read, covers nothing."""
    try:
        selector = from_label_selector((budget.get("spec") or {}).get("selector"))
    except ValueError:
        return False
    return not selector.is_everything and selector.matches(labels_of(pod))


def may_go_unready(pod: Object, budget: Object) -> bool:
    """Whether a pod that is not ready may go without costing anything: it does not count towards the healthy ones."""
    if is_true(pod, "Ready"):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    return bool(status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0)


def taken(budget: Object, pod_name: str, now: datetime) -> Object:
    """The budget with one disruption less; `budget` is not changed. Pure. Raises ApiError."""
    name, status = name_of(budget), budget.get("status") or {}
    if status.get("observedGeneration", 0) < (metadata(budget).get("generation") or 0):
        cause = Cause("DisruptionBudget", f"The disruption budget {name} is still being processed by the server.", "")
        raise ApiError("TooManyRequests", REFUSED, details={"retryAfterSeconds": 10}, causes=[cause])
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 0:
        raise forbidden("policy", "poddisruptionbudgets", name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or {}) > DISRUPTED_MAX:
        told = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise forbidden("policy", "poddisruptionbudgets", name, told)
    if allowed == 0:
        needs, has = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        told = f"The disruption budget {name} needs {needs} healthy pods and has {has} currently"
        raise ApiError("TooManyRequests", REFUSED, causes=[Cause("DisruptionBudget", told, "")])
    pods = {**(status.get("disruptedPods") or {}), pod_name: now.strftime(TIME)}
    return {**budget, "status": {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": pods}}
