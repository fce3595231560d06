"""The columns of kinds that configure: namespaces, secrets, volumes, roles, classes, policies (pkg/printers/internalversion/printers.go)."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from apiserver.machinery import timestamps
from apiserver.machinery.objects import Object, annotations_of, name_of
from apiserver.registry.column import NONE, UNSET, Printer, age, at, columns, containers, labels, selector

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_CLASS = "volume.beta.kubernetes.io/storage-class"


def _row(rest: Callable[[Object], list[Any]], after: Callable[[Object], list[Any]] | None = None) -> Callable[[Object, datetime], list[Any]]:
    """Name, what the kind says, Age, and what it says after that."""
    return lambda obj, now: [name_of(obj), *rest(obj), age(obj, now), *(after(obj) if after is not None else [])]


def _count(path: str) -> Callable[[Object], list[Any]]:
    return lambda obj: [len(at(obj, path, ()))]


def _text(*paths: str, missing: str = "") -> Callable[[Object], list[Any]]:
    return lambda obj: [at(obj, path, missing) for path in paths]


def _modes(found: list[str]) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in found)


def _phase(obj: Object) -> str:
    return "Terminating" if at(obj, "metadata.deletionTimestamp") else str(at(obj, "status.phase", ""))


def _storage_class_of(obj: Object) -> str:
    return annotations_of(obj).get(_CLASS) or str(at(obj, "spec.storageClassName", ""))


def _volume(obj: Object) -> list[Any]:
    claim = at(obj, "spec.claimRef")
    return [
        at(obj, "spec.capacity.storage", "0"),
        _modes(at(obj, "spec.accessModes", [])),
        at(obj, "spec.persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _storage_class_of(obj),
        at(obj, "spec.volumeAttributesClassName", UNSET),
        at(obj, "status.reason", ""),
    ]


def _claim(obj: Object) -> list[Any]:
    bound = at(obj, "spec.volumeName", "")
    return [
        _phase(obj),
        bound,
        at(obj, "status.capacity.storage", "0") if bound else "",
        _modes(at(obj, "status.accessModes", [])) if bound else "",
        _storage_class_of(obj),
        at(obj, "spec.volumeAttributesClassName", UNSET),
    ]


def _volume_mode(obj: Object) -> list[Any]:
    return [at(obj, "spec.volumeMode", UNSET)]


def _subjects(obj: Object) -> list[Any]:
    found = obj.get("subjects") or ()
    names = [", ".join(each.get("name", "") for each in found if each.get("kind") == kind) for kind in ("User", "Group")]
    accounts = (f"{each.get('namespace', '')}/{each.get('name', '')}" for each in found if each.get("kind") == "ServiceAccount")
    return [*names, ", ".join(accounts)]


def _role_ref(obj: Object) -> list[Any]:
    return [f"{at(obj, 'roleRef.kind', '')}/{at(obj, 'roleRef.name', '')}"]


def _storage_class(obj: Object, now: datetime) -> list[Any]:
    name = name_of(obj)
    if any(annotations_of(obj).get(key) == "true" for key in _DEFAULT_CLASS):
        name += " (default)"
    reclaim, binding = obj.get("reclaimPolicy") or "Delete", obj.get("volumeBindingMode") or "Immediate"
    return [name, obj.get("provisioner", ""), reclaim, binding, bool(obj.get("allowVolumeExpansion")), age(obj, now)]


def _signing_request(obj: Object, now: datetime) -> list[Any]:
    types = [each.get("type") for each in at(obj, "status.conditions", [])]
    status = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    status += ",Failed" if "Failed" in types else ""
    status += ",Issued" if at(obj, "status.certificate") else ""
    asked_s = at(obj, "spec.expirationSeconds")
    duration = NONE if asked_s is None else timestamps.human_duration(asked_s)
    return [name_of(obj), age(obj, now), at(obj, "spec.signerName") or NONE, at(obj, "spec.username", ""), duration, status]


def _quota(obj: Object, now: datetime) -> list[Any]:
    requests: list[str] = []
    limits: list[str] = []
    for name, hard in sorted(at(obj, "status.hard", {}).items()):
        into = limits if name.startswith("limits") else requests
        into.append(f"{name}: {at(obj, 'status.used', {}).get(name, '0')}/{hard}")
    return [name_of(obj), ", ".join(requests), ", ".join(limits), age(obj, now)]


def _priority_class(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), obj.get("value", 0), bool(obj.get("globalDefault")), age(obj, now), obj.get("preemptionPolicy", "")]


def _pod_template(obj: Object, _: datetime) -> list[Any]:
    return [name_of(obj), *containers(at(obj, "template.spec", {})), labels(at(obj, "template.metadata.labels"))]


def _csi_driver(obj: Object) -> list[Any]:
    requests = at(obj, "spec.tokenRequests")
    return [
        at(obj, "spec.attachRequired", True),
        at(obj, "spec.podInfoOnMount", False),
        at(obj, "spec.storageCapacity", False),
        UNSET if requests is None else ",".join(each.get("audience", "") for each in requests),
        at(obj, "spec.requiresRepublish", False),
        ",".join(at(obj, "spec.volumeLifecycleModes", [])) or NONE,
    ]


def _param_kind(path: str) -> Callable[[Object], list[Any]]:
    def cells(obj: Object) -> list[Any]:
        kind = at(obj, "spec.paramKind")
        return [len(at(obj, path, ())), f"{kind.get('apiVersion')}/{kind.get('kind')}" if kind else UNSET]

    return cells


def _policy_binding(obj: Object) -> list[Any]:
    found: Object = at(obj, "spec.paramRef") or {}
    param = UNSET
    if found.get("name"):
        param = f"{found.get('namespace') or '*'}/{found['name']}"
    elif found.get("selector") is not None:
        param = selector(found["selector"])
    return [at(obj, "spec.policyName", ""), param]


def _ingress_class(obj: Object) -> list[Any]:
    found = at(obj, "spec.parameters")
    if not found:
        return [at(obj, "spec.controller", ""), NONE]
    group = f".{found['apiGroup']}" if found.get("apiGroup") else ""
    return [at(obj, "spec.controller", ""), f"{found.get('kind')}{group}/{found.get('name')}"]


def _flow_schema(obj: Object, now: datetime) -> list[Any]:
    dangling = next((each.get("status") for each in at(obj, "status.conditions", []) if each.get("type") == "Dangling"), "?")
    how = at(obj, "spec.distinguisherMethod.type", NONE)
    return [
        *(name_of(obj), at(obj, "spec.priorityLevelConfiguration.name", ""), at(obj, "spec.matchingPrecedence", 0)),
        *(how, age(obj, now), dangling),
    ]


def _priority_level(obj: Object) -> list[Any]:
    limited = "spec.limited"
    queuing = f"{limited}.limitResponse.queuing"
    paths = (f"{limited}.nominalConcurrencyShares", f"{queuing}.queues", f"{queuing}.handSize", f"{queuing}.queueLengthLimit")
    return [at(obj, "spec.type", ""), *(at(obj, path, NONE) for path in paths)]


def _custom_resource(obj: Object, _: datetime) -> list[Any]:
    return [name_of(obj), at(obj, "metadata.creationTimestamp", "")]


def _service_available(obj: Object) -> list[Any]:
    service = at(obj, "spec.service")
    where = f"{service.get('namespace')}/{service.get('name')}" if service else "Local"
    found: Object = next((each for each in at(obj, "status.conditions", []) if each.get("type") == "Available"), {})
    status = found.get("status", "Unknown")
    return [where, status if status == "True" or not found.get("reason") else f"{status} ({found['reason']})"]


_NAME_AGE = Printer(columns("Name, Age"), _row(lambda _: []))
_BINDING = columns("Name, Role, Age", "Users, Groups, ServiceAccounts")
_WEBHOOKS = Printer(columns("Name, Webhooks:integer, Age"), _row(_count("webhooks")))
_POLICY_BINDING = Printer(columns("Name, PolicyName, ParamRef, Age"), _row(_policy_binding))


def _component(obj: Object, _: datetime) -> list[Any]:
    healthy = next((each for each in at(obj, "conditions", ()) if each.get("type") == "Healthy"), None)
    if healthy is None:
        return [name_of(obj), "Unknown", "", ""]
    return [name_of(obj), "Healthy" if healthy.get("status") == "True" else "Unhealthy", healthy.get("message", ""), healthy.get("error", "")]


CONFIG: dict[str, Printer] = {
    "componentstatuses": Printer(columns("Name, Status, Message, Error"), _component),
    "namespaces": Printer(columns("Name, Status, Age"), _row(_text("status.phase"))),
    "secrets": Printer(columns("Name, Type, Data, Age"), _row(lambda obj: [obj.get("type", ""), len(obj.get("data") or ())])),
    "configmaps": Printer(columns("Name, Data, Age"), _row(lambda obj: [len(obj.get("data") or ()) + len(obj.get("binaryData") or ())])),
    "serviceaccounts": Printer(columns("Name, Secrets, Age"), _row(_count("secrets"))),
    "persistentvolumes": Printer(
        columns("Name, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, VolumeAttributesClass, Reason, Age", "VolumeMode"),
        _row(_volume, _volume_mode),
    ),
    "persistentvolumeclaims": Printer(
        columns("Name, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age", "VolumeMode"), _row(_claim, _volume_mode)
    ),
    "roles.rbac.authorization.k8s.io": Printer(columns("Name, Created At:date"), _custom_resource),
    "clusterroles.rbac.authorization.k8s.io": Printer(columns("Name, Created At:date"), _custom_resource),
    "rolebindings.rbac.authorization.k8s.io": Printer(_BINDING, _row(_role_ref, _subjects)),
    "clusterrolebindings.rbac.authorization.k8s.io": Printer(_BINDING, _row(_role_ref, _subjects)),
    "certificatesigningrequests.certificates.k8s.io": Printer(
        columns("Name, Age, SignerName, Requestor, RequestedDuration, Condition"), _signing_request
    ),
    "leases.coordination.k8s.io": Printer(columns("Name, Holder, Age"), _row(_text("spec.holderIdentity"))),
    "storageclasses.storage.k8s.io": Printer(
        columns("Name, Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age"), _storage_class
    ),
    "volumeattributesclasses.storage.k8s.io": Printer(columns("Name, DriverName, Age"), _row(_text("driverName"))),
    "resourcequotas": Printer(columns("Name, Request, Limit, Age"), _quota),
    "priorityclasses.scheduling.k8s.io": Printer(columns("Name, Value:integer, Global-Default:boolean, Age, PreemptionPolicy"), _priority_class),
    "runtimeclasses.node.k8s.io": Printer(columns("Name, Handler, Age"), _row(_text("handler"))),
    "volumeattachments.storage.k8s.io": Printer(
        columns("Name, Attacher, PV, Node, Attached:boolean, Age"),
        _row(
            lambda obj: [
                *(at(obj, f"spec.{name}", "") for name in ("attacher", "source.persistentVolumeName", "nodeName")),
                bool(at(obj, "status.attached")),
            ]
        ),
    ),
    "csinodes.storage.k8s.io": Printer(columns("Name, Drivers:integer, Age"), _row(_count("spec.drivers"))),
    "csidrivers.storage.k8s.io": Printer(
        columns(
            "Name, AttachRequired:boolean, PodInfoOnMount:boolean, StorageCapacity:boolean, TokenRequests, RequiresRepublish:boolean, Modes, Age"
        ),
        _row(_csi_driver),
    ),
    "csistoragecapacities.storage.k8s.io": Printer(
        columns("Name, StorageClassName, Capacity"), lambda obj, _: [name_of(obj), obj.get("storageClassName", ""), obj.get("capacity", UNSET)]
    ),
    "networkpolicies.networking.k8s.io": Printer(columns("Name, Pod-Selector, Age"), _row(lambda obj: [selector(at(obj, "spec.podSelector", {}))])),
    "ingressclasses.networking.k8s.io": Printer(columns("Name, Controller, Parameters, Age"), _row(_ingress_class)),
    "servicecidrs.networking.k8s.io": Printer(columns("Name, CIDRs, Age"), _row(lambda obj: [",".join(at(obj, "spec.cidrs", []))])),
    "ipaddresses.networking.k8s.io": Printer(
        columns("Name, ParentRef"),
        lambda obj, _: [
            name_of(obj),
            "/".join(str(part) for name in ("resource", "namespace", "name") if (part := at(obj, f"spec.parentRef.{name}"))),
        ],
    ),
    "podtemplates": Printer(columns("Name, Containers, Images, Pod Labels"), _pod_template),
    "limitranges": Printer(columns("Name, Created At:date"), _custom_resource),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": _WEBHOOKS,
    "validatingwebhookconfigurations.admissionregistration.k8s.io": _WEBHOOKS,
    "validatingadmissionpolicies.admissionregistration.k8s.io": Printer(
        columns("Name, Validations:integer, ParamKind, Age"), _row(_param_kind("spec.validations"))
    ),
    "mutatingadmissionpolicies.admissionregistration.k8s.io": Printer(
        columns("Name, Mutations:integer, ParamKind, Age"), _row(_param_kind("spec.mutations"))
    ),
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": _POLICY_BINDING,
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": _POLICY_BINDING,
    "flowschemas.flowcontrol.apiserver.k8s.io": Printer(
        columns("Name, PriorityLevel, MatchingPrecedence, DistinguisherMethod, Age, MissingPL"), _flow_schema
    ),
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": Printer(
        columns("Name, Type, NominalConcurrencyShares, Queues, HandSize, QueueLengthLimit, Age"), _row(_priority_level)
    ),
    "customresourcedefinitions.apiextensions.k8s.io": Printer(columns("Name, Created At:date"), _custom_resource),
    "apiservices.apiregistration.k8s.io": Printer(columns("Name, Service, Available, Age"), _row(_service_available)),
    "deviceclasses.resource.k8s.io": _NAME_AGE,
    "resourceclaimtemplates.resource.k8s.io": _NAME_AGE,
    "resourceslices.resource.k8s.io": Printer(
        columns("Name, Node, Driver, Pool, Age"), _row(_text("spec.nodeName", "spec.driver", "spec.pool.name"))
    ),
}
