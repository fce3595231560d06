"""What the kernel says of links of pods that are on their way out."""

import asyncio
import errno
from collections.abc import Awaitable

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from agents.kubelet.runtime.base import RuntimeRefused
from agents.kubelet.runtime.network import PodNetwork


class Netlink:
    def __init__(self, code: int = 0) -> None:
        self._code = code
        self.ports: list[dict[str, object]] = []

    def link_lookup(self, ifname: str) -> list[int]:
        return [7]

    def link(self, verb: str, **_: object) -> None:
        if self._code:
            raise NetlinkError(self._code)

    def brport(self, verb: str, **said: object) -> None:
        self.ports.append(said)


def network(code: int = 0) -> PodNetwork:
    made = PodNetwork("10.0.0.0/24", "10.0.0.1")
    made._netlink = Netlink(code)
    return made


def test_a_pods_port_lets_through_what_the_pod_sends_to_itself() -> None:
    made = network()
    run(made.attach("s1", 1))
    assert made._netlink.ports == [{"index": 7, "mode": 1}]


def run(work: Awaitable[None]) -> None:
    async def whole() -> None:
        await work

    asyncio.run(whole())


def test_a_link_that_went_with_its_pod_is_removed() -> None:
    run(network(errno.ENODEV).detach("s1"))


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EPERM])
def test_what_the_kernel_refuses_is_the_runtimes_refusal(code: int) -> None:
    with pytest.raises(RuntimeRefused, match="pod network"):
        run(network(code).detach("s1"))
    with pytest.raises(RuntimeRefused, match="pod network"):
        run(network(code).attach("s1", 1))
