"""Server-side apply and the tracking of who owns what, for every write: what a request says, in the words of machinery/fieldmanager.py."""

from __future__ import annotations

from apiserver.handlers.call import Call
from apiserver.machinery import fieldmanager
from apiserver.machinery.objects import Object, metadata
from apiserver.machinery.status import invalid


def manager_of(call: Call) -> str:
    """Who writes. Raises ApiError (422) for a name that cannot be one."""
    given = call.query.get("fieldManager")
    if not given:
        return fieldmanager.default_manager(call.request.headers.get("User-Agent", ""))
    if faults := fieldmanager.check_manager(given):
        options = {"create": "CreateOptions", "patch": "PatchOptions"}.get(call.info.verb, "UpdateOptions")
        raise invalid("meta.k8s.io", options, "", faults)
    return given


def created(call: Call, obj: Object) -> None:
    """After mutating admission, before validation: the creator owns all of it. An object that an apply makes has its entry already."""
    if call.info.verb == "patch":
        return
    fieldmanager.update(None, obj, manager=manager_of(call), now=call.app.now(), api_version=call.resource.api_version, node=call.served.node)


def changed(call: Call, new: Object, old: Object, operation: str) -> None:
    """The same for a change: the writer owns what changed. A write that changes nothing is made exactly nothing."""
    if operation != "Apply":
        fieldmanager.update(
            old,
            new,
            manager=manager_of(call),
            now=call.app.now(),
            api_version=call.resource.api_version,
            node=call.served.node,
            subresource=call.info.subresource,
        )
    fieldmanager.settle(new, old)


def applied(call: Call, live: Object | None, config: Object, manager: str, *, force: bool) -> Object:
    """The object after an apply; a copy, not yet defaulted. Raises ApiError (409 with every conflict, 400)."""
    if faults := fieldmanager.check_manager(manager):
        raise invalid("meta.k8s.io", "PatchOptions", "", faults)
    subresource = call.info.subresource
    if subresource == "status":
        config = {key: value for key, value in config.items() if key in ("apiVersion", "kind", "metadata", "status")}
    ignored = ("status",) if call.served.strategy.has_status and subresource != "status" else ()
    new = fieldmanager.apply(
        live,
        config,
        manager=manager,
        now=call.app.now(),
        node=call.served.node,
        force=force,
        subresource=subresource,
        ignored=ignored,
    )
    given = metadata(config).get("resourceVersion")
    if given:
        metadata(new)["resourceVersion"] = given
    return new
