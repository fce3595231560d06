"""The service proxy of a node: `python -m agents.proxy.main --kubeconfig ... --hostname-override NODE`, with kube-proxy's flags.

The user-space proxy is the default; `--proxy-mode=nftables` has the kernel do it. Both need root (or CAP_NET_ADMIN) in the node's network namespace.
"""

import asyncio
import logging
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from aiohttp import web

from agents.kit.events import Recorder
from agents.kit.runner import Agent, Running
from agents.kit.serving import Address, serving
from agents.proxy.host_ports import follow
from agents.proxy.keeping import Keeping
from agents.proxy.link import Link
from agents.proxy.nftables import Nftables
from agents.proxy.rules import Listener, Rule
from agents.proxy.table import Table
from agents.proxy.userspace import Userspace
from keelson.cogs import descriptors
from keelson.cogs.logs import fields
from keelson.cogs.tasks import Tasks

log = logging.getLogger(__name__)

MODES = ("userspace", "nftables")
GATHER_S = 0.02
"""Changes that come together are done together."""
RETRY_S = 2.0
"""What could not be done is tried again after so long."""


class Mode(Protocol):
    node_addresses: tuple[str, ...]

    async def sync(self, wanted: Mapping[Listener, Rule]) -> list[str]: ...

    async def leave(self) -> None: ...


def main() -> int:
    agent = Agent("kube-proxy", "Answers for the addresses of services on one node.", port=0, tls=False, port_flag="--metrics-port")
    flags = agent.flags
    flags.text("--hostname-override", "", "the name of the node; without it the name of this machine")
    flags.text("--proxy-mode", "userspace", "userspace (in this process) or nftables (in the kernel)")
    flags.list("--cluster-cidr", [], "networks of the pods: who comes from elsewhere comes from outside")
    flags.list("--nodeport-addresses", [], "addresses at which node ports are answered; without it the node's InternalIPs")
    flags.text("--host-ports-file", "", "where the node's kubelet tells which ports of the node lead to pods")
    flags.text("--healthz-bind-address", "0.0.0.0:10256", "address and port of /healthz and /livez; empty: none")
    flags.text("--metrics-bind-address", "127.0.0.1:10249", "address and port of /metrics; empty: none")
    flags.switch("--cleanup", False, "take away what a proxy has left on this machine, and end")
    arguments, _ = flags.parse_known_args()
    if arguments.proxy_mode not in MODES:
        print(f"kube-proxy: --proxy-mode: unknown proxy mode {arguments.proxy_mode!r}: {' or '.join(MODES)}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("kube-proxy: it adds addresses to this machine's network, which needs root: run it as root in the node's namespace", file=sys.stderr)
        return 1
    if arguments.cleanup:
        asyncio.run(_clean())
        return 0
    return agent.main(work)


async def _clean() -> None:
    keeping = Keeping()
    await keeping.take()
    keeping.end()
    await Link().remove()
    if shutil.which("nft"):
        await Nftables().close()


async def work(running: Running) -> None:
    arguments = running.arguments
    node = arguments.hostname_override or socket.gethostname().lower()
    servers = frozenset(filter(None, (urlsplit(server).hostname for server in running.client.access.servers)))
    table = Table(running.informers, node, servers, tuple(arguments.cluster_cidr))
    link = Link()
    keeping = Keeping()
    allowed = descriptors.raise_limit()
    userspace = Userspace(link, arguments.nodeport_addresses, arguments.cluster_cidr, keeping=keeping, descriptors=allowed)
    mode: Mode = userspace if arguments.proxy_mode == "userspace" else Nftables(arguments.nodeport_addresses, arguments.cluster_cidr)
    proxy = Syncing(table, mode, arguments.nodeport_addresses, running.broadcaster.recorder("kube-proxy"))
    running.pages.health["sync"] = proxy.trouble
    running.pages.readiness["synced"] = lambda: "" if proxy.synced.is_set() else "the rules are not there yet"
    running.pages.metrics.append(lambda: _metrics(proxy, userspace))
    addresses = [address for text in (arguments.healthz_bind_address, arguments.metrics_bind_address) if (address := _address(text))]
    async with serving(running.pages, *addresses), Tasks("proxy") as tasks:
        tasks.serve("health checks", proxy.answer_health_checks())
        if arguments.host_ports_file:
            tasks.serve("host ports", follow(Path(arguments.host_ports_file), table.lead_host_ports))
        try:
            if mode is userspace:
                await userspace.inherit()
                tasks.serve("keeper", keeping.watch())
            await table.synced()
            log.info("caches are synced", extra=fields(node=node, mode=arguments.proxy_mode))
            await proxy.run()
        finally:
            # As upstream: what the proxy has made stays, for the next one; --cleanup takes it away.
            await mode.leave()


class Syncing:
    """Makes the machine as the table says, whenever the table says something new."""

    def __init__(self, table: Table, mode: Mode, addresses: list[str], recorder: Recorder) -> None:
        self._table, self._mode, self._addresses, self._recorder = table, mode, addresses, recorder
        self._told: dict[str, dict[str, str]] = {}
        self.synced = asyncio.Event()
        self.faults: list[str] = []
        self.syncs = 0
        self.rules = 0

    def trouble(self) -> str:
        return "; ".join(self.faults[:3])

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._table.changed.wait(), RETRY_S if self.faults else None)
            await asyncio.sleep(GATHER_S)
            self._table.changed.clear()
            await self.sync()

    async def sync(self) -> None:
        wanted = self._table.rules()
        self._mode.node_addresses = tuple(self._addresses or self._table.node_addresses())
        try:
            self.faults = await self._mode.sync(wanted)
        except OSError as error:
            self.faults = [str(error)]
        self.syncs += 1
        self.rules = len(wanted)
        self._tell_refusals()
        for fault in self.faults:
            log.warning("a rule could not be made", extra=fields(error=fault))
        if not self.synced.is_set():
            log.info("rules are there", extra=fields(rules=self.rules))
            self.synced.set()

    def _tell_refusals(self) -> None:
        """An event at the service, once for each set of addresses that it does not get."""
        for key, refusals in self._table.refused.items():
            service = self._table.services.get(key)
            if service is not None and self._told.get(key) != refusals:
                for address, why in refusals.items():
                    self._recorder.event(service, "Warning", "AddressNotAllowed", f"{address} does not lead to this service: {why}")
        self._told = dict(self._table.refused)

    async def answer_health_checks(self) -> None:
        """For load balancers: healthCheckNodePort answers 200 while the node has ready endpoints of the service, else 503."""
        sites: dict[int, web.TCPSite] = {}
        runner = web.AppRunner(self._health_application(), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            while True:
                await asyncio.sleep(1.0)
                wanted = set(self._table.health_checks()) if self.synced.is_set() else set()
                for port in sites.keys() - wanted:
                    await sites.pop(port).stop()
                for port in wanted - sites.keys():
                    site = web.TCPSite(runner, "0.0.0.0", port, reuse_address=True)
                    try:
                        await site.start()
                        sites[port] = site
                    except OSError as error:
                        log.warning("a health check node port cannot be opened", extra=fields(port=port, error=str(error)))
        finally:
            await runner.cleanup()

    def _health_application(self) -> web.Application:
        async def answer(request: web.Request) -> web.Response:
            name = request.transport.get_extra_info("sockname") if request.transport is not None else None
            found = self._table.health_checks().get(name[1]) if name else None
            if found is None:
                return web.Response(status=503)
            service, ready = found
            namespace, _, own = service.partition("/")
            healthy = not self.faults
            said = {"service": {"namespace": namespace, "name": own}, "localEndpoints": ready, "serviceProxyHealthy": healthy}
            headers = {"X-Content-Type-Options": "nosniff", "X-Load-Balancing-Endpoint-Weight": str(ready)}
            return web.json_response(said, status=200 if ready and healthy else 503, headers=headers)

        app = web.Application()
        app.router.add_get("/{any:.*}", answer)
        return app


def _address(text: str) -> Address | None:
    """`HOST:PORT`. Raises ValueError."""
    if not text:
        return None
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]") or "0.0.0.0", int(port), tls=False)


