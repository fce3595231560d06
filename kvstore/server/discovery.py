"""The members of a new cluster out of DNS: SRV records of `_etcd-server-ssl._tcp.DOMAIN` and `_etcd-server._tcp.DOMAIN` (etcd's pkg/srv).

A record is this member's own if its target resolves to an address of one of the advertised peer URLs; the others get numbers for names until they
publish their own. Only a member without data asks.
"""

import logging
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from keelson.cogs.logs import fields
from kvstore.client.discovery import Lookup, LookupFailed, look_up
from kvstore.server.bootstrap import ConfigurationError

log = logging.getLogger("kvstore.server")

SERVICE = "etcd-server"

Resolve = Callable[[str, int], str]
"""Address of a host name, in a form that can be compared. Raises OSError."""


def resolve_address(host: str, port: int) -> str:
    """By the system's resolver, IPv4 first as Go does it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0]  # type: ignore[return-value]


def cluster_from_dns(
    domain: str, service_name: str, name: str, peer_urls: Sequence[str], lookup: Lookup = look_up, resolve: Resolve = resolve_address
) -> dict[str, list[str]]:
    """What --initial-cluster would have said. Raises ConfigurationError: no records, or none of them is ours."""
    own: dict[tuple[str, int], str] = {}
    for url in peer_urls:
        parts = urlsplit(url)
        try:
            own[resolve(parts.hostname or "", parts.port or 0), parts.port or 0] = parts.scheme
        except OSError as error:
            raise ConfigurationError(f"cannot resolve {url} of --initial-advertise-peer-urls: {error}") from error
    cluster: dict[str, list[str]] = {}
    errors: list[str] = []
    number = 0
    for service, scheme in ((f"{SERVICE}-ssl", "https"), (SERVICE, "http")):
        record = f"_{service}{service_name and '-' + service_name}._tcp.{domain}"
        try:
            targets = lookup(record)
        except LookupFailed as error:
            errors.append(f"error querying DNS SRV records for {record}: {error}")
            continue
        for target, port in targets:
            host = target.rstrip(".")
            try:
                address = resolve(host, port)
            except OSError as error:
                errors.append(f"cannot resolve {host}: {error}")
                continue
            ours = own.get((address, port))
            if ours is not None and ours != scheme:
                errors.append(f"bootstrap {scheme}://{host}:{port} from DNS for {record} has scheme mismatch with expected peer {ours}")
                continue
            if ours is None:
                known, number = str(number), number + 1
            else:
                known = name
            cluster.setdefault(known, []).append(f"{scheme}://{_bracketed(host)}:{port}")
    for problem in errors:
        log.warning("failed to resolve during SRV discovery", extra=fields(error=problem))
    if not cluster:
        raise ConfigurationError("no members found by DNS: " + "; ".join(errors))
    if name not in cluster:
        raise ConfigurationError(
            f'cannot find local etcd member "{name}" in SRV records: none of them leads to an address of --initial-advertise-peer-urls'
        )
    for known, urls in cluster.items():
        log.info("got bootstrap from DNS for etcd-server", extra=fields(node=f"{known}={','.join(urls)}"))
    return cluster


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
