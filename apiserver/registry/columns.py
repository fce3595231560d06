"""kubectl's columns for built-in kinds: one table (pkg/printers/internalversion/printers.go). A kind that is not named has Name and Created At."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from apiserver.machinery import timestamps
from apiserver.machinery.objects import Object, controller_of, labels_of, name_of
from apiserver.registry import pod_columns
from apiserver.registry.column import DEFAULT, NONE, UNKNOWN, UNSET, Printer, age, at, columns, containers, flag, labels, more, selector
from apiserver.registry.config_columns import CONFIG

Rest = Callable[[Object, datetime], list[Any]]
TEMPLATE_WIDE = "Containers, Images, Selector"


def _between(before: Rest, after: Rest | None = None) -> Rest:
    """Name, what the kind says, Age, what it says in wide tables."""

    def cells(obj: Object, now: datetime) -> list[Any]:
        return [name_of(obj), *before(obj, now), age(obj, now), *(after(obj, now) if after is not None else [])]

    return cells


def _template(path: str = "spec.template.spec", selector_path: str = "spec.selector", *, plain: bool = False) -> Rest:
    def cells(obj: Object, _: datetime) -> list[Any]:
        names, images = containers(at(obj, path, {}))
        found = at(obj, selector_path)
        return [names, images, labels(found) if plain else selector(found)]

    return cells


def _numbers(*paths: str) -> Rest:
    return lambda obj, _: [at(obj, path, 0) for path in paths]


def _deployment(obj: Object, _: datetime) -> list[Any]:
    status = obj.get("status") or {}
    ready = f"{status.get('readyReplicas') or 0}/{at(obj, 'spec.replicas', 0)}"
    return [ready, status.get("updatedReplicas") or 0, status.get("availableReplicas") or 0]


def _daemon_set(obj: Object, _: datetime) -> list[Any]:
    names = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable")
    return [*(at(obj, f"status.{name}", 0) for name in names), labels(at(obj, "spec.template.spec.nodeSelector"))]


def _job(obj: Object, now: datetime) -> list[Any]:
    succeeded, wanted, parallel = at(obj, "status.succeeded", 0), at(obj, "spec.completions"), at(obj, "spec.parallelism", 0)
    completions = f"{succeeded}/{wanted}" if wanted is not None else f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"
    started, ended = at(obj, "status.startTime", ""), at(obj, "status.completionTime", "")
    duration = timestamps.age(started, timestamps.parse(ended) if ended else now) if started else ""
    true = [each.get("type") for each in at(obj, "status.conditions", []) if each.get("status") == "True"]
    status = "Complete" if "Complete" in true else "Failed" if "Failed" in true else ""
    status = status or ("Terminating" if at(obj, "metadata.deletionTimestamp") else "Suspended" if "Suspended" in true else "")
    return [status or ("FailureTarget" if "FailureTarget" in true else "Running"), completions, duration]


def _cron_job(obj: Object, now: datetime) -> list[Any]:
    last = at(obj, "status.lastScheduleTime")
    seen = timestamps.age(last, now) if last else NONE
    active = len(at(obj, "status.active", []))
    return [at(obj, "spec.schedule", ""), at(obj, "spec.timeZone") or NONE, flag(at(obj, "spec.suspend")), active, seen]


def _ingress_points(obj: Object) -> str:
    return ",".join(sorted({each.get("ip") or each.get("hostname") or "" for each in at(obj, "status.loadBalancer.ingress", [])} - {""}))


def _service(obj: Object, _: datetime) -> list[Any]:
    addresses = at(obj, "spec.clusterIPs", [])
    ports = ",".join(
        f"{each.get('port')}:{each['nodePort']}/{each.get('protocol')}" if each.get("nodePort") else f"{each.get('port')}/{each.get('protocol')}"
        for each in at(obj, "spec.ports", [])
    )
    cluster = addresses[0] if addresses else at(obj, "spec.clusterIP") or NONE
    return [at(obj, "spec.type", ""), cluster, _external(obj), ports or NONE]


def _external(obj: Object) -> str:
    kind, given = at(obj, "spec.type", ""), at(obj, "spec.externalIPs", [])
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(given) or NONE
    if kind == "LoadBalancer":
        return ",".join(filter(None, [_ingress_points(obj), *given])) or "<pending>"
    return str(at(obj, "spec.externalName", "")) if kind == "ExternalName" else UNKNOWN


def _ingress(obj: Object, _: datetime) -> list[Any]:
    rules = at(obj, "spec.rules", [])
    hosts = more([each["host"] for each in rules[:3] if each.get("host")], len(rules)) or "*"
    return [at(obj, "spec.ingressClassName") or NONE, hosts, _ingress_points(obj), "80, 443" if at(obj, "spec.tls") else "80"]


def _endpoints(obj: Object, _: datetime) -> list[Any]:
    found = []
    for subset in obj.get("subsets") or ():
        addresses = [each.get("ip", "") for each in subset.get("addresses") or ()]
        ports = subset.get("ports")
        if not ports:
            found += addresses
        for port in ports or ():
            found += [f"[{each}]:{port.get('port')}" if ":" in each else f"{each}:{port.get('port')}" for each in addresses]
    return [more(found, len(found)) if obj.get("subsets") else NONE]


def _endpoint_slice(obj: Object, _: datetime) -> list[Any]:
    ports = [str(each["port"]) if each.get("port") is not None else each.get("name") or "*" for each in obj.get("ports") or ()]
    addresses = [address for each in obj.get("endpoints") or () for address in each.get("addresses") or ()]
    return [obj.get("addressType", ""), more(ports, len(ports)) or UNSET, more(addresses, len(addresses)) or UNSET]


def _node(obj: Object, now: datetime) -> list[Any]:
    ready = next((each.get("status") for each in at(obj, "status.conditions", []) if each.get("type") == "Ready"), None)
    status = "Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"
    if at(obj, "spec.unschedulable"):
        status += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    found = {key.removeprefix(prefix) for key in labels_of(obj) if key.startswith(prefix)} | {labels_of(obj).get("kubernetes.io/role", "")}
    info = at(obj, "status.nodeInfo", {})
    addresses = {each.get("type"): each.get("address") for each in reversed(at(obj, "status.addresses", []))}
    return [
        *(name_of(obj), status, ",".join(sorted(found - {""})) or NONE, age(obj, now), info.get("kubeletVersion", "")),
        *(addresses.get(kind) or NONE for kind in ("InternalIP", "ExternalIP")),
        *(info.get(name) or UNKNOWN for name in ("osImage", "kernelVersion", "containerRuntimeVersion")),
    ]


def _event(obj: Object, now: datetime) -> list[Any]:
    def since(*paths: str) -> str:
        return timestamps.age(next((found for path in paths if (found := at(obj, path))), ""), now)

    about = obj.get("involvedObject") or obj.get("regarding") or {}
    first = since("firstTimestamp", "deprecatedFirstTimestamp", "eventTime")
    last = since("series.lastObservedTime", "lastTimestamp", "deprecatedLastTimestamp", "firstTimestamp", "deprecatedFirstTimestamp", "eventTime")
    count = at(obj, "series.count") or obj.get("count") or obj.get("deprecatedCount") or 1
    kind, name = str(about.get("kind", "")).lower(), about.get("name")
    text = str(obj.get("message") or obj.get("note") or "").strip()
    return [
        *(last, obj.get("type", ""), obj.get("reason", ""), f"{kind}/{name}" if name else kind),
        *(about.get("fieldPath", ""), _event_source(obj), text, first, count, name_of(obj)),
    ]


def _event_source(obj: Object) -> str:
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else component


def _pdb(obj: Object, _: datetime) -> list[Any]:
    return [str(at(obj, "spec.minAvailable", "N/A")), str(at(obj, "spec.maxUnavailable", "N/A")), at(obj, "status.disruptionsAllowed", 0)]


def _controller_revision(obj: Object, _: datetime) -> list[Any]:
    owner = controller_of(obj)
    if owner is None:
        return [NONE, obj.get("revision", 0)]
    group = owner.get("apiVersion", "").rpartition("/")[0]
    return [f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}", obj.get("revision", 0)]


def _hpa(obj: Object, _: datetime) -> list[Any]:
    reference = f"{at(obj, 'spec.scaleTargetRef.kind', '')}/{at(obj, 'spec.scaleTargetRef.name', '')}"
    lowest = at(obj, "spec.minReplicas")
    return [reference, _targets(obj), UNSET if lowest is None else str(lowest), at(obj, "spec.maxReplicas", 0), at(obj, "status.currentReplicas", 0)]


def _targets(obj: Object) -> str:
    """What the autoscaler aims at, and where it stands: `cpu: 12%/80%`; both forms of the kind."""
    if "targetCPUUtilizationPercentage" in obj.get("spec", {}):
        current = at(obj, "status.currentCPUUtilizationPercentage")
        return f"cpu: {UNKNOWN if current is None else f'{current}%'}/{obj['spec']['targetCPUUtilizationPercentage']}%"
    found = []
    current_metrics = at(obj, "status.currentMetrics", [])
    for number, metric in enumerate(at(obj, "spec.metrics", [])):
        kind = metric.get("type", "")
        key = kind[:1].lower() + kind[1:]
        target = at(metric, f"{key}.target", {})
        current = at(current_metrics[number] if number < len(current_metrics) else {}, f"{key}.current", {})
        wanted, form = _target(target)
        now = current.get(form)
        told = f"{UNKNOWN if now is None else now}{'%' if form == 'averageUtilization' and now is not None else ''}/{wanted}"
        found.append(f"{at(metric, f'{key}.name')}: {told}" if key in ("resource", "containerResource") else told)
    return more(found, len(found), 2) or NONE


def _target(target: Object) -> tuple[str, str]:
    if target.get("averageUtilization") is not None:
        return f"{target['averageUtilization']}%", "averageUtilization"
    if target.get("averageValue") is not None:
        return f"{target['averageValue']} (avg)", "averageValue"
    return str(target.get("value", "")), "value"


_REPLICAS = columns("Name, Desired:integer, Current:integer, Ready:integer, Age", TEMPLATE_WIDE)
_REPLICA_CELLS = _numbers("spec.replicas", "status.replicas", "status.readyReplicas")
_EVENT_COLUMNS = columns("Last Seen, Type, Reason, Object, Subobject, Source, Message, First Seen, Count, Name")
_WIDE_OF_EVENTS = ("Subobject", "Source", "First Seen", "Count", "Name")
_EVENTS = Printer(
    tuple(type(each)(each.name, each.type, each.format, each.description, int(each.name in _WIDE_OF_EVENTS)) for each in _EVENT_COLUMNS), _event
)

COLUMNS: dict[str, Printer] = {
    "pods": pod_columns.PRINTER,
    "deployments.apps": Printer(columns("Name, Ready, Up-to-date, Available, Age", TEMPLATE_WIDE), _between(_deployment, _template())),
    "replicasets.apps": Printer(_REPLICAS, _between(_REPLICA_CELLS, _template())),
    "replicationcontrollers": Printer(_REPLICAS, _between(_REPLICA_CELLS, _template(plain=True))),
    "daemonsets.apps": Printer(
        columns("Name, Desired:integer, Current:integer, Ready:integer, Up-to-date:integer, Available:integer, Node Selector, Age", TEMPLATE_WIDE),
        _between(_daemon_set, _template()),
    ),
    "statefulsets.apps": Printer(
        columns("Name, Ready, Age", "Containers, Images"),
        _between(
            lambda obj, _: [f"{at(obj, 'status.readyReplicas', 0)}/{at(obj, 'spec.replicas', 0)}"],
            lambda obj, now: _template()(obj, now)[:2],
        ),
    ),
    "jobs.batch": Printer(columns("Name, Status, Completions, Duration, Age", TEMPLATE_WIDE), _between(_job, _template())),
    "cronjobs.batch": Printer(
        columns("Name, Schedule, Timezone, Suspend:boolean, Active:integer, Last Schedule, Age", TEMPLATE_WIDE),
        _between(_cron_job, _template("spec.jobTemplate.spec.template.spec", "spec.jobTemplate.spec.selector")),
    ),
    "services": Printer(
        columns("Name, Type, Cluster-IP, External-IP, Port(s), Age", "Selector"),
        _between(_service, lambda obj, _: [labels(at(obj, "spec.selector"))]),
    ),
    "ingresses.networking.k8s.io": Printer(columns("Name, Class, Hosts, Address, Ports, Age"), _between(_ingress)),
    "endpoints": Printer(columns("Name, Endpoints, Age"), _between(_endpoints)),
    "endpointslices.discovery.k8s.io": Printer(columns("Name, AddressType, Ports, Endpoints, Age"), _between(_endpoint_slice)),
    "nodes": Printer(
        columns("Name, Status, Roles, Age, Version", "Internal-IP, External-IP, OS-Image, Kernel-Version, Container-Runtime"),
        _node,
    ),
    "events": _EVENTS,
    "events.events.k8s.io": _EVENTS,
    "poddisruptionbudgets.policy": Printer(columns("Name, Min Available, Max Unavailable, Allowed Disruptions:integer, Age"), _between(_pdb)),
    "horizontalpodautoscalers.autoscaling": Printer(columns("Name, Reference, Targets, MinPods, MaxPods, Replicas, Age"), _between(_hpa)),
    "controllerrevisions.apps": Printer(columns("Name, Controller, Revision, Age"), _between(_controller_revision)),
    **CONFIG,
}


def printer(qualified: str) -> Printer:
    """The table of a built-in resource."""
    return COLUMNS.get(qualified, DEFAULT)
