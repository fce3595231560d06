"""The proxy in the kernel: the rules as nftables, in one table of their own, changed by one transaction of `nft` at a time (pkg/proxy/nftables).

`ruleset` says what shall be there, `difference` how to come there from what is; both are pure. Per listener there is a chain that chooses, per
endpoint of a listener a chain that translates the address; maps lead from address, protocol and port to the chain. What the first transaction finds
of a proxy before it is thrown away in the same transaction, so that nothing is ever half there; but for the clients that have an endpoint of theirs.

IPv4 alone. Connections that stand live on in the kernel's table of connections; flows of datagrams to endpoints that are gone do not.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from agents.proxy import conntrack, remembered
from agents.proxy.nft import nft
from agents.proxy.rules import Kind, Listener, Rule, Target
from keelson.cogs.logs import fields

log = logging.getLogger(__name__)

TABLE = "keelson-proxy"
MARK = "0x4000"
"""On packets whose answer must come back through this node."""
BRIDGE = "cni0"
"""Where the node's pods are: an answer between two of them would not pass the translation, so it is made to."""

BASE = f"""
add table ip {TABLE}
add map ip {TABLE} services {{ type ipv4_addr . inet_proto . inet_service : verdict ; }}
add map ip {TABLE} node-ports {{ type inet_proto . inet_service : verdict ; }}
add map ip {TABLE} silent-services {{ type ipv4_addr . inet_proto . inet_service : verdict ; }}
add map ip {TABLE} silent-node-ports {{ type inet_proto . inet_service : verdict ; }}
add set ip {TABLE} node-addresses {{ type ipv4_addr ; }}
add set ip {TABLE} cluster-ips {{ type ipv4_addr ; }}
add set ip {TABLE} cluster {{ type ipv4_addr ; flags interval ; auto-merge ; }}
add chain ip {TABLE} mark-for-masquerade
add rule ip {TABLE} mark-for-masquerade meta mark set meta mark or {MARK}
add chain ip {TABLE} refuse
add rule ip {TABLE} refuse meta l4proto tcp reject with tcp reset
add rule ip {TABLE} refuse reject
add chain ip {TABLE} dispatch
add rule ip {TABLE} dispatch ip daddr . meta l4proto . th dport vmap @services
add rule ip {TABLE} dispatch ip daddr @node-addresses meta l4proto . th dport vmap @node-ports
add chain ip {TABLE} check
add rule ip {TABLE} check ip daddr . meta l4proto . th dport vmap @silent-services
add rule ip {TABLE} check ip daddr @node-addresses meta l4proto . th dport vmap @silent-node-ports
add chain ip {TABLE} check-ports
add rule ip {TABLE} check-ports ip daddr @cluster-ips goto refuse
add chain ip {TABLE} nat-prerouting {{ type nat hook prerouting priority -100 ; }}
add rule ip {TABLE} nat-prerouting jump dispatch
add chain ip {TABLE} nat-output {{ type nat hook output priority -100 ; }}
add rule ip {TABLE} nat-output jump dispatch
add chain ip {TABLE} nat-postrouting {{ type nat hook postrouting priority 100 ; }}
add rule ip {TABLE} nat-postrouting meta mark and {MARK} == {MARK} masquerade
add rule ip {TABLE} nat-postrouting iifname {BRIDGE} oifname {BRIDGE} ct status dnat masquerade
add chain ip {TABLE} filter-input {{ type filter hook input priority -110 ; }}
add rule ip {TABLE} filter-input ct state new jump check
add chain ip {TABLE} filter-forward {{ type filter hook forward priority -110 ; }}
add rule ip {TABLE} filter-forward ct state new jump check
add rule ip {TABLE} filter-forward ct state new jump check-ports
add chain ip {TABLE} filter-output {{ type filter hook output priority -110 ; }}
add rule ip {TABLE} filter-output ct state new jump check
add chain ip {TABLE} filter-output-translated {{ type filter hook output priority -90 ; }}
add rule ip {TABLE} filter-output-translated ct state new jump check-ports
""".strip().splitlines()


MAPS = ("services", "node-ports", "silent-services", "silent-node-ports", "node-addresses", "cluster-ips", "cluster")
"""Those of BASE that have elements."""