def _metrics(proxy: Syncing, userspace: Userspace) -> list[Any]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    def one(family: type, name: str, about: str, value: float) -> Any:
        made = family(name, about)
        made.add_metric([], float(value))
        return made

    counters, dials = userspace.counters, userspace.counters.dials
    return [
        one(CounterMetricFamily, "kubeproxy_sync_proxy_rules", "How often the rules were made.", proxy.syncs),
        one(GaugeMetricFamily, "kubeproxy_rules", "Addresses and ports that are answered for.", proxy.rules),
        one(GaugeMetricFamily, "kubeproxy_rules_failed", "Rules that could not be made.", len(proxy.faults)),
        one(GaugeMetricFamily, "kubeproxy_listeners", "Listeners of the user-space proxy.", userspace.listening),
        one(GaugeMetricFamily, "kubeproxy_connections_open", "Connections that it carries.", counters.open),
        one(CounterMetricFamily, "kubeproxy_connections", "Connections that it has taken.", counters.connections),
        one(CounterMetricFamily, "kubeproxy_connections_refused", "Connections for which no endpoint answered.", counters.refused),
        one(CounterMetricFamily, "kubeproxy_connections_over_limit", "Connections that were reset because there were too many.", counters.over_limit),
        one(GaugeMetricFamily, "kubeproxy_dials_under_way", "Endpoints that are being connected to.", dials.under_way),
        one(CounterMetricFamily, "kubeproxy_dials_failed", "Endpoints that did not answer.", dials.failed),
        one(CounterMetricFamily, "kubeproxy_dials_hedged", "Second dials beside one that was slow.", dials.hedges),
        one(CounterMetricFamily, "kubeproxy_dials_hedges_withheld", "Times that the budget had none; it is asked again.", dials.withheld),
    ]


if __name__ == "__main__":
    sys.exit(main())
