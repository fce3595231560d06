"""`python -m agents.cloud.main`: the cloud controller manager with the provider `local`."""

import ipaddress
import sys
from collections.abc import Sequence

from agents.cloud.local import Local
from agents.cloud.nodes import Nodes
from agents.cloud.services import Services
from agents.cloud.ways import Ways
from agents.kit.runner import Agent, Running
from keelson.cogs.tasks import Tasks

PORT = 10258


def agent() -> Agent:
    made = Agent("cloud-controller-manager", "Gives addresses to services and zones to nodes.", port=PORT, lease="cloud-controller-manager")
    made.flags.text("--cloud-provider", "local", "whose infrastructure it is: local is the only one so far")
    made.flags.text("--load-balancer-range", "172.30.100.0/24", "addresses that services of type LoadBalancer get")
    made.flags.switch("--load-balancer-routes", False, "keep this machine's routes to load balancers whose service has externalTrafficPolicy Local")
    return made


def faults(provider: str, range_: str) -> str:
    """Empty, or what is wrong with the flags."""
    if provider != "local":
        return f"--cloud-provider: {provider!r} is not known: local is"
    try:
        ipaddress.ip_network(range_)
    except ValueError as error:
        return f"--load-balancer-range: {error}"
    return ""


async def serve(running: Running) -> None:
    ways = Ways()
    keeps = running.arguments.load_balancer_routes
    provider = Local(running.arguments.load_balancer_range, ways if keeps else None)
    controllers = (Nodes(running.context, provider), Services(running.context, provider))
    async with Tasks("cloud") as tasks:
        if keeps:
            tasks.serve("ways", ways.run())
        for controller in controllers:
            tasks.serve(controller.name, controller.run())


def main(argv: Sequence[str] | None = None) -> int:
    made = agent()
    given = made.flags.parse_args(argv)
    if wrong := faults(given.cloud_provider, given.load_balancer_range):
        print(f"cloud-controller-manager: {wrong}", file=sys.stderr)
        return 2
    return made.main(serve, argv)


if __name__ == "__main__":
    sys.exit(main())
