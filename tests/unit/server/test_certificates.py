"""Rules on certificates that were found to be genuine: names, host names, revocation, the caller's address."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs import authority
from certs.profiles import PEER
from kvstore.server import certificates
from kvstore.server.certificates import Presented, Rules, is_for, is_named, names_to_look_up, read, revoked_serials, why_refused
from tests.support import tls as pki

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def shown(common_name: str = "m1", hosts: tuple[str, ...] = (), addresses: tuple[str, ...] = (), serials: tuple[int, ...] = (7,)) -> Presented:
    import ipaddress

    return Presented(common_name, hosts, tuple(map(ipaddress.ip_address, addresses)), serials)


def test_a_certificate_is_read():
    ca = authority.create("ca", NOW)
    pair = authority.issue(ca, PEER, "m1", ["a.example", "*.b.example", "127.0.0.1", "::1"], NOW)
    presented = read([each.certificate.public_bytes(Encoding.DER) for each in (pair, ca)])
    assert presented == shown(
        "m1", ("a.example", "*.b.example"), ("127.0.0.1", "::1"), (pair.certificate.serial_number, ca.certificate.serial_number)
    )
    assert read([]) is None


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("a.example", True),
        ("A.Example.", True),
        ("x.b.example", True),
        ("x.y.b.example", False),
        ("b.example", False),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("127.0.0.2", False),
        ("m1", False),
        ("", False),
    ],
)
def test_host_names_match_as_in_go(host, fits):
    assert is_for(shown(hosts=("a.example", "*.b.example"), addresses=("127.0.0.1", "::1")), host) is fits


@pytest.mark.parametrize(
    ("rules", "revoked", "reason"),
    [
        (Rules(), (), ""),
        (Rules(common_names=("m1", "m2")), (), ""),
        (Rules(common_names=("m2",)), (), "common name 'm1' is not allowed"),
        (Rules(hosts=("z.example", "a.example")), (), ""),
        (Rules(hosts=("z.example",)), (), "none of the allowed host names"),
        (Rules(), {8}, "certificate serial 08 revoked"),
        (Rules(common_names=("m1",)), {7}, "certificate serial 07 revoked"),
    ],
)
def test_rules(rules, revoked, reason):
    told = why_refused(shown(hosts=("a.example",), serials=(7, 8)), rules, revoked)
    assert reason in told and bool(reason) == bool(told)


def test_whether_a_certificate_is_needed_is_not_for_the_rules_to_say():
    assert why_refused(None, Rules(common_names=("m1",)), {7}) == ""


@pytest.mark.parametrize(
    ("presented", "remote", "answer"),
    [
        (None, "10.0.0.1", ()),
        (shown(), "10.0.0.1", ()),
        (shown(addresses=("10.0.0.1",)), "10.0.0.1", ()),
        (shown(addresses=("10.0.0.1",)), "10.0.0.2", "x509: certificate is valid for 10.0.0.1, not 10.0.0.2"),
        (shown(hosts=("a",), addresses=("10.0.0.1",)), "10.0.0.2", ("a",)),
        (shown(hosts=("a", "*.b")), "10.0.0.2", ("a", "*.b")),
    ],
)
def test_from_where_a_certificate_may_come(presented, remote, answer):
    assert names_to_look_up(presented, remote) == answer


def test_names_of_an_address():
    assert is_named(("a.example", "*.b.example"), ["a.example."])
    assert is_named(("*.b.example",), ["x.y.b.example"])
    assert not is_named(("a.example", "*.b.example"), ["c.example", "b.example"])
    assert not is_named(("a.example",), [])


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_revocation_lists_are_taken_in_both_forms(tmp_path: Path, encoding: Encoding):
    files = pki.make(tmp_path)
    path = pki.revocation_list(files, tmp_path / "ca.crl", [files.client_cert], encoding)
    presented = read([read_der(files.client_cert)])
    assert presented is not None
    assert revoked_serials(path.read_bytes()) == set(presented.serials)
    with pytest.raises(ValueError):
        revoked_serials(b"nothing of the kind")


def read_der(path: Path) -> bytes:
    from certs.files import read_certificate

    return read_certificate(path).public_bytes(Encoding.DER)


def test_what_dns_cannot_bring_together_is_told():
    assert certificates.not_of(("a",), "10.0.0.1") == "tls: \"10.0.0.1\" does not match any of DNSNames ['a']"
