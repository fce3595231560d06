"""POST pods/NAME/binding: the scheduler's word on which node a pod runs (pkg/registry/core/pod/storage/storage.go, BindingREST)."""

from __future__ import annotations

from aiohttp import web
from msgspec.structs import replace

from apiserver.handlers import refusals, respond, writing
from apiserver.handlers.call import Call
from apiserver.machinery.objects import Object, annotations_of, is_terminating, metadata, uid_of
from apiserver.machinery.status import bad_request, conflict, invalid, not_supported, required, success
from apiserver.registry import schemas
from apiserver.storage.objects import Removed

SCHEDULED = "PodScheduled"


async def bind(call: Call) -> web.StreamResponse:
    """Raises ApiError: Conflict if the pod has a node already, or is on its way out."""
    if call.info.verb != "create":
        raise refusals.not_allowed()
    binding, text = await writing.body(call)
    writing.admit_kind(binding, "v1", "Binding")
    writing.decoded(call, binding, schemas.check_kind("", "v1", "Binding"), text)
    if (metadata(binding).get("name") or call.name) != call.name:
        raise bad_request("name in URL does not match name in Binding object")
    await carry_out(call, binding)
    return respond.json(success(), 201)


async def carry_out(call: Call, binding: Object) -> None:
    """Raises ApiError, StoreError."""
    node = _node(binding, call.name)
    write = writing.write_of(call, "CREATE", binding, None, name=call.name)
    binding = await writing.admit(call, write)
    await writing.validate_admission(call, write)
    now = call.app.now()

    async def step(pod: Object | None) -> Object | Removed:
        if pod is None:
            raise call.not_found()
        return bound(pod, binding, node, now)

    if call.dry_run:
        row = await call.app.objects.get(call.served.prefix, call.key())
        await step(None if row is None else row.obj)
    else:
        await call.app.objects.update(call.served.prefix, call.key(), step, call.known())


def _node(binding: Object, name: str) -> str:
    target = binding.get("target") or {}
    causes = []
    if target.get("kind") not in (None, "", "Node"):
        causes.append(not_supported("target.kind", target["kind"], ["Node", "<empty>"]))
    if not target.get("name"):
        causes.append(required("target.name"))
    if causes:
        raise invalid("", "Binding", name, causes)
    return str(target["name"])


def bound(pod: Object, binding: Object, node: str, now: str) -> Object:
    """The pod on its node; `pod` is not changed. Pure. Raises ApiError (409)."""
    name = pod["metadata"]["name"]

    def refused(why: str) -> Exception:
        return conflict("", "pods/binding", name, why)

    if uid_of(binding) and uid_of(binding) != uid_of(pod):
        raise refused(f"Precondition failed: UID in precondition: {uid_of(binding)}, UID in object meta: {uid_of(pod)}")
    version = metadata(binding).get("resourceVersion")
    if version and version != pod["metadata"].get("resourceVersion"):
        told = f"ResourceVersion in precondition: {version}, ResourceVersion in object meta: {pod['metadata'].get('resourceVersion')}"
        raise refused(f"Precondition failed: {told}")
    if is_terminating(pod):
        raise refused(f"pod {name} is being deleted, cannot be assigned to a host")
    if pod["spec"].get("nodeName"):
        raise refused(f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"')
    if pod["spec"].get("schedulingGates"):
        raise refused(f"pod {name} has non-empty .spec.schedulingGates")
    meta = pod["metadata"]
    if annotations_of(binding):
        meta = {**meta, "annotations": {**annotations_of(pod), **annotations_of(binding)}}
    status = pod.get("status") or {}
    others = [each for each in status.get("conditions") or () if each["type"] != SCHEDULED]
    condition: Object = {"type": SCHEDULED, "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    if meta.get("generation"):
        condition["observedGeneration"] = meta["generation"]
    return {**pod, "metadata": meta, "spec": {**pod["spec"], "nodeName": node}, "status": {**status, "conditions": [*others, condition]}}


async def bind_listed(call: Call, binding: Object) -> Object:
    """POST to `bindings`, the way of before: the pod is the one that the binding names."""
    name = metadata(binding).get("name") or ""
    pods = call.app.registry.by_qualified("pods")
    assert pods is not None
    info = replace(call.info, resource="pods", subresource="binding", name=name)
    own = Call(call.app, call.request, info, call.query, call.user, pods)
    await carry_out(own, binding)
    return success()
