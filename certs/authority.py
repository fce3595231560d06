"""A certificate authority: makes itself, signs for others. No files, no clock: the time comes in.

Certificates are ECDSA on P-256 with SHA-256, which Go's crypto/tls, rustls, OpenSSL and BoringSSL (gRPC) all take. They carry what the strict
ones ask for: version 3, subject alternative names (nobody reads the common name as a host any more), key identifiers, critical key usage.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.profiles import CA_DAYS, LEAF_DAYS, PROFILES, Profile

CLOCK_SKEW = timedelta(minutes=5)
"""A certificate is valid from a little before now: the clock of whoever checks it may be behind."""

REVOCATION_LIST_DAYS = 365
"""etcd and Keelson take a list whatever its age; others may look."""

COMMON_NAME_MAX = 64  # RFC 5280, upper bound ub-common-name


class InvalidRequest(ValueError):
    """A certificate cannot be made as asked; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and the private key that belongs to it."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """PKCS #8, not encrypted: servers must start without somebody to type a password."""
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def create(name: str, now: datetime, days: int = CA_DAYS) -> Pair:
    """A new authority that signs itself, and may sign leaves only."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = (
        _builder(subject, subject, key.public_key(), now, now + _positive(days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(for_ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def issue(
    ca: Pair, profile: Profile, name: str, hosts: Iterable[str], now: datetime, days: int = LEAF_DAYS, organizations: Iterable[str] = ()
) -> Pair:
    """A certificate for `name` (which a server reads as the user's name) and `organizations` (which an API server reads as the user's groups), for
    `hosts` (names, wildcards and IP addresses), signed by `ca`.

    It ends with its authority at the latest. Raises InvalidRequest for what no client would accept.
    """
    wanted = list(dict.fromkeys(hosts))
    if profile.needs_hosts and not wanted:
        raise InvalidRequest(f"a {profile.name} certificate needs at least one host: nobody who connects could check it otherwise")
    end = min(now + _positive(days), ca.certificate.not_valid_after_utc)
    if end <= now:
        raise InvalidRequest(f"the authority ended at {ca.certificate.not_valid_after_utc:%Y-%m-%d}: make a new one first")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_subject(name, organizations), ca.certificate.subject, key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(for_ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(profile.usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_identifier(ca.certificate), critical=False)
    )
    if wanted:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(host) for host in wanted]), critical=False)
    return Pair(builder.sign(ca.key, _digest(ca)), key)


def revocation_list(ca: Pair, serials: Iterable[int], now: datetime, days: int = REVOCATION_LIST_DAYS) -> x509.CertificateRevocationList:
    """What `ca` signs to say that the certificates with these serials are good no more."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject).last_update(now - CLOCK_SKEW)
    builder = builder.next_update(now + _positive(days)).add_extension(_authority_identifier(ca.certificate), critical=False)
    for serial in sorted(set(serials)):
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build())
    return builder.sign(ca.key, _digest(ca))


def signed_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Whether `ca` signed `certificate` (its time and its uses are other questions)."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def hosts_of(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]


def name_of(subject: x509.Name) -> str:
    """The common name, or the whole subject if there is none."""
    common = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else subject.rfc4514_string()


def organizations_of(subject: x509.Name) -> list[str]:
    return [str(each.value) for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


def uses_of(certificate: x509.Certificate) -> list[str]:
    """What it may be used for: "authority", "server", "client"."""
    uses = []
    extensions = certificate.extensions
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            uses.append("authority")
    except x509.ExtensionNotFound:
        pass
    try:
        listed = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return uses
    words = {ExtendedKeyUsageOID.SERVER_AUTH: "server", ExtendedKeyUsageOID.CLIENT_AUTH: "client"}
    return uses + [words.get(usage, usage.dotted_string) for usage in listed]


def profile_of(certificate: x509.Certificate, stem: str) -> Profile:
    """Whose certificate it is: by the name of its file, or else by its uses."""
    named = PROFILES.get(stem.partition("-")[0])
    if named is not None:
        return named
    return PROFILES["server" if "server" in uses_of(certificate) else "client"]


def _digest(ca: Pair) -> hashes.SHA256 | None:
    """The Edwards curves bring their own hash, every other key needs to be told one."""
    return None if isinstance(ca.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(end)
    )


def _subject(name: str, organizations: Iterable[str] = ()) -> x509.Name:
    if not 1 <= len(name) <= COMMON_NAME_MAX:
        raise InvalidRequest(f"the name in a certificate has 1 to {COMMON_NAME_MAX} characters, {name!r} has {len(name)}")
    listed = list(organizations)
    if bad := [each for each in listed if not 1 <= len(each) <= COMMON_NAME_MAX]:  # ub-organization-name is 64, too
        raise InvalidRequest(f"an organization in a certificate has 1 to {COMMON_NAME_MAX} characters, {bad[0]!r} has {len(bad[0])}")
    return x509.Name([*(x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in listed), x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _positive(days: int) -> timedelta:
    if days < 1:
        raise InvalidRequest(f"a certificate is valid for at least one day, not {days}")
    return timedelta(days=days)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    label = host.removeprefix("*.")
    if not label or not host.isascii() or not all(part and part.replace("-", "").replace("_", "").isalnum() for part in label.split(".")):
        raise InvalidRequest(f"{host!r} is neither an IP address nor a host name (international names: their xn-- form)")
    return x509.DNSName(host)


def _authority_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """What the authority calls its key: its own identifier extension if it has one, else computed as the RFC says."""
    try:
        own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = ca.public_key()
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)  # type: ignore[arg-type]  # a CA's key can sign
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _key_usage(for_ca: bool) -> x509.KeyUsage:
    """An authority signs certificates and revocation lists; a leaf signs handshakes, and nothing else is needed with elliptic curves."""
    return x509.KeyUsage(
        digital_signature=not for_ca,
        key_cert_sign=for_ca,
        crl_sign=for_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
