"""How clients find the name servers: the Service kube-dns, made if nobody has, and an EndpointSlice of it for each of them."""

import asyncio
import logging

from agents.kit.backoff import Backoff
from apiserver.client.errors import Unreachable
from apiserver.client.rest import Client
from apiserver.machinery.objects import Object, labels_of, name_of, uid_of
from apiserver.machinery.resources import Resource, resource
from apiserver.machinery.status import ApiError
from keelson.cogs.logs import fields

log = logging.getLogger(__name__)

SERVICES, SLICES, NODES = resource("services"), resource("endpointslices.discovery.k8s.io"), resource("nodes")
NAMESPACE, NAME = "kube-system", "kube-dns"
MANAGER = "keelson-dns"
CHECK_S = 30.0
"""How often it is looked whether all of it is still there."""
WITHDRAW_S = 2.0


def service(address: str) -> Object:
    """Queries stay on the node while its name server is there (hints say which is whose), and go to another node's when it is not."""
    ports = [{"name": name, "port": 53, "protocol": protocol, "targetPort": 53} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    labels = {"k8s-app": NAME, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": ports, "trafficDistribution": "PreferSameNode"},
    }


def endpoint_slice(node: str, node_uid: str, address: str, port: int) -> Object:
    """It goes with its node, if there is a Node."""
    metadata: Object = {
        "name": f"{NAME}-{node}",
        "namespace": NAMESPACE,
        "labels": {"kubernetes.io/service-name": NAME, "endpointslice.kubernetes.io/managed-by": MANAGER},
    }
    if node_uid:
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "name": node, "uid": node_uid}]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv6" if ":" in address else "IPv4",
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": node,
                "hints": {"forNodes": [{"name": node}]},
            }
        ],
        "ports": [{"name": name, "port": port, "protocol": protocol} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))],
    }


class Publisher:
    def __init__(self, client: Client, node: str, address: str, port: int, cluster_dns: str) -> None:
        self._client, self._node, self._address, self._port, self._cluster_dns = client, node, address, port, cluster_dns
        self.published = asyncio.Event()

    async def run(self, backoff: Backoff) -> None:
        """Until cancelled: say where we are, and see that it stays said."""
        while True:
            try:
                await self._publish()
            except (ApiError, Unreachable) as error:
                log.warning("the name server could not be announced", extra=fields(error=str(error)))
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            self.published.set()
            await asyncio.sleep(CHECK_S)

    async def withdraw(self) -> None:
        """Nobody shall ask us any more. What fails is told in the log."""
        try:
            async with asyncio.timeout(WITHDRAW_S):
                await self._client.delete(SLICES, f"{NAME}-{self._node}", NAMESPACE)
        except (ApiError, Unreachable, TimeoutError) as error:
            log.warning("the name server could not be withdrawn", extra=fields(error=str(error)))

    async def _publish(self) -> None:
        if await self._there(SERVICES, NAME, NAMESPACE) is None:
            try:
                await self._client.create(SERVICES, service(self._cluster_dns), NAMESPACE)
            except ApiError as error:
                if error.reason != "AlreadyExists":  # another node's name server was faster
                    raise
        node = await self._there(NODES, self._node)
        wanted = endpoint_slice(self._node, uid_of(node) if node else "", self._address, self._port)
        there = await self._there(SLICES, name_of(wanted), NAMESPACE)
        if there is None:
            await self._client.create(SLICES, wanted, NAMESPACE)
        elif any(there.get(key) != wanted[key] for key in ("endpoints", "ports")) or labels_of(there) != labels_of(wanted):
            await self._client.update(SLICES, {**wanted, "metadata": {**there["metadata"], **wanted["metadata"]}})

    async def _there(self, of: Resource, name: str, namespace: str = "") -> Object | None:
        try:
            return await self._client.get(of, name, namespace)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            return None
