"""The service addresses that this machine answers to: on an interface of their own, so that whoever takes over knows which are ours.

A dummy interface where the kernel has such; else a bridge without ports, which does the same: it is up, and nothing ever goes out of it.
"""

import asyncio
import errno
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

NAME = "keelson-svc"
"""At most 15 characters, says the kernel."""
KINDS = ("dummy", "bridge")


class Link:
    """Implements `userspace.Addresses` over netlink. Every call may raise OSError (EPERM: not root)."""

    def __init__(self, name: str = NAME) -> None:
        self._name = name
        self._have: set[str] | None = None
        """None: not looked yet; another process may have left some."""
        # pyroute2's synchronous calls run an event loop of their own, which the thread of ours cannot have.
        self._thread = ThreadPoolExecutor(1, "netlink")

    async def keep(self, wanted: set[str]) -> None:
        if wanted != self._have:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._keep, set(wanted))

    async def remove(self) -> None:
        """The interface, with all that is on it."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._remove)
        self._thread.shutdown(wait=False)

    # --- in the thread ----------------------------------------------------------------------------------------------------

    def _keep(self, wanted: set[str]) -> None:
        from pyroute2 import IPRoute

        with _netlink(), IPRoute() as route:
            index = self._index(route)
            have = {message.get_attr("IFA_ADDRESS") for message in route.get_addr(index=index)} if self._have is None else self._have
            have = {each for each in have if not ip_address(each).is_link_local}
            self._have = None  # until it is done nobody knows
            for address in have - wanted:
                _tolerating(errno.EADDRNOTAVAIL, route.addr, "del", index=index, address=address, prefixlen=_bits(address))
            for address in wanted - have:
                _tolerating(errno.EEXIST, route.addr, "add", index=index, address=address, prefixlen=_bits(address))
            self._have = wanted

    def _index(self, route: Any) -> int:
        from pyroute2 import NetlinkError

        found = route.link_lookup(ifname=self._name)
        if not found:
            try:
                _tolerating(errno.EEXIST, route.link, "add", ifname=self._name, kind=KINDS[0])
            except NetlinkError as error:
                if error.code != errno.EOPNOTSUPP:
                    raise
                _tolerating(errno.EEXIST, route.link, "add", ifname=self._name, kind=KINDS[1])
            found = route.link_lookup(ifname=self._name)
            route.link("set", index=found[0], state="up")
        return int(found[0])

    def _remove(self) -> None:
        from pyroute2 import IPRoute

        with _netlink(), IPRoute() as route:
            for index in route.link_lookup(ifname=self._name):
                route.link("del", index=index)
        self._have = None


@contextmanager
def _netlink() -> Iterator[None]:
    """Netlink's errors as OSError."""
    from pyroute2 import NetlinkError

    try:
        yield
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from None


def _tolerating(code: int, call: Any, *words: Any, **values: Any) -> None:
    from pyroute2 import NetlinkError

    try:
        call(*words, **values)
    except NetlinkError as error:
        if error.code != code:
            raise


def _bits(address: str) -> int:
    return ip_address(address).max_prefixlen
