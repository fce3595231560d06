"""`python -m agents.controllers.main`: the controller manager, all controllers in one process, one process active (kube-controller-manager)."""

import gc
import logging
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from agents.controllers import registry
from agents.controllers.registry import Runs
from agents.kit.controller import Controller
from agents.kit.runner import Agent, Running
from keelson.cogs.logs import fields
from keelson.cogs.tasks import Tasks

log = logging.getLogger(__name__)

PORT = 10257


def agent() -> Agent:
    made = Agent("kube-controller-manager", "Makes the cluster what its objects say.", port=PORT, lease="kube-controller-manager")
    flags = made.flags
    flags.list("--controllers", ["*"], "which controllers run: * all, foo this one, -foo not this one")
    flags.text("--root-ca-file", "", "certificates that pods are given to know the API server by (kube-root-ca.crt, service accounts)")
    flags.text("--service-account-private-key-file", "", "key that signs the tokens kept in Secrets of type kubernetes.io/service-account-token")
    flags.text("--cluster-signing-cert-file", "", "authority that signs CertificateSigningRequests")
    flags.text("--cluster-signing-key-file", "", "its key")
    flags.duration("--cluster-signing-duration", 365 * 24 * 3600.0, "how long signed certificates are good for at most")
    for entry in registry.TABLE.values():
        if entry.flags is not None:
            entry.flags(flags)
        if entry.syncs_flag:
            flags.number(entry.syncs_flag, entry.syncs, "how many of these are reconciled at once")
    return made


def queue_metrics(controllers: Sequence[Runs]) -> Iterable[Any]:
    """How many keys wait, were added and were tried again, by controller: a queue that grows, or retries without end, is the first sign of
    trouble."""
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    depth = GaugeMetricFamily("workqueue_depth", "Keys that wait.", labels=["name"])
    adds = CounterMetricFamily("workqueue_adds", "Keys added.", labels=["name"])
    retries = CounterMetricFamily("workqueue_retries", "Keys tried again.", labels=["name"])
    for controller in controllers:
        if isinstance(controller, Controller):
            depth.add_metric([controller.name], float(len(controller.queue)))
            adds.add_metric([controller.name], float(controller.queue.adds))
            retries.add_metric([controller.name], float(controller.queue.retries))
    return (depth, adds, retries)


async def serve(running: Running) -> None:
    made = {name: registry.TABLE[name].make(running.context, running.arguments) for name in registry.chosen(running.arguments.controllers)}
    controllers = [controller for controller in made.values() if controller is not None]
    left_out = [name for name, controller in made.items() if controller is None]
    names = ",".join(controller.name for controller in controllers)
    running.pages.metrics.append(lambda: queue_metrics(controllers))
    log.info("controllers start", extra=fields(controllers=names, without_their_flags=",".join(left_out)))
    async with Tasks("controllers") as tasks:
        for controller in controllers:
            tasks.serve(controller.name, controller.run())


def main(argv: Sequence[str] | None = None) -> int:
    made = agent()
    try:
        registry.chosen(made.flags.parse_args(argv).controllers)
    except ValueError as error:
        print(f"kube-controller-manager: {error}", file=sys.stderr)
        return 2
    # The caches hold many objects that live long: looking through them for cycles again and again costs more than it finds.
    gc.set_threshold(50_000, 50, 100)
    return made.main(serve, argv)


if __name__ == "__main__":
    sys.exit(main())
