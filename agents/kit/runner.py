"""The frame that the programs of all agents share: flags, logs, client, health pages, leader election, clean stop.

    def main() -> int:
        agent = Agent("kube-scheduler", "Binds pods to nodes.", port=10259, lease="kube-scheduler")
        agent.flags.text("--config", "", "...")
        return agent.main(serve)

    async def serve(running: Running) -> None: ...     # until cancelled; only while this instance leads

SIGTERM and SIGINT stop it as it started, backwards: the work ends, the lease is given back, waiting events are written, and the process answers 0.
A lost lease ends the process with 1, at once.
"""

import argparse
import asyncio
import logging
import os
import random
import socket
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from agents.kit import flags as flag
from agents.kit.controller import Context
from agents.kit.events import Broadcaster
from agents.kit.informer import Informers
from agents.kit.leader import Elector, LostLeadership, Terms
from agents.kit.serving import Address, Pages, serving
from apiserver.client import kubeconfig
from apiserver.client.errors import BadConfiguration
from apiserver.client.rest import Client
from keelson.cogs import logs
from keelson.cogs.logs import fields
from keelson.cogs.shutdown import stop_on_signals
from keelson.cogs.tasks import Tasks

log = logging.getLogger(__name__)

DRAIN_S = 2.0
"""For events and lease at a clean stop."""


class Running:
    """What a program's work is handed."""

    def __init__(self, arguments: argparse.Namespace, client: Client, broadcaster: Broadcaster, pages: Pages, resync_s: float) -> None:
        self.arguments, self.client, self.broadcaster, self.pages = arguments, client, broadcaster, pages
        self.informers = Informers(client, resync_s)
        self.context = Context(client, self.informers, broadcaster.recorder, time.time, random.Random())


