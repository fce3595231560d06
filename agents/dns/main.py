"""The name server of a node: `python -m agents.dns.main --kubeconfig ... --listen 172.30.0.11:53 --node-name NODE`."""

import asyncio
import logging
import random
import socket
import sys
import time
from typing import Any

from agents.dns.forward import Forwarder, servers_of_file
from agents.dns.publish import Publisher
from agents.dns.server import Server
from agents.dns.zone import SERVICE_NAME, Zone, records_of, service_of
from agents.kit.backoff import Backoff
from agents.kit.informer import Informers
from agents.kit.runner import Agent, Running
from apiserver.machinery.objects import Object, key_of, name_of
from apiserver.machinery.resources import resource
from keelson.cogs.logs import fields
from keelson.cogs.tasks import Tasks

log = logging.getLogger(__name__)

SERVICES, SLICES, NAMESPACES = resource("services"), resource("endpointslices.discovery.k8s.io"), resource("namespaces")
BY_SERVICE = "service"


def main() -> int:
    agent = Agent("cluster-dns", "Answers for the names of the cluster on one node.", port=9153, tls=False, port_flag="--metrics-port")
    flags = agent.flags
    flags.text("--listen", "127.0.0.1:53", "address and port, for UDP and TCP; others are told this address")
    flags.text("--cluster-domain", "cluster.local", "the zone")
    flags.text("--cluster-dns", "10.96.0.10", "the address of the Service kube-dns, if it has to be made")
    flags.text("--node-name", "", "the name of the node; without it the name of this machine")
    flags.text("--resolv-conf", "/etc/resolv.conf", "whose name servers are asked for other names")
    flags.list("--upstream", [], "name servers to ask instead, HOST or HOST:PORT")
    arguments, _ = flags.parse_known_args()
    host, _, port = arguments.listen.rpartition(":")
    if not host or not port.isdigit():
        print(f"cluster-dns: --listen: {arguments.listen!r} is no ADDRESS:PORT", file=sys.stderr)
        return 2
    return agent.main(work)


class Names:
    """The zone, kept from three informers."""

    def __init__(self, informers: Informers, zone: Zone) -> None:
        self.zone = zone
        self._services = informers.of(SERVICES)
        self._slices = informers.of(SLICES, label_selector=SERVICE_NAME)
        self._namespaces = informers.of(NAMESPACES)
        self._slices.add_index(BY_SERVICE, lambda each: (service_of(each),))
        self._services.handle(add=self._service, update=lambda _, each: self._service(each), delete=self._service)
        self._slices.handle(add=self._slice, update=self._slice_changed, delete=self._slice)
        self._namespaces.handle(add=self._namespace, delete=self._namespace)

    async def synced(self) -> None:
        for informer in (self._services, self._slices, self._namespaces):
            await informer.synced.wait()

    @property
    def is_synced(self) -> bool:
        return all(informer.synced.is_set() for informer in (self._services, self._slices, self._namespaces))

    def _update(self, key: str) -> None:
        service = self._services.get(key)
        self.zone.replace(key, records_of(service, self._slices.by(BY_SERVICE, key), self.zone.zone) if service is not None else {})

    def _service(self, service: Object) -> None:
        self._update(key_of(service))

    def _slice(self, slice_: Object) -> None:
        if key := service_of(slice_):
            self._update(key)

    def _slice_changed(self, before: Object, after: Object) -> None:
        self._slice(before)
        self._slice(after)

    def _namespace(self, _: Object) -> None:
        self.zone.namespaces(name_of(each) for each in self._namespaces.all())


async def work(running: Running) -> None:
    arguments = running.arguments
    host, _, port_text = arguments.listen.rpartition(":")
    host = host.strip("[]")
    node = arguments.node_name or socket.gethostname().lower()
    names = Names(running.informers, Zone(arguments.cluster_domain, serial=int(time.time())))
    upstream = arguments.upstream or servers_of_file(arguments.resolv_conf, (host, arguments.cluster_dns))
    forwarder = Forwarder(upstream)
    server = Server(names.zone, forwarder)
    running.pages.readiness["synced"] = lambda: "" if names.is_synced else "the names are not there yet"
    running.pages.metrics.append(lambda: _metrics(server, forwarder))
    await names.synced()
    port = await server.open(host, int(port_text))
    log.info("serving names", extra=fields(listen=f"{host}:{port}", zone=names.zone.zone, upstream=",".join(upstream)))
    publisher = Publisher(running.client, node, host, port, arguments.cluster_dns)
    try:
        async with Tasks("dns") as tasks:
            tasks.serve("publish", publisher.run(Backoff(random.Random().random, asyncio.get_running_loop().time)))
    finally:
        await publisher.withdraw()
        await server.close()


def _metrics(server: Server, forwarder: Forwarder) -> list[Any]:
    from prometheus_client.metrics_core import CounterMetricFamily

    found = []
    for name, about, value in (
        ("coredns_dns_requests", "Questions that came.", server.questions),
        ("cluster_dns_malformed", "Messages that were no question.", server.malformed),
        ("coredns_forward_requests", "Questions asked of other servers.", forwarder.asked),
        ("cluster_dns_forward_failed", "Questions that no other server answered.", forwarder.failed),
    ):
        family = CounterMetricFamily(name, about)
        family.add_metric([], float(value))
        found.append(family)
    return found


if __name__ == "__main__":
    sys.exit(main())
