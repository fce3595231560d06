"""What a peer's certificate says, and which of etcd's rules it fits beyond being of the right authority and in its time.

Those two are checked in the TLS handshake itself; these come right after it (etcd: client/pkg/transport/listener_tls.go, tlsinfo's
VerifyPeerCertificate). Nothing here reads a file, asks DNS or knows the time.
"""

import ipaddress
from collections.abc import Collection, Sequence

from msgspec import Struct

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Presented(Struct, frozen=True):
    """The certificate that somebody showed. `serials` are those of the whole chain that was sent, the certificate's own first."""

    common_name: str
    hosts: tuple[str, ...]
    addresses: tuple[Address, ...]
    serials: tuple[int, ...]


class Rules(Struct, frozen=True):
    """Empty: everybody whose certificate is of the authority. At most one of the two has entries."""

    common_names: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


def read(chain: Sequence[bytes]) -> Presented | None:
    """Of DER certificates, the leaf first; None if none was sent. Raises ValueError for one that cannot be parsed."""
    if not chain:
        return None
    # Imported where there are certificates: the library takes 30 ms, and a start in the clear does without.
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    certificates = [x509.load_der_x509_certificate(each) for each in chain]
    leaf = certificates[0]
    names = [str(name.value) for name in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    hosts: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        pass
    else:
        hosts = tuple(alternatives.get_values_for_type(x509.DNSName))
        addresses = tuple(each for each in alternatives.get_values_for_type(x509.IPAddress) if isinstance(each, Address))
    # Go reads the last of several common names.
    return Presented(names[-1] if names else "", hosts, addresses, tuple(each.serial_number for each in certificates))


def revoked_serials(content: bytes) -> frozenset[int]:
    """Of a revocation list in PEM or DER. Raises ValueError if it is none.

    As etcd does, only the serials are taken: neither the list's signature nor its age is looked at, since whoever may write the file may
    also write the authority's.
    """
    from cryptography import x509

    load = x509.load_pem_x509_crl if content.lstrip().startswith(b"-----") else x509.load_der_x509_crl
    return frozenset(each.serial_number for each in load(content))


def why_refused(presented: Presented | None, rules: Rules, revoked: Collection[int]) -> str:
    """Empty: welcome. Else etcd's words for what is wrong."""
    if presented is None:
        # Whether one is needed at all was for the handshake to say.
        return ""
    if rules.common_names and presented.common_name not in rules.common_names:
        return f"client certificate authentication failed: common name {presented.common_name!r} is not allowed"
    if rules.hosts and not any(is_for(presented, host) for host in rules.hosts):
        return "client certificate authentication failed: it is for none of the allowed host names"
    for serial in presented.serials:
        if serial in revoked:
            return f"transport: certificate serial {serial.to_bytes((serial.bit_length() + 7) // 8).hex()} revoked"
    return ""


def is_for(presented: Presented, host: str) -> bool:
    """Whether it is valid for a host name or address by its alternative names, as Go's VerifyHostname has it: the common name counts for nothing."""
    try:
        return ipaddress.ip_address(host.strip("[]")) in presented.addresses
    except ValueError:
        pass
    wanted = host.lower().rstrip(".")
    return any(_matches(pattern.lower().rstrip("."), wanted) for pattern in presented.hosts)


def _matches(pattern: str, host: str) -> bool:
    if not pattern or not host:
        return False
    if not pattern.startswith("*."):
        return pattern == host
    # A star stands for exactly one label, the first.
    return "." in host and pattern[2:] == host.partition(".")[2]


def names_to_look_up(presented: Presented | None, remote: str) -> tuple[str, ...] | str:
    """Whether who shows this certificate may call from the address `remote` (etcd's checkCertSAN).

    An empty tuple: it may. A text: it may not, and why. Host names: only if one of them is that address's in DNS; see `resolves`.
    """
    if presented is None or not (presented.hosts or presented.addresses):
        return ()
    if presented.addresses:
        if is_for(presented, remote):
            return ()
        if not presented.hosts:
            listed = ", ".join(map(str, presented.addresses))
            return f"x509: certificate is valid for {listed}, not {remote}"
    return presented.hosts


def is_named(hosts: Sequence[str], names: Collection[str]) -> bool:
    """Whether one of `names`, which reverse DNS gave for the address, is among a certificate's host names.

    As in etcd, a star stands for any number of labels here.
    """
    exact = {host for host in hosts if not host.startswith("*.")}
    endings = tuple(host[1:] for host in hosts if host.startswith("*."))
    return any(name in exact or (endings and name.endswith(endings)) for name in (each.rstrip(".") for each in names))


def not_of(hosts: Sequence[str], remote: str) -> str:
    """What to say when DNS does not bring them together."""
    return f'tls: "{remote}" does not match any of DNSNames {list(hosts)}'
