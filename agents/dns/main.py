"""`python -m agents.dns.main`: the DNS server of one node."""

import asyncio
import ipaddress
import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from agents.dns.record import Record
from agents.dns.server import Dns, listening
from agents.dns.upstream import Upstream, resolvers
from agents.dns.zone import SERVICE_NAME, Source, Zone
from agents.kit.backoff import Backoff
from agents.kit.informer import Informers
from agents.kit.runner import Agent, Running
from apiserver.machinery.objects import Object, labels_of, namespace_of
from apiserver.machinery.resources import resource
from keelson.cogs.tasks import Tasks

METRICS_PORT = 9153
SERVICES, SLICES, PODS, NAMESPACES = (resource(name) for name in ("services", "endpointslices.discovery.k8s.io", "pods", "namespaces"))
BY_SERVICE, BY_ADDRESS = "service", "address"


def agent() -> Agent:
    made = Agent("keelson-dns", "Answers for the names of services and pods.", port=METRICS_PORT, tls=False, port_flag="--metrics-port")
    flags = made.flags
    flags.text("--listen", "0.0.0.0:53", "address and port of the DNS server, UDP and TCP")
    flags.text("--cluster-domain", "cluster.local", "the domain of the cluster")
    flags.text("--cluster-dns", "", "address that the Service kube-dns gets if it is not there yet")
    flags.text("--node-name", "", "the node this instance serves; without it nothing is published")
    flags.text("--resolv-conf", "/etc/resolv.conf", "whom other names are asked of")
    return made


def source(informers: Informers) -> Source:
    """The zone's view of the caches."""
    services, slices, pods, namespaces = (informers.of(each) for each in (SERVICES, SLICES, PODS, NAMESPACES))
    services.add_index(BY_ADDRESS, _cluster_addresses)
    slices.add_index(BY_SERVICE, lambda obj: (f"{namespace_of(obj)}/{labels_of(obj).get(SERVICE_NAME, '')}",))
    slices.add_index(BY_ADDRESS, lambda obj: {address for each in obj.get("endpoints") or () for address in each.get("addresses") or ()})
    pods.add_index(BY_ADDRESS, lambda obj: (f"{namespace_of(obj)}/{(obj.get('status') or {}).get('podIP', '')}",))
    return Source(
        service=lambda namespace, name: services.get(f"{namespace}/{name}"),
        slices=lambda namespace, name: slices.by(BY_SERVICE, f"{namespace}/{name}"),
        namespace_exists=lambda name: namespaces.get(name) is not None,
        pod_at=lambda namespace, address: bool(pods.by(BY_ADDRESS, f"{namespace}/{address}")),
        services_at=lambda address: services.by(BY_ADDRESS, address),
        slices_at=lambda address: slices.by(BY_ADDRESS, address),
    )


def _cluster_addresses(service: Object) -> Iterable[str]:
    spec = service.get("spec") or {}
    return [each for each in spec.get("clusterIPs") or [spec.get("clusterIP")] if each and each != "None"]


def address_of(text: str) -> tuple[str, int]:
    """Raises ValueError."""
    host, _, port = text.rpartition(":")
    return str(ipaddress.ip_address(host.strip("[]"))), int(port)


async def serve(running: Running) -> None:
    arguments = running.arguments
    host, port = address_of(arguments.listen)
    upstream = Upstream(resolvers(Path(arguments.resolv_conf), besides=arguments.cluster_dns))
    server = Dns(Zone(source(running.informers), arguments.cluster_domain), upstream)
    running.pages.readiness["informers"] = lambda: "" if all(each.synced.is_set() for each in running.informers) else "caches are not filled yet"
    running.pages.metrics.append(lambda: _metrics(server))
    await running.informers.synced()
    async with listening(server, host, port) as bound, Tasks("dns") as tasks:
        if arguments.node_name:
            record = Record(running.client, arguments.node_name, host, bound, arguments.cluster_dns)
            tasks.serve("record", record.run(Backoff(random.random, asyncio.get_running_loop().time)))
        await asyncio.Event().wait()


def _metrics(server: Dns) -> Iterable[Any]:
    from prometheus_client.metrics_core import CounterMetricFamily

    requests = CounterMetricFamily("coredns_dns_requests", "Questions.", labels=["proto", "type"])
    for (protocol, kind), number in server.counts.requests.items():
        requests.add_metric([protocol, kind], float(number))
    responses = CounterMetricFamily("coredns_dns_responses", "Answers.", labels=["rcode"])
    for code, number in server.counts.responses.items():
        responses.add_metric([code], float(number))
    dropped = CounterMetricFamily("coredns_dns_dropped", "Packets that are no questions.")
    dropped.add_metric([], float(server.counts.dropped))
    return requests, responses, dropped


def main(argv: Sequence[str] | None = None) -> int:
    made = agent()
    try:
        address_of(made.flags.parse_args(argv).listen)
    except ValueError as error:
        print(f"keelson-dns: --listen: {error}: IP:PORT is expected", file=sys.stderr)
        return 2
    return made.main(serve, argv)


if __name__ == "__main__":
    sys.exit(main())