class Agent:
    """`lease` names the Lease of its election; empty for agents of which every one works (kubelet, proxy). `port` is upstream's secure port."""

    def __init__(self, name: str, about: str, *, port: int = 0, lease: str = "", tls: bool = True, port_flag: str = "--secure-port") -> None:
        self.name, self._lease, self._tls, self._port_flag = name, lease, tls, port_flag
        self.flags = flag.Flags(name, about)
        self.pages = Pages()
        flags = self.flags
        flags.text("--kubeconfig", "", "where the API server is, and who we are; without it the service account of the pod we are in")
        flags.text("--bind-address", "127.0.0.1", "address of the health and metrics pages")
        flags.number(port_flag, port, "port of the health and metrics pages; 0: none")
        if tls:
            flags.text("--tls-cert-file", "", "certificate of these pages; without it one that signs itself")
            flags.text("--tls-private-key-file", "", "its key")
        flags.text("--log-level", "info", "debug, info, warn, error")
        flags.number("-v", 0, "4 and more is --log-level=debug")
        flags.duration("--min-resync-period", 0.0, "how often every object is looked at although nothing changed; 0: never")
        if lease:
            flags.switch("--leader-elect", True, "work only while holding the lease")
            flags.duration("--leader-elect-lease-duration", 15.0, "how long others wait for a leader that is silent")
            flags.duration("--leader-elect-renew-deadline", 10.0, "how long the leader tries to renew before it stops")
            flags.duration("--leader-elect-retry-period", 2.0, "pause between looks at the lease")
            flags.text("--leader-elect-resource-lock", "leases", "only leases there are")
            flags.text("--leader-elect-resource-name", lease, "name of the Lease")
            flags.text("--leader-elect-resource-namespace", "kube-system", "namespace of the Lease")

    def main(self, work: Callable[[Running], Awaitable[None]], argv: Sequence[str] | None = None) -> int:
        """From the command line to the exit code."""
        arguments = self.flags.parse_args(argv)
        try:
            terms = self.terms(arguments)
            logs.configure("debug" if arguments.v >= 4 else arguments.log_level)
            access = kubeconfig.load(arguments.kubeconfig) if arguments.kubeconfig else kubeconfig.in_cluster()
        except (BadConfiguration, ValueError) as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 2
        try:
            return asyncio.run(self._run(arguments, terms, Client(access, user_agent=self.name), work))
        except OSError as error:
            log.error("cannot serve", extra=fields(error=str(error)))
            return 1

    def terms(self, arguments: argparse.Namespace) -> Terms:
        """Raises ValueError."""
        if not self._lease:
            return Terms(enabled=False)
        if arguments.leader_elect_resource_lock != "leases":
            raise ValueError(f"--leader-elect-resource-lock: {arguments.leader_elect_resource_lock!r} is not supported: leases is")
        terms = Terms(
            arguments.leader_elect,
            arguments.leader_elect_resource_namespace,
            arguments.leader_elect_resource_name,
            arguments.leader_elect_lease_duration,
            arguments.leader_elect_renew_deadline,
            arguments.leader_elect_retry_period,
        )
        if terms.enabled and (faults := terms.faults()):
            raise ValueError("; ".join(faults))
        return terms

    async def _run(self, arguments: argparse.Namespace, terms: Terms, client: Client, work: Callable[[Running], Awaitable[None]]) -> int:
        host = socket.gethostname()
        broadcaster = Broadcaster(client, host)
        identity = f"{host}_{uuid.uuid4()}"
        elector = Elector(
            client, terms, identity, recorder=broadcaster.recorder(self.name), now_s=time.time, monotonic_s=time.monotonic, chance=random.Random()
        )
        running = Running(arguments, client, broadcaster, self.pages, arguments.min_resync_period)
        self.pages.metrics.append(lambda: _own_metrics(running, elector if terms.enabled else None, terms.name))
        with stop_on_signals() as asked:
            async with client, serving(self.pages, self._address(arguments)):
                log.info("started", extra=fields(program=self.name, pid=os.getpid(), servers=",".join(client.access.servers)))
                code = await self._until_stopped(running, elector if terms.enabled else None, asked, work)
                await _briefly(elector.release())
                await _briefly(broadcaster.drain())
        log.info("stopped", extra=fields(program=self.name))
        return code

    async def _until_stopped(
        self, running: Running, elector: Elector | None, asked: asyncio.Event, work: Callable[[Running], Awaitable[None]]
    ) -> int:
        lost = asyncio.Event()

        async def lead() -> None:
            if elector is not None:
                await elector.acquire()
                tasks.start("lease", hold(elector))
            async with Tasks("informers") as informing:
                running.informers.start(informing)
                await work(running)

        async def hold(elector: Elector) -> None:
            try:
                await elector.hold()
            except LostLeadership as error:
                log.error("leaderelection lost", extra=fields(error=str(error)))
                lost.set()
                asked.set()

        async with Tasks(self.name) as tasks:
            tasks.serve("events", running.broadcaster.run())
            tasks.serve("work", lead())
            await asked.wait()
            tasks.cancel()
        return 1 if lost.is_set() else 0

    def _address(self, arguments: argparse.Namespace) -> Address:
        port = int(flag.of(arguments, self._port_flag))
        if not self._tls:
            return Address(arguments.bind_address, port, tls=False)
        return Address(arguments.bind_address, port, True, arguments.tls_cert_file, arguments.tls_private_key_file)


async def _briefly(work: Awaitable[None]) -> None:
    """At the end nothing is waited for long: the process shall stop."""
    try:
        async with asyncio.timeout(DRAIN_S):
            await work
    except TimeoutError:
        log.warning("left undone at the stop: the server did not answer in time")


def _own_metrics(running: Running, elector: Elector | None, lease: str) -> Iterable[Any]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    if elector is not None:
        master = GaugeMetricFamily("leader_election_master_status", "Whether this instance leads.", labels=["name"])
        master.add_metric([lease], float(elector.leading))
        yield master
    objects = GaugeMetricFamily("informer_objects", "Objects in the caches.", labels=["resource"])
    lists = CounterMetricFamily("informer_lists", "How often everything was read anew.", labels=["resource"])
    for informer in running.informers:
        objects.add_metric([informer.resource.qualified], float(len(informer.cache)))
        lists.add_metric([informer.resource.qualified], float(informer.lists))
    yield objects
    yield lists
    dropped = CounterMetricFamily("events_dropped", "Events that could not be written.")
    dropped.add_metric([], float(running.broadcaster.dropped))
    yield dropped