class Ruleset(Struct, frozen=True):
    """What is there beyond BASE. Elements by set or map, then by key, with the verdict for maps and an empty text for sets."""

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)


def ruleset(wanted: Mapping[Listener, Rule], node_addresses: Iterable[str] = (), cluster: Iterable[str] = ()) -> Ruleset:
    """What the kernel shall do."""
    networks = [each for each in cluster if ":" not in each]
    made = Ruleset(elements={name: {} for name in MAPS})
    made.elements["node-addresses"].update({each: "" for each in node_addresses if ":" not in each})
    made.elements["cluster"].update(dict.fromkeys(networks, ""))
    for listener, rule in sorted(wanted.items()):
        if ":" in listener.address:
            continue
        protocol = listener.protocol.lower()
        if rule.kind is Kind.CLUSTER_IP:
            # What passes the translation unchanged is for a port that the service does not have.
            made.elements["cluster-ips"][listener.address] = ""
        key = f"{listener.address} . {protocol} . {listener.port}" if listener.address else f"{protocol} . {listener.port}"
        which = "services" if listener.address else "node-ports"
        if not rule.targets and not rule.inside:
            made.elements[f"silent-{which}"][key] = "drop" if rule.silent else "goto refuse"
            continue
        chain = f"service-{_hash(listener)}"
        made.chains[chain] = tuple(_choosing(made, listener, rule, networks))
        made.elements[which][key] = f"goto {chain}"
    return made


def difference(before: Ruleset | None, after: Ruleset) -> list[str]:
    """The transaction, a command a line; none if nothing changes. `before` None: unknown, everything is made anew."""
    lines: list[str] = []
    if before is None:
        lines += [f"add table ip {TABLE}", f"delete table ip {TABLE}", *BASE]
        before = Ruleset()
    for name, definition in after.sets.items():
        if before.sets.get(name) != definition:
            lines += [f"delete set ip {TABLE} {name}"] if name in before.sets else []
            lines.append(f"add set ip {TABLE} {name} {definition}")
    lines += [f"add chain ip {TABLE} {name}" for name in after.chains if name not in before.chains]
    for name, rules in after.chains.items():
        if before.chains.get(name) != rules:
            lines += [f"flush chain ip {TABLE} {name}"] if name in before.chains else []
            lines += [f"add rule ip {TABLE} {name} {rule}" for rule in rules]
    for name in sorted(before.elements.keys() | after.elements.keys()):
        had, wanted = before.elements.get(name, {}), after.elements.get(name, {})
        gone = [_element(key, value) for key, value in had.items() if wanted.get(key) != value]
        new = [_element(key, value) for key, value in wanted.items() if had.get(key) != value]
        lines += [f"delete element ip {TABLE} {name} {{ {', '.join(gone)} }}"] if gone else []
        lines += [f"add element ip {TABLE} {name} {{ {', '.join(new)} }}"] if new else []
    unused = [name for name in before.chains if name not in after.chains]
    lines += [f"flush chain ip {TABLE} {name}" for name in unused]
    lines += [f"delete chain ip {TABLE} {name}" for name in unused]
    lines += [f"delete set ip {TABLE} {name}" for name in before.sets if name not in after.sets]
    return lines


def _choosing(made: Ruleset, listener: Listener, rule: Rule, networks: list[str]) -> Iterable[str]:
    """The rules of a listener's chain."""
    if rule.sources:
        sources = [each for each in rule.sources if ":" not in each]
        # An empty set is no set to `nft`, which would refuse the rules of all services with it.
        yield f"ip saddr != {{ {', '.join(sources)} }} drop" if sources else "drop"
    if rule.kind is Kind.CLUSTER_IP:
        if networks:
            yield "ip saddr != @cluster jump mark-for-masquerade"
        yield from _among(made, listener, rule, rule.targets)
    elif rule.inside:
        # A policy of Local is about those who come from outside. Of the others this node's pods keep their address. The node may come by that of the
        # service; and who comes from another node may be led to an endpoint there, whose answer would not pass here again.
        inside = f"service-{_hash(listener)}-inside"
        masqueraded = [f"{who} jump mark-for-masquerade" for who in ("fib saddr type local", f"iifname != {BRIDGE}")]
        made.chains[inside] = (*masqueraded, *_among(made, listener, rule, rule.inside))
        yield f"ip saddr @cluster goto {inside}"
        yield f"fib saddr type local goto {inside}"
        yield from _among(made, listener, rule, rule.targets)
    else:
        if rule.kind is not Kind.HOST_PORT:  # the pod is here: its answer passes this node in any case, and it sees who asks
            yield "jump mark-for-masquerade"
        yield from _among(made, listener, rule, rule.targets)


