"""Nodes get what only their infrastructure knows, and lose the taint that kept pods away until then (k8s.io/cloud-provider, controllers/node).

A node that is NotReady and whose machine is gone is deleted (controllers/nodelifecycle): its pods can be collected then.
"""

from agents.cloud.provider import Instance, Provider
from agents.kit.actions import NORMAL, Action, Delete, Event, Update
from agents.kit.controller import Context, Controller
from apiserver.machinery.conditions import is_true
from apiserver.machinery.objects import Object, labels_of, name_of, uid_of
from apiserver.machinery.resources import resource

NODES = resource("nodes")
UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
ZONE, REGION, TYPE = "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "node.kubernetes.io/instance-type"


def initialized(node: Object, instance: Instance) -> Object | None:
    """The node as it shall be; None if it is so."""
    spec = node.get("spec") or {}
    wanted = {ZONE: instance.zone, REGION: instance.region, TYPE: instance.kind}
    taints = [taint for taint in spec.get("taints") or () if taint["key"] != UNINITIALIZED]
    labelled = wanted.items() <= labels_of(node).items()
    if labelled and spec.get("providerID") and len(taints) == len(spec.get("taints") or ()):
        return None
    made_spec = {**spec, "providerID": spec.get("providerID") or instance.provider_id}
    made_spec.pop("taints", None)
    if taints:
        made_spec["taints"] = taints
    return {**node, "metadata": {**node["metadata"], "labels": {**labels_of(node), **wanted}}, "spec": made_spec}


def decided(node: Object, instance: Instance | None) -> list[Action]:
    """What is to be done about a node whose machine is `instance`."""
    if instance is None:
        if is_true(node, "Ready"):
            return []
        told = Event(node, NORMAL, "DeletingNode", f"Deleting node {name_of(node)} because it does not exist in the cloud provider")
        return [told, Delete(NODES, "", name_of(node), uid_of(node))]
    wanted = initialized(node, instance)
    return [] if wanted is None else [Update(NODES, wanted)]


class Nodes(Controller):
    name = "cloud-node-controller"

    def __init__(self, context: Context, provider: Provider) -> None:
        self._provider = provider
        super().__init__(context)

    def watch(self) -> None:
        self.nodes = self.watched(NODES, self.enqueue)

    async def sync(self, key: str) -> float | None:
        node = self.nodes.get(key)
        if node is None:
            return None
        return await self.performer.perform(decided(node, await self._provider.instance(node)))
