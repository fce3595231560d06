"""From services, slices of endpoints and pods to answers: the schema of kubernetes/dns, docs/specification.md, version 1.1.0.

    SERVICE.NAMESPACE.svc.DOMAIN               A or AAAA of the cluster address, or of every ready endpoint of a headless service
    HOST.SERVICE.NAMESPACE.svc.DOMAIN          of an endpoint with a host name
    _PORT._PROTOCOL.SERVICE.NAMESPACE.svc...   SRV
    1-2-3-4.NAMESPACE.pod.DOMAIN               A of that address, for pods there are
    4.3.2.1.in-addr.arpa                       PTR

A name that exists without records of the type asked is "no data"; one that does not exist is NXDOMAIN: resolvers go on with their next search domain
only after the latter.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from apiserver.machinery.objects import Object, labels_of, name_of, namespace_of

TTL_S = 5
"""As CoreDNS' kubernetes plugin: short, because endpoints move."""
VERSION = "1.1.0"
PRIORITY, WEIGHT = 0, 100
SERVICE_NAME = "kubernetes.io/service-name"


class Records(Struct, frozen=True):
    """What a name has: texts of records by type. `exists` with nothing of the type asked is "no data"."""

    exists: bool
    values: tuple[str, ...] = ()
    extra: tuple[tuple[str, str, str], ...] = ()
    """Further records worth sending along: name, type, text."""


NOTHING = Records(False)


class Source(Struct, frozen=True):
    """Where objects come from: an informer's caches, or a test's lists."""

    service: Callable[[str, str], Object | None]
    """By namespace and name."""
    slices: Callable[[str, str], Iterable[Object]]
    """Of a service, by namespace and name."""
    namespace_exists: Callable[[str], bool]
    pod_at: Callable[[str, str], bool]
    """Whether a pod of that namespace has that address."""
    services_at: Callable[[str], Iterable[Object]]
    """By cluster address."""
    slices_at: Callable[[str], Iterable[Object]]
    """Slices that have an endpoint at that address."""


class Endpoint(Struct, frozen=True):
    address: str
    host: str


