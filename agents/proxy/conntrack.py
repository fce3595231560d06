"""What the kernel remembers of datagrams: a client that keeps its port goes on to the endpoint it had, however long that is gone, unless it is made
to forget (pkg/proxy/conntrack). Connections need no such thing: they end."""

import errno
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from agents.proxy.rules import Listener, Rule, Target

UDP = 17

Led = Mapping[Target, Collection[Target]]
"""Where datagrams to an address and port may go."""


class Flow(Struct, frozen=True):
    """`asked`: what the client wrote to; `answering`: who answers it, which is the same if nothing was translated."""

    source: Target
    asked: Target
    answering: Target


def led(wanted: Mapping[Listener, Rule], node_addresses: Iterable[str]) -> dict[Target, frozenset[Target]]:
    found = {}
    for listener, rule in wanted.items():
        if listener.protocol == "UDP" and ":" not in listener.address:
            for address in [listener.address] if listener.address else node_addresses:
                found[Target(address, listener.port)] = frozenset((*rule.targets, *rule.inside))
    return found


def stale(flows: Iterable[Flow], before: Led, after: Led) -> list[Flow]:
    """Those to addresses that changed, and that lead where they may not any more."""
    return [flow for flow in flows if before.get(flow.asked) != after.get(flow.asked) and flow.answering not in after.get(flow.asked, ())]


def forget(before: Led, after: Led) -> None:
    """Blocks. Raises OSError."""
    import socket

    from pyroute2 import NFCTSocket
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

    try:
        with NFCTSocket() as table:
            known = {}
            for entry in table.dump(tuple_orig=NFCTAttrTuple(proto=UDP)):
                asked, answer = (NFCTAttrTuple.from_netlink(socket.AF_INET, entry.get_attr(name)) for name in ("CTA_TUPLE_ORIG", "CTA_TUPLE_REPLY"))
                flow = Flow(Target(asked.saddr, asked.sport), Target(asked.daddr, asked.dport), Target(answer.saddr, answer.sport))
                known[flow] = asked
            for flow in stale(known, before, after):
                try:
                    table.entry("del", tuple_orig=known[flow])
                except NetlinkError as error:
                    if error.code != errno.ENOENT:  # it has been forgotten meanwhile
                        raise
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from None
