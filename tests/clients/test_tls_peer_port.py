"""Who gets in at the peer port: nobody without a certificate that fits, and what is refused is in the log."""

import contextlib
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from kvstore.ids import ClusterId, MemberId
from kvstore.peer.handshake import hello
from tests.clients.test_tls_client_port import bad_certificates, der, move
from tests.support import kinds
from tests.support import tls as pki
from tests.support.knock import context, knock, served_certificate
from tests.support.members import Cluster, Member, wait_until
from tests.support.tls import TlsFiles

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(kinds.subject().name != "keelson", reason="the members' protocol is Keelson's own"),
]

GREETING = hello(ClusterId(1), MemberId(2), MemberId(3))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return pki.make(tmp_path_factory.mktemp("certs"))


@contextlib.contextmanager
def serving(tmp_path: Path, files: TlsFiles, *flags: str) -> Iterator[Member]:
    with Cluster(kinds.subject(), tmp_path, 1, files, flags) as cluster:
        yield cluster[0]


def is_heard(member: Member, tls: ssl.SSLContext) -> None:
    """It gets an answer to its greeting; here one that says that it is nobody's member."""
    assert b"cluster ID mismatch" in knock(member.peer_port, tls, GREETING)


def is_refused(member: Member, tls: ssl.SSLContext, logged: str) -> None:
    with pytest.raises(OSError):
        knock(member.peer_port, tls, GREETING)
    wait_until(lambda: any("rejected connection" in line and logged in line for line in member.log().splitlines()), 5, f"{logged!r} in the log")


def test_nobody_without_a_good_certificate_is_heard(files: TlsFiles, tmp_path: Path) -> None:
    logged = {"none": "peer did not return a certificate", "of another authority": "certificate verify failed"}
    with serving(tmp_path, files) as member:
        for what, tls in bad_certificates(files, tmp_path).items():
            is_refused(member, tls, logged.get(what, what))
        is_heard(member, context(files, files.peer_cert, files.peer_key))


def test_rules_revocation_and_changed_files(files: TlsFiles, tmp_path: Path) -> None:
    member_cert = pki.issue(files, tmp_path, "m1", "peer")
    stranger = pki.issue(files, tmp_path, "m9", "peer")
    late = pki.issue(files, tmp_path, "m2", "peer")
    crl = pki.revocation_list(files, tmp_path / "ca.crl", [])
    with serving(tmp_path, member_cert, "--peer-cert-allowed-cn=m1,m2", f"--peer-crl-file={crl}") as member:
        is_refused(member, context(files, stranger.peer_cert, stranger.peer_key), "common name 'm9' is not allowed")
        good = context(files, late.peer_cert, late.peer_key)
        is_heard(member, good)
        pki.revocation_list(files, crl, [late.peer_cert])
        is_refused(member, good, "revoked")
        renewed = pki.issue(files, tmp_path / "renewed", "m1", "peer")
        move(renewed.peer_cert, member_cert.peer_cert)
        move(renewed.peer_key, member_cert.peer_key)
        again = context(files, renewed.peer_cert, renewed.peer_key)
        assert served_certificate(member.peer_port, again) == der_of(renewed.peer_cert), "at the very next handshake"


def test_a_certificate_comes_from_where_it_says(files: TlsFiles, tmp_path: Path) -> None:
    elsewhere = pki.issue(files, tmp_path, "elsewhere", "peer", hosts=["192.0.2.1"])
    named = pki.issue(files, tmp_path, "named", "peer", hosts=["keelson.invalid"])
    without = pki.issue(files, tmp_path, "without", "client")
    local = pki.issue(files, tmp_path, "local", "peer", hosts=["localhost", "192.0.2.1"])
    with serving(tmp_path, files) as member:
        is_refused(member, context(files, elsewhere.peer_cert, elsewhere.peer_key), "x509: certificate is valid for 192.0.2.1, not 127.0.0.1")
        is_refused(member, context(files, named.peer_cert, named.peer_key), "does not match any of DNSNames")
        is_heard(member, context(files, without.client_cert, without.client_key))
        is_heard(member, context(files, local.peer_cert, local.peer_key))
    with serving(tmp_path / "lax", files, "--peer-skip-client-san-verification") as member:
        is_heard(member, context(files, elsewhere.peer_cert, elsewhere.peer_key))


def test_members_do_not_take_each_other_without_the_rules(files: TlsFiles, tmp_path: Path) -> None:
    """One member's certificate has another authority: the two others go on without it, and tell of it at a bounded rate."""
    other = pki.make(tmp_path / "other")
    with contextlib.ExitStack() as stack:
        cluster = Cluster(kinds.subject(), tmp_path, 3, files)
        stack.callback(cluster.stop)
        odd = cluster[2]
        odd.tls = replace(files, peer_cert=other.peer_cert, peer_key=other.peer_key)
        for member in cluster:
            member.start()
        for member in cluster.members[:2]:
            member.wait_ready()
        wait_until(lambda: "rejected connection" in cluster[0].log(), 10, "the odd one is refused")
        wait_until(lambda: "certificate verify failed" in cluster[0].log(), 10, "and not called, either")
        assert "ready to serve" not in odd.log()
        assert cluster[0].log().count("rejected connection") <= 10


def test_members_with_ended_certificates_do_not_form_a_cluster(files: TlsFiles, tmp_path: Path) -> None:
    ended = pki.issue(files, tmp_path, "ended", "peer", begins=timedelta(days=-10), days=5)
    cluster = Cluster(kinds.subject(), tmp_path, 2, ended)
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.stop)
        for member in cluster:
            member.start()
        wait_until(lambda: "certificate has expired" in cluster[0].log(), 10, "the reason in the log")
        assert "ready to serve" not in cluster[0].log()


def der_of(path: Path) -> bytes:
    from certs.files import read_certificate

    return der(read_certificate(path))
