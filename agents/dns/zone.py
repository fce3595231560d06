"""The names of a cluster, and what is answered for each (github.com/kubernetes/dns, docs/specification.md, version 1.1.0). Pure.

    SERVICE.NAMESPACE.svc.ZONE                  A, AAAA: the cluster's address, or every ready endpoint of a headless service; CNAME: an external name
    _PORT._PROTOCOL.SERVICE.NAMESPACE.svc.ZONE  SRV
    HOST.SERVICE.NAMESPACE.svc.ZONE             A, AAAA of one endpoint of a headless service
    1-2-3-4.NAMESPACE.pod.ZONE                  A of any pod's address
    4.3.2.1.in-addr.arpa                        PTR
    dns-version.ZONE                            TXT

Names are lower case without a dot at the end. Records are text as in a zone file.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import IntEnum
from ipaddress import ip_address

from msgspec import Struct

from apiserver.machinery.objects import Object, labels_of, name_of, namespace_of

VERSION = "1.1.0"
TTL_S = 5
SERVICE_NAME = "kubernetes.io/service-name"

Records = Mapping[str, Mapping[str, tuple[str, ...]]]
"""By name, then by type."""


class Code(IntEnum):
    NOERROR = 0
    NXDOMAIN = 3


class Answer(Struct, frozen=True):
    """`records` are (name, type, text). Without records the authority section says so with the zone's SOA."""

    code: Code
    records: tuple[tuple[str, str, str], ...] = ()
    follow: str = ""
    """A name outside the zone that a CNAME leads to: whoever forwards may ask for it."""