def _among(made: Ruleset, listener: Listener, rule: Rule, targets: tuple[Target, ...]) -> Iterable[str]:
    chains = [_endpoint(made, listener, rule, target) for target in targets]
    if rule.affinity_s:
        yield from (f"ip saddr @{chain} goto {chain}" for chain in chains)
    if len(chains) == 1:
        yield f"goto {chains[0]}"
    elif chains:
        yield f"numgen random mod {len(chains)} vmap {{ {', '.join(f'{number} : goto {chain}' for number, chain in enumerate(chains))} }}"
    else:
        yield "drop"


def _endpoint(made: Ruleset, listener: Listener, rule: Rule, target: Target) -> str:
    """The chain that leads to one endpoint, and its set of clients if they keep theirs."""
    # With its time in the name: a set that is in use can be left, and not be changed.
    name = f"endpoint-{_hash(listener, target, rule.affinity_s)}"
    rules = [f"ip saddr {target.address} jump mark-for-masquerade"]
    if rule.affinity_s:
        made.sets[name] = f"{{ type ipv4_addr ; flags dynamic,timeout ; timeout {rule.affinity_s}s ; }}"
        rules.append(f"update @{name} {{ ip saddr }}")
    rules.append(f"meta l4proto {listener.protocol.lower()} dnat to {target.address}:{target.port}")
    made.chains[name] = tuple(rules)
    return name


def _element(key: str, value: str) -> str:
    return f"{key} : {value}" if value else key


def _hash(*parts: object) -> str:
    """Names of chains are short and plain; what they are for stands in the maps."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


class Nftables:
    """Carries it out."""

    def __init__(self, node_addresses: Iterable[str] = (), cluster: Iterable[str] = ()) -> None:
        self.node_addresses = tuple(node_addresses)
        self._cluster = tuple(cluster)
        self._there: Ruleset | None = None
        self._led: conntrack.Led = {}

    async def sync(self, wanted: Mapping[Listener, Rule]) -> list[str]:
        """Raises OSError if there is no `nft`, or it refuses."""
        after = ruleset(wanted, self.node_addresses, self._cluster)
        there, self._there = self._there, None
        try:
            if there is None:
                await _anew(after)
            elif lines := difference(there, after):
                await run("\n".join(lines) + "\n")
        except OSError:
            if there is None:
                raise
            # Somebody has been at our table, or (before Linux 6.2) the kernel still counts a chain as used whose last element has just gone.
            await _anew(after)
        self._there = after
        before, now = self._led, conntrack.led(wanted, self.node_addresses)
        if before != now:
            await asyncio.to_thread(conntrack.forget, before, now)
            self._led = now
        return []

    async def leave(self) -> None:
        """The kernel goes on without us."""

    async def close(self) -> None:
        """Nothing of ours is left."""
        self._there = None
        await run(f"add table ip {TABLE}\ndelete table ip {TABLE}\n")


async def _anew(after: Ruleset) -> None:
    """Everything, whatever there is; but clients that have an endpoint keep it. Raises OSError."""
    lines = difference(None, after)
    try:
        kept = await remembered.ask(TABLE)
        had = [f"add element ip {TABLE} {name} {{ {', '.join(clients)} }}" for name, clients in kept.items() if name in after.sets]
        await run("\n".join(lines + had) + "\n")
    except (OSError, ValueError) as error:
        log.warning("the clients' endpoints are not known any more", extra=fields(error=str(error)))
        await run("\n".join(lines) + "\n")


async def run(text: str) -> None:
    """One transaction. Raises OSError."""
    await nft("-f", "-", given=text.encode())
