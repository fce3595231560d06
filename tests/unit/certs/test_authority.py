"""What is signed is what was asked for, and what TLS libraries will take."""

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from certs import authority
from certs.authority import InvalidRequest, Pair
from certs.profiles import CLIENT, LOOPBACK, PEER, SERVER

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def ca() -> Pair:
    return authority.create("test CA", NOW)


def test_an_authority_may_sign_leaves_and_nothing_else(ca: Pair) -> None:
    constraints = ca.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    usage = ca.certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.digital_signature) == (True, False)
    assert ca.certificate.not_valid_after_utc == NOW + timedelta(days=3650)


@pytest.mark.parametrize(
    ("profile", "usages"),
    [
        (SERVER, [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        (PEER, [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        (CLIENT, [ExtendedKeyUsageOID.CLIENT_AUTH]),
    ],
)
def test_each_profile_has_its_usages(ca: Pair, profile, usages) -> None:
    leaf = authority.issue(ca, profile, "m1", ["localhost"], NOW)
    extensions = leaf.certificate.extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == usages
    assert extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert isinstance(leaf.key, ec.EllipticCurvePrivateKey)
    assert leaf.certificate.not_valid_before_utc < NOW < leaf.certificate.not_valid_after_utc


def test_names_and_addresses_are_told_apart(ca: Pair) -> None:
    leaf = authority.issue(ca, SERVER, "m1", ["localhost", "10.0.0.7", "::1", "*.example.org", "localhost"], NOW)
    names = leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "*.example.org"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("10.0.0.7"), ipaddress.ip_address("::1")]
    assert authority.hosts_of(leaf.certificate) == ["localhost", "10.0.0.7", "::1", "*.example.org"]


def test_the_common_name_of_a_client_is_its_user(ca: Pair) -> None:
    leaf = authority.issue(ca, CLIENT, "alice", [], NOW)
    assert authority.name_of(leaf.certificate.subject) == "alice"
    assert authority.hosts_of(leaf.certificate) == []
    assert authority.uses_of(leaf.certificate) == ["client"]
    assert authority.uses_of(ca.certificate) == ["authority"]


def test_a_strict_verifier_takes_the_chain_and_only_this_one(ca: Pair) -> None:
    leaf = authority.issue(ca, SERVER, "m1", LOOPBACK, NOW).certificate
    subject = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    verifier = PolicyBuilder().store(Store([ca.certificate])).time(NOW).build_server_verifier(subject)
    assert verifier.verify(leaf, []) == [leaf, ca.certificate]
    stranger = authority.create("test CA", NOW)
    with pytest.raises(VerificationError):
        PolicyBuilder().store(Store([stranger.certificate])).time(NOW).build_server_verifier(subject).verify(leaf, [])
    assert authority.signed_by(leaf, ca.certificate)
    assert not authority.signed_by(leaf, stranger.certificate)


def test_a_leaf_never_outlives_its_authority() -> None:
    ca = authority.create("short", NOW, days=10)
    assert authority.issue(ca, CLIENT, "alice", [], NOW, days=365).certificate.not_valid_after_utc == ca.certificate.not_valid_after_utc
    with pytest.raises(InvalidRequest, match="ended at 2026-12-01"):
        authority.issue(ca, CLIENT, "alice", [], NOW + timedelta(days=11))


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()], ids=["rsa", "ed25519"])
def test_an_authority_made_elsewhere_can_sign_too(key) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "elsewhere")])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else authority.hashes.SHA256()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=100))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, digest)
    )
    ca = Pair(certificate, key)
    assert authority.signed_by(authority.issue(ca, SERVER, "m1", LOOPBACK, NOW).certificate, certificate)


@pytest.mark.parametrize(
    ("profile", "name", "hosts", "days", "complaint"),
    [
        (SERVER, "m1", [], 1, "needs at least one host"),
        (SERVER, "m1", ["two words"], 1, "neither an IP address nor a host name"),
        (SERVER, "m1", [""], 1, "neither an IP address nor a host name"),
        (SERVER, "m1", ["bücher.example"], 1, "xn--"),
        (CLIENT, "", [], 1, "1 to 64 characters"),
        (CLIENT, "x" * 65, [], 1, "1 to 64 characters"),
        (CLIENT, "alice", [], 0, "at least one day"),
    ],
)
def test_what_no_client_would_accept_is_refused(ca: Pair, profile, name, hosts, days, complaint) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        authority.issue(ca, profile, name, hosts, NOW, days)
