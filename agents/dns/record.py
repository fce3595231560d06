"""Where this instance says that it is there: the Service kube-dns, made once by whoever comes first, and a slice of endpoints of its own.

The Service is for its node alone (internalTrafficPolicy: Local): a question never crosses the network, and a node's DNS is lost only with the node.
"""

import asyncio
import logging

from agents.kit.backoff import Backoff
from apiserver.client.errors import Unreachable
from apiserver.client.rest import APPLY, Client
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.cogs.logs import fields

log = logging.getLogger(__name__)

NAMESPACE, SERVICE = "kube-system", "kube-dns"
MANAGER = "keelson-dns"
SERVICES, SLICES = resource("services"), resource("endpointslices.discovery.k8s.io")
LABELS = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
CLEAN_END_S = 2.0


def service(cluster_ip: str) -> Object:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]
    spec: Object = {"ports": ports, "internalTrafficPolicy": "Local", "type": "ClusterIP"}
    if cluster_ip:
        spec["clusterIP"] = cluster_ip
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE, "namespace": NAMESPACE, "labels": dict(LABELS)}, "spec": spec}


def endpoint_slice(node: str, address: str, port: int) -> Object:
    labels = {"kubernetes.io/service-name": SERVICE, "endpointslice.kubernetes.io/managed-by": MANAGER}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{SERVICE}-{node}", "namespace": NAMESPACE, "labels": labels},
        "addressType": "IPv6" if ":" in address else "IPv4",
        "endpoints": [{"addresses": [address], "nodeName": node, "conditions": {"ready": True, "serving": True, "terminating": False}}],
        "ports": [{"name": "dns", "port": port, "protocol": "UDP"}, {"name": "dns-tcp", "port": port, "protocol": "TCP"}],
    }


class Record:
    def __init__(self, client: Client, node: str, address: str, port: int, cluster_ip: str) -> None:
        self._client, self._node = client, node
        self._slice = endpoint_slice(node, address, port)
        self._service = service(cluster_ip)

    async def run(self, backoff: Backoff) -> None:
        """Say it until it is heard, then for as long as we are; at the end it is taken back."""
        while True:
            try:
                await self._say()
                break
            except (ApiError, Unreachable) as error:
                log.warning("the Service kube-dns cannot be kept", extra=fields(error=str(error)))
            await asyncio.sleep(backoff.next_s())
        try:
            await asyncio.Event().wait()
        finally:
            await self._take_back()

    async def _say(self) -> None:
        try:
            await self._client.create(SERVICES, self._service)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        name = self._slice["metadata"]["name"]
        await self._client.patch(SLICES, name, self._slice, NAMESPACE, kind=APPLY, field_manager=MANAGER, force=True)

    async def _take_back(self) -> None:
        try:
            async with asyncio.timeout(CLEAN_END_S):
                await self._client.delete(SLICES, self._slice["metadata"]["name"], NAMESPACE)
        except (ApiError, Unreachable, TimeoutError) as error:
            log.warning("the slice stays behind", extra=fields(error=str(error) or "no answer"))
