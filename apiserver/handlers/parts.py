"""Subresources that are a view of the object and write one part of it: what each takes from the client, and what else stays as it was. Pure.

`status` of all resources is the strategy's; these are the ones that one resource alone has.
"""

import copy

from apiserver.handlers import metadata as meta_rules
from apiserver.handlers.update import Rules
from apiserver.machinery.objects import Object, metadata
from apiserver.machinery.status import Cause, forbidden_value, invalid_value

NOT_EPHEMERAL = ("ports", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "resources", "resizePolicy")
RESIZED = ("resources", "resizePolicy")


def _keeping(new: Object, old: Object) -> None:
    """Everything is the old one's but managedFields, which tell of this write, too."""
    managed = metadata(new).get("managedFields")
    for name in [name for name in new if name not in ("apiVersion", "kind")]:
        del new[name]
    new.update(copy.deepcopy({name: value for name, value in old.items() if name not in ("apiVersion", "kind")}))
    if managed is not None:
        new["metadata"]["managedFields"] = managed


def _no_faults(new: Object, old: Object) -> list[Cause]:
    return []


def finalize_namespace(new: Object, old: Object) -> None:
    finalizers = (new.get("spec") or {}).get("finalizers")
    _keeping(new, old)
    new.setdefault("spec", {}).pop("finalizers", None)
    if finalizers:
        new["spec"]["finalizers"] = finalizers


def finalizer_faults(new: Object, old: Object) -> list[Cause]:
    return [
        cause
        for index, finalizer in enumerate((new.get("spec") or {}).get("finalizers") or ())
        for cause in meta_rules.kube_finalizer_faults(finalizer, f"spec.finalizers[{index}]")
    ]


def approve(new: Object, old: Object) -> None:
    """A signing request's conditions: Approved and Denied come by this way alone."""
    conditions = (new.get("status") or {}).get("conditions")
    _keeping(new, old)
    if conditions is not None:
        new.setdefault("status", {})["conditions"] = conditions


def add_ephemeral_containers(new: Object, old: Object) -> None:
    containers = (new.get("spec") or {}).get("ephemeralContainers")
    _keeping(new, old)
    new["spec"].pop("ephemeralContainers", None)
    if containers:
        new["spec"]["ephemeralContainers"] = containers
    _count(new, old)


def ephemeral_faults(new: Object, old: Object) -> list[Cause]:
    after = {each.get("name"): each for each in new["spec"].get("ephemeralContainers") or ()}
    at = "spec.ephemeralContainers"
    faults = []
    for each in old["spec"].get("ephemeralContainers") or ():
        if each["name"] not in after:
            faults.append(forbidden_value(at, f"existing ephemeral containers {each['name']!r} may not be removed".replace("'", '"')))
        elif after[each["name"]] != each:
            faults.append(forbidden_value(at, f"existing ephemeral containers {each['name']!r} may not be changed".replace("'", '"')))
    names = [each.get("name") for kind in ("containers", "initContainers", "ephemeralContainers") for each in new["spec"].get(kind) or ()]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    faults += [Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{at}.name") for name in twice]
    targets = {each.get("name") for kind in ("containers", "initContainers") for each in new["spec"].get(kind) or ()}
    for index, (name, each) in enumerate(after.items()):
        if not name:
            faults.append(Cause("FieldValueRequired", "Required value", f"{at}.name"))
        faults += [
            forbidden_value(f"{at}[{index}].{field}", "cannot be set for an Ephemeral Container") for field in NOT_EPHEMERAL if each.get(field)
        ]
        if each.get("targetContainerName") and each["targetContainerName"] not in targets:
            faults.append(Cause("FieldValueNotFound", f'Not found: "{each["targetContainerName"]}"', f"{at}.targetContainerName"))
    return faults


def resize(new: Object, old: Object) -> None:
    wanted = {
        kind: {each.get("name"): {name: each[name] for name in RESIZED if name in each} for each in (new.get("spec") or {}).get(kind) or ()}
        for kind in ("containers", "initContainers")
    }
    _keeping(new, old)
    for kind, containers in wanted.items():
        for container in new["spec"].get(kind) or ():
            if container["name"] in containers:
                for name in RESIZED:
                    container.pop(name, None)
                container.update(containers[container["name"]])
    _count(new, old)


def resize_faults(new: Object, old: Object) -> list[Cause]:
    if (old.get("status") or {}).get("qosClass") and _guaranteed(new) != _guaranteed(old):
        return [invalid_value("metadata", old["metadata"]["name"], "Pod QOS Class may not change as a result of resizing")]
    return []


def _guaranteed(pod: Object) -> bool:
    resources = [each.get("resources") or {} for each in pod["spec"].get("containers") or ()]
    return all(each.get("limits") and each.get("limits") == each.get("requests", each.get("limits")) for each in resources)


def _count(new: Object, old: Object) -> None:
    if new.get("spec") != old.get("spec") and metadata(old).get("generation"):
        metadata(new)["generation"] = metadata(old)["generation"] + 1


PARTS: dict[tuple[str, str], Rules] = {
    ("namespaces", "finalize"): (finalize_namespace, finalizer_faults),
    ("certificatesigningrequests.certificates.k8s.io", "approval"): (approve, _no_faults),
    ("pods", "ephemeralcontainers"): (add_ephemeral_containers, ephemeral_faults),
    ("pods", "resize"): (resize, resize_faults),
}
