"""EndpointSlices of Endpoints that somebody wrote by hand: for services without a selector, proxies look at slices alone
(pkg/controller/endpointslicemirroring)."""

from collections.abc import Sequence
from typing import Any

from agents.controllers import endpoints as rules
from agents.controllers.endpoints_controller import ENDPOINTS, SERVICES
from agents.controllers.endpointslice import MANAGED_BY, SLICES, key_of_slice, ports_of
from agents.kit.actions import Action, Create, Delete, Update
from agents.kit.controller import Controller
from agents.kit.indexer import CONTROLLER
from agents.kit.owners import owner_reference
from apiserver.machinery.objects import Object, annotations_of, is_terminating, key_of, labels_of, name_of, namespace_of, uid_of

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
ENDPOINTS_MAX = 1000
"""Of one slice, and of one subset: more are left out, as upstream."""


def is_mirrored(endpoints: Object, service: Object | None) -> bool:
    """Written by hand, for a service that selects nothing."""
    if service is None or service["spec"].get("selector") or service["spec"].get("type") == "ExternalName" or is_terminating(endpoints):
        return False
    return labels_of(endpoints).get(SKIP) != "true" and LEADER not in annotations_of(endpoints)


def wanted(endpoints: Object) -> dict[tuple[str, Any], list[Object]]:
    """The endpoints by address type and ports."""
    groups: dict[tuple[str, Any], list[Object]] = {}
    for subset in endpoints.get("subsets") or ():
        listed = ((p.get("name") or "", p.get("port"), p.get("protocol") or "TCP", p.get("appProtocol") or "") for p in subset.get("ports") or ())
        ports = tuple(sorted(listed))
        for field, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(field) or ():
                family = "IPv6" if ":" in address["ip"] else "IPv4"
                found: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
                found |= {name: address[name] for name in ("hostname", "nodeName", "targetRef") if address.get(name)}
                group = groups.setdefault((family, ports), [])
                if len(group) < ENDPOINTS_MAX:
                    group.append(found)
    return groups


def reconcile(endpoints: Object, service: Object | None, slices: Sequence[Object]) -> list[Action]:
    groups = wanted(endpoints) if is_mirrored(endpoints, service) else {}
    labels = {key: value for key, value in labels_of(endpoints).items() if key not in (rules.SERVICE_LABEL, MANAGED_BY, SKIP)}
    labels |= {rules.SERVICE_LABEL: name_of(endpoints), MANAGED_BY: MANAGER}
    actions: list[Action] = []
    for each in sorted(slices, key=name_of):
        there = groups.pop(key_of_slice(each), None)
        if there is None:
            actions.append(Delete(SLICES, namespace_of(each), name_of(each), uid_of(each)))
        elif there != each.get("endpoints") or labels != labels_of(each):
            actions.append(Update(SLICES, {**each, "endpoints": there, "metadata": {**each["metadata"], "labels": labels}}))
    for (family, ports), there in sorted(groups.items()):
        metadata = {
            "generateName": f"{name_of(endpoints)}-",
            "namespace": namespace_of(endpoints),
            "labels": labels,
            "ownerReferences": [owner_reference(endpoints, ENDPOINTS)],
        }
        made = {"metadata": metadata, "addressType": family, "endpoints": there, "ports": ports_of(ports)}
        actions.append(Create(SLICES, made, key_of(endpoints)))
    return actions


class EndpointSliceMirroring(Controller):
    name = "endpointslice-mirroring-controller"
    component = "endpointslicemirroring-controller"
    workers = 5

    def watch(self) -> None:
        self.endpoints = self.watched(ENDPOINTS, self.enqueue)
        self.services = self.watched(SERVICES, self.enqueue)
        self.slices = self.dependents(SLICES, ENDPOINTS)

    def reconcile(self, key: str) -> list[Action]:
        endpoints = self.endpoints.get(key)
        if endpoints is None:
            self.expectations.forget(key)  # its slices go with it
            return []
        if not self.expectations.satisfied(key):
            return []
        slices = [each for each in self.slices.by(CONTROLLER, uid_of(endpoints)) if labels_of(each).get(MANAGED_BY) == MANAGER]
        return reconcile(endpoints, self.services.get(key), slices)