def records_of(service: Object, slices: Iterable[Object], zone: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """What one service adds to the zone."""
    spec = service.get("spec") or {}
    base = f"{name_of(service)}.{namespace_of(service)}.svc.{zone}"
    found = _Made()
    if spec.get("type") == "ExternalName":
        if spec.get("externalName"):
            found.add(base, "CNAME", f"{spec['externalName'].rstrip('.')}.")
    elif spec.get("clusterIP") == "None":
        _headless(found, base, slices)
    elif spec.get("clusterIP"):
        for address in spec.get("clusterIPs") or [spec["clusterIP"]]:
            found.add(base, _type(address), address)
            found.add(reverse(address), "PTR", f"{base}.")
        for port in spec.get("ports") or ():
            if port.get("name"):
                found.add(_service_name(port, base), "SRV", f"0 100 {port['port']} {base}.")
    return found.records()


def _headless(found: "_Made", base: str, slices: Iterable[Object]) -> None:
    for slice_ in slices:
        if slice_.get("addressType") == "FQDN":
            continue
        for endpoint in slice_.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for address in endpoint.get("addresses") or ():
                host = f"{endpoint.get('hostname') or dashed(address)}.{base}"
                found.add(base, _type(address), address)
                found.add(host, _type(address), address)
                if endpoint.get("hostname"):
                    found.add(reverse(address), "PTR", f"{host}.")
                for port in slice_.get("ports") or ():
                    if port.get("name") and port.get("port"):
                        found.add(_service_name(port, base), "SRV", f"0 100 {port['port']} {host}.")


def dashed(address: str) -> str:
    """What an endpoint without a host name is called."""
    return address.replace(".", "-").replace(":", "-")


def undashed(label: str) -> str | None:
    """The address that a label spells, if it spells one."""
    for separator in (".", ":"):
        try:
            return str(ip_address(label.replace("-", separator)))
        except ValueError:
            continue
    return None


def reverse(address: str) -> str:
    return ip_address(address).reverse_pointer


def service_of(slice_: Object) -> str:
    name = labels_of(slice_).get(SERVICE_NAME, "")
    return f"{namespace_of(slice_)}/{name}" if name else ""


class Zone:
    """All records, by whom they come from; a change of one service costs as much as its own records."""

    def __init__(self, zone: str, serial: int = 1) -> None:
        self.zone = zone.strip(".").lower()
        self.serial = serial
        """Grows with every change: resolvers and tests see that something has changed."""
        self._owned: dict[str, Records] = {}
        self._names: dict[str, dict[str, Counter[str]]] = {}
        self._below: Counter[str] = Counter()
        """How many names stand under each: those that have records themselves and those between (RFC 8020)."""
        self._namespaces: set[str] = set()
        self._put(self._fixed())

    @property
    def soa(self) -> str:
        return f"ns.dns.{self.zone}. hostmaster.{self.zone}. {self.serial} 7200 1800 86400 {TTL_S}"

    def replace(self, owner: str, records: Records) -> bool:
        """The records of one service become these. Whether anything changed."""
        before = self._owned.get(owner, {})
        if before == records:
            return False
        self._take(before)
        self._put(records)
        if records:
            self._owned[owner] = records
        else:
            self._owned.pop(owner, None)
        self.serial += 1
        return True

    def namespaces(self, names: Iterable[str]) -> None:
        self._namespaces = set(names)

    def is_ours(self, name: str) -> bool:
        """Whether nobody else may be asked: names of the zone, and addresses that we know."""
        return name == self.zone or name.endswith(f".{self.zone}") or name in self._names

    def answer(self, name: str, type_: str) -> Answer:
        """For a name that `is_ours`. `type_` is a mnemonic; ANY gives what there is."""
        found = self._names.get(name) or self._computed(name)
        if found is None:
            between = self._below[name] > 0 or name in self._between()
            return Answer(Code.NOERROR if between else Code.NXDOMAIN)
        if name == self.zone and type_ == "SOA":
            return Answer(Code.NOERROR, ((name, "SOA", self.soa),))
        if "CNAME" in found and type_ not in ("CNAME", "ANY"):
            return self._followed(name, next(iter(found["CNAME"])), type_)
        types = sorted(found) if type_ == "ANY" else [type_]
        return Answer(Code.NOERROR, tuple((name, each, text) for each in types for text in found.get(each, ())))

    def additional(self, answer: Answer) -> tuple[tuple[str, str, str], ...]:
        """The addresses of what SRV records name: clients ask for them next."""
        hosts = dict.fromkeys(text.rpartition(" ")[2].rstrip(".") for _, type_, text in answer.records if type_ == "SRV")
        return tuple((host, type_, text) for host in hosts for type_ in ("A", "AAAA") for text in self._names.get(host, {}).get(type_, ()))

    # --- parts ------------------------------------------------------------------------------------------------------------

    def _followed(self, name: str, target: str, type_: str) -> Answer:
        """A CNAME and what it leads to, if that is ours (one step: who builds chains asks again)."""
        there = target.rstrip(".").lower()
        own: tuple[tuple[str, str, str], ...] = ((name, "CNAME", target),)
        if not self.is_ours(there):
            return Answer(Code.NOERROR, own, follow=there)
        found = self._names.get(there, {})
        return Answer(Code.NOERROR, own + tuple((there, type_, text) for text in found.get(type_, ())))

    def _computed(self, name: str) -> dict[str, Counter[str]] | None:
        """Names of pods: the address stands in the name, and is not looked for (CoreDNS' `pods insecure`)."""
        head, found, rest = name.partition(".")
        namespace, pod, zone = rest.partition(".pod.")
        if not found or not pod or zone != self.zone or namespace not in self._namespaces:
            return None
        address = undashed(head)
        return {_type(address): Counter([address])} if address else None

    def _between(self) -> set[str]:
        return {f"svc.{self.zone}", f"pod.{self.zone}", *(f"{each}.{kind}.{self.zone}" for each in self._namespaces for kind in ("svc", "pod"))}

    def _fixed(self) -> Records:
        return {
            self.zone: {"NS": (f"ns.dns.{self.zone}.",)},
            f"dns-version.{self.zone}": {"TXT": (f'"{VERSION}"',)},
        }

    def _put(self, records: Records) -> None:
        for name, types in records.items():
            new = name not in self._names
            there = self._names.setdefault(name, {})
            for type_, texts in types.items():
                there.setdefault(type_, Counter()).update(texts)
            if new:
                self._below.update(_parents(name))

    def _take(self, records: Records) -> None:
        for name, types in records.items():
            there = self._names[name]
            for type_, texts in types.items():
                there[type_] -= Counter(texts)
                if not there[type_]:
                    del there[type_]
            if not there:
                del self._names[name]
                self._below.subtract(_parents(name))


def _parents(name: str) -> list[str]:
    labels = name.split(".")
    return [".".join(labels[number:]) for number in range(1, len(labels))]


def _type(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def _service_name(port: Object, base: str) -> str:
    return f"_{port['name']}._{(port.get('protocol') or 'TCP').lower()}.{base}".lower()


class _Made:
    """Records as they are found; each text once under a name."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, dict[str, None]]] = {}

    def add(self, name: str, type_: str, text: str) -> None:
        self._found.setdefault(name.lower(), {}).setdefault(type_, {})[text] = None

    def records(self) -> dict[str, dict[str, tuple[str, ...]]]:
        return {name: {type_: tuple(sorted(texts)) for type_, texts in types.items()} for name, types in self._found.items()}
