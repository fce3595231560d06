"""Endpoints from DNS: SRV records of `_etcd-client-ssl._tcp.DOMAIN` and `_etcd-client._tcp.DOMAIN` (etcd's pkg/srv)."""

from collections.abc import Callable

SERVICE = "etcd-client"

Lookup = Callable[[str], list[tuple[str, int]]]
"""Targets and ports of a name's SRV records in the order to use. Raises LookupFailed."""


class LookupFailed(Exception):
    """No such name, no answer, or no record."""


def discover(domain: str, name: str = "", lookup: Lookup | None = None) -> list[str]:
    """URLs, those with TLS first. `name`: the service's suffix, for clusters that share a domain. Raises LookupFailed if there are none."""
    found: list[str] = []
    errors: list[str] = []
    for service, scheme in ((f"{SERVICE}-ssl", "https"), (SERVICE, "http")):
        record = f"_{service}{name and '-' + name}._tcp.{domain}"
        try:
            found += [f"{scheme}://{target.rstrip('.')}:{port}" for target, port in (lookup or look_up)(record)]
        except LookupFailed as error:
            errors.append(f"lookup {record}: {error}")
    if not found:
        raise LookupFailed("dns lookup errors: " + " and ".join(errors))
    return found


def look_up(record: str) -> list[tuple[str, int]]:
    """Asks the system's name servers."""
    import dns.exception
    import dns.resolver

    try:
        answers = dns.resolver.resolve(record, "SRV", search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        raise LookupFailed("no such host") from None
    except dns.exception.DNSException as error:
        raise LookupFailed(str(error)) from None
    return [(str(answer.target), int(answer.port)) for answer in sorted(answers, key=lambda answer: (answer.priority, -answer.weight))]