class Zone:
    """`domain` without dots at its ends: cluster.local."""

    def __init__(self, source: Source, domain: str = "cluster.local") -> None:
        self.source = source
        self.domain = domain.strip(".").lower()

    def answers_for(self, name: str) -> bool:
        """Whether we are the ones to ask; names without a trailing dot, in lower case."""
        return name == self.domain or name.endswith("." + self.domain)

    def look_up(self, name: str, kind: str) -> Records:
        """`name` must be one that `answers_for`; `kind` is A, AAAA, SRV, CNAME, TXT or any other."""
        labels = name.removesuffix(self.domain).rstrip(".").split(".") if name != self.domain else []
        match labels:
            case []:
                return Records(True)
            case ["dns-version"]:
                return Records(True, (f'"{VERSION}"',) if kind == "TXT" else ())
            case [*_, "svc"]:
                return self._service(labels[:-1], kind)
            case [*_, "pod"]:
                return self._pod(labels[:-1], kind)
        return NOTHING

    # --- services -----------------------------------------------------------------------------------------------------

    def _service(self, labels: list[str], kind: str) -> Records:
        if not labels:
            return Records(True)
        namespace = labels[-1]
        if len(labels) == 1:
            return Records(self.source.namespace_exists(namespace))
        service = self.source.service(namespace, labels[-2])
        if service is None:
            return NOTHING
        below = labels[:-2]
        if service["spec"].get("type") == "ExternalName":
            target = str(service["spec"].get("externalName", "")).rstrip(".") + "."
            return Records(True, (target,)) if not below else NOTHING
        match below:
            case []:
                return Records(True, tuple(_of_kind(self._addresses(service), kind)) or self._any_port(service, kind))
            case [port, protocol] if port.startswith("_") and protocol in ("_tcp", "_udp", "_sctp"):
                return self._port(service, port[1:], protocol[1:].upper(), kind)
            case [protocol] if protocol in ("_tcp", "_udp", "_sctp"):
                return Records(any(str(each.get("protocol", "TCP")) == protocol[1:].upper() for each in service["spec"].get("ports") or ()))
            case [host]:
                found = [each.address for each in self._endpoints(service) if each.host == host] if _is_headless(service) else []
                return Records(bool(found), tuple(_of_kind(found, kind)))
        return NOTHING

    def _addresses(self, service: Object) -> list[str]:
        if _is_headless(service):
            return list(dict.fromkeys(each.address for each in self._endpoints(service)))
        spec = service["spec"]
        return [each for each in spec.get("clusterIPs") or [spec.get("clusterIP")] if each]

    def _any_port(self, service: Object, kind: str) -> tuple[str, ...]:
        """SRV of a service's own name: all of its named ports, as CoreDNS answers."""
        if kind != "SRV":
            return ()
        return tuple(text for port in service["spec"].get("ports") or () for text in self._targets(service, port))

    def _port(self, service: Object, name: str, protocol: str, kind: str) -> Records:
        ports = [
            each
            for each in service["spec"].get("ports") or ()
            if str(each.get("name", "")).lower() == name and each.get("protocol", "TCP") == protocol
        ]
        if not ports:
            return NOTHING
        if kind != "SRV":
            return Records(True)
        texts = tuple(text for port in ports for text in self._targets(service, port))
        extra = tuple(
            (text.rsplit(" ", 1)[1], _kind_of(address), address) for text, address in zip(texts, self._target_addresses(service), strict=False)
        )
        return Records(bool(texts), texts, extra)

    def _targets(self, service: Object, port: Object) -> Iterator[str]:
        own = f"{name_of(service)}.{namespace_of(service)}.svc.{self.domain}."
        if not _is_headless(service):
            yield f"{PRIORITY} {WEIGHT} {port['port']} {own}"
            return
        endpoints = self._endpoints(service)
        share = max(WEIGHT // max(len(endpoints), 1), 1)
        numbers = {
            each.get("port")
            for part in self.source.slices(namespace_of(service), name_of(service))
            for each in part.get("ports") or ()
            if (each.get("name") or "") == (port.get("name") or "")
        }
        for number in sorted(each for each in numbers if each):
            for endpoint in endpoints:
                yield f"{PRIORITY} {share} {number} {endpoint.host}.{own}"

    def _target_addresses(self, service: Object) -> list[str]:
        return [each.address for each in self._endpoints(service)] if _is_headless(service) else self._addresses(service)[:1]

    def _endpoints(self, service: Object) -> list[Endpoint]:
        """The ready ones (all, if the service publishes those that are not), each with its host name, or one made of its address."""
        everybody = bool(service["spec"].get("publishNotReadyAddresses"))
        found: dict[str, Endpoint] = {}
        for part in self.source.slices(namespace_of(service), name_of(service)):
            for endpoint in part.get("endpoints") or ():
                ready = (endpoint.get("conditions") or {}).get("ready")
                if ready is False and not everybody:
                    continue
                for address in endpoint.get("addresses") or ():
                    found[address] = Endpoint(address, str(endpoint.get("hostname") or "").lower() or _dashed(address))
        return [found[address] for address in sorted(found)]

    # --- pods and addresses -------------------------------------------------------------------------------------------

    def _pod(self, labels: list[str], kind: str) -> Records:
        match labels:
            case []:
                return Records(True)
            case [namespace]:
                return Records(self.source.namespace_exists(namespace))
            case [dashed, namespace]:
                address = _undashed(dashed)
                if address and self.source.pod_at(namespace, address):
                    return Records(True, tuple(_of_kind([address], kind)))
        return NOTHING

    def reverse(self, address: str) -> tuple[str, ...]:
        """Names of an address (PTR); empty if it is none of ours."""
        names = [f"{name_of(service)}.{namespace_of(service)}.svc.{self.domain}." for service in self.source.services_at(address)]
        for part in self.source.slices_at(address):
            service_name = labels_of(part).get(SERVICE_NAME)
            for endpoint in part.get("endpoints") or ():
                if service_name and address in (endpoint.get("addresses") or ()):
                    host = str(endpoint.get("hostname") or "") or _dashed(address)
                    names.append(f"{host}.{service_name}.{namespace_of(part)}.svc.{self.domain}.")
        return tuple(dict.fromkeys(names))


def is_alias(records: Records) -> bool:
    """Whether the values name another name: ExternalName services."""
    return bool(records.values) and records.values[0].endswith(".") and " " not in records.values[0]


def _is_headless(service: Object) -> bool:
    return service["spec"].get("clusterIP") in (None, "", "None")


def _of_kind(addresses: Iterable[str], kind: str) -> Iterator[str]:
    return (address for address in addresses if _kind_of(address) == kind)


def _kind_of(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def _dashed(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


def _undashed(text: str) -> str:
    for separator in (".", ":"):
        try:
            return str(ipaddress.ip_address(text.replace("-", separator)))
        except ValueError:
            continue
    return ""
