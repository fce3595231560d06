"""What a certificate may be used for (RFC 5280, 4.2.1.12), and for how long.

A peer both accepts and dials, so its certificate must serve for both; etcd's server certificate, too, because etcd's gateway dials its own
client port with it. A client's certificate names a user (its common name) and must never pass for a server.
"""

from dataclasses import dataclass

from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

CA_DAYS = 3650
LEAF_DAYS = 365
RENEW_BEFORE_DAYS = 30
"""A certificate with less than this left is made anew at the next start."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Profile:
    """`needs_hosts`: whether whoever connects checks the host name, so that a certificate without one would be useless."""

    name: str
    usages: tuple[ObjectIdentifier, ...]
    needs_hosts: bool


SERVER = Profile("server", (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH), needs_hosts=True)
PEER = Profile("peer", (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH), needs_hosts=True)
SERVING = Profile("serving", (ExtendedKeyUsageOID.SERVER_AUTH,), needs_hosts=True)
"""A server of the control plane: there the name in a client's certificate is a user, so a server's must not pass for a client's."""
CLIENT = Profile("client", (ExtendedKeyUsageOID.CLIENT_AUTH,), needs_hosts=False)

PROFILES = {profile.name: profile for profile in (SERVER, PEER, SERVING, CLIENT)}
