"""Who gets in at the client port, with each way that it has of doing TLS."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from msgspec.structs import replace

from certs.files import read_certificate
from tests.support import kinds
from tests.support import tls as pki
from tests.support.calls import open_channel
from tests.support.knock import context, knock, served_certificate
from tests.support.members import Cluster, Member, wait_until
from tests.support.tls import TlsFiles

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return pki.make(tmp_path_factory.mktemp("certs"))


OURS = kinds.subject().name == kinds.KEELSON


@contextlib.contextmanager
def serving(tmp_path: Path, files: TlsFiles, *flags: str) -> Iterator[Member]:
    if not OURS and any(flag.startswith(("--tls-m", "--client-cert-allowed-cn")) for flag in flags):
        pytest.skip("etcd 3.5.1 has no such flag")
    with Cluster(kinds.subject(), tmp_path, 1, files, flags) as cluster:
        yield cluster[0]


def own(files: TlsFiles, folder: Path) -> TlsFiles:
    """The server's files in a place of their own, where a test may change them."""
    cert, key = folder / "own.crt", folder / "own.key"
    cert.write_bytes(files.server_cert.read_bytes())
    key.write_bytes(files.server_key.read_bytes())
    return replace(files, server_cert=cert, server_key=key)


def move(source: Path, target: Path) -> None:
    beside = target.with_suffix(".new")
    beside.write_bytes(source.read_bytes())
    beside.replace(target)


def is_refused(member: Member, tls: ssl.SSLContext) -> None:
    with pytest.raises(OSError):
        knock(member.client_port, tls)


def bad_certificates(files: TlsFiles, folder: Path) -> dict[str, ssl.SSLContext]:
    other = pki.make(folder / "other")
    day = timedelta(days=1)
    expired = pki.issue(files, folder, "expired", begins=-10 * day, days=5)
    future = pki.issue(files, folder, "future", begins=10 * day)
    return {
        "none": context(files),
        "of another authority": context(files, other.client_cert, other.client_key),
        "expired": context(files, expired.client_cert, expired.client_key),
        "not yet valid": context(files, future.client_cert, future.client_key),
    }


@pytest.mark.parametrize("flags", [[], ["--tls-max-version=TLS1.2"]], ids=["fast", "checked"])
def test_nobody_without_a_good_certificate_gets_in(files: TlsFiles, tmp_path: Path, flags: list[str]) -> None:
    with serving(tmp_path, files, *flags) as member:
        good = context(files, files.client_cert, files.client_key)
        for what, tls in bad_certificates(files, tmp_path).items():
            for version in (V12, V13):
                tls.minimum_version, tls.maximum_version = V12, version
                with pytest.raises(OSError):
                    print(what, version, knock(member.client_port, tls))
        assert b" 200 " in knock(member.client_port, good)


def test_revoked_certificates_and_names_that_are_not_allowed(files: TlsFiles, tmp_path: Path) -> None:
    """The list is read again when it changes; connections of before live on, as with etcd."""
    bad = pki.issue(files, tmp_path, "robert")
    crl = pki.revocation_list(files, tmp_path / "ca.crl", [])
    with serving(tmp_path, files, f"--client-crl-file={crl}") as member:
        tls = context(files, bad.client_cert, bad.client_key)
        assert b" 200 " in knock(member.client_port, tls)
        pki.revocation_list(files, crl, [bad.client_cert])
        is_refused(member, tls)
        assert "revoked" in member.log()
        assert b" 200 " in knock(member.client_port, context(files, files.client_cert, files.client_key))
        crl.write_bytes(b"half a fi")
        is_refused(member, tls)  # what was revoked stays revoked
        if OURS:  # etcd then lets nobody in
            assert b" 200 " in knock(member.client_port, context(files, files.client_cert, files.client_key))
            assert "staying with what they held before" in member.log()


@pytest.mark.parametrize(("flag", "fits"), [("hostname=robert.example", "robert"), ("cn=robert,charles", "charles")])
def test_allowed_names(files: TlsFiles, tmp_path: Path, flag: str, fits: str) -> None:
    good = pki.issue(files, tmp_path, fits, hosts=[f"{fits}.example"])
    with serving(tmp_path, good, f"--client-cert-allowed-{flag}") as member:
        assert b" 200 " in knock(member.client_port, context(files, good.client_cert, good.client_key))
        is_refused(member, context(files, files.client_cert, files.client_key))


@pytest.mark.parametrize(
    ("flags", "gets_in", "stays_out"),
    [
        ([], {"least": V12, "most": V12}, {"least": ssl.TLSVersion.TLSv1, "most": ssl.TLSVersion.TLSv1_1, "suites": "ALL:@SECLEVEL=0"}),
        (["--tls-min-version=TLS1.3"], {"least": V13}, {"most": V12}),
        (["--tls-max-version=TLS1.2"], {"most": V12}, {"least": V13}),
        (
            ["--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "--tls-max-version=TLS1.2"],
            {"most": V12, "suites": "ECDHE-ECDSA-AES256-GCM-SHA384"},
            {"most": V12, "suites": "ECDHE-ECDSA-AES128-GCM-SHA256"},
        ),
    ],
    ids=["defaults", "only 1.3", "only 1.2", "one suite"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_versions_and_suites(files: TlsFiles, tmp_path: Path, flags: list[str], gets_in: dict, stays_out: dict) -> None:
    with serving(tmp_path, files, *flags) as member:
        assert b" 200 " in knock(member.client_port, context(files, files.client_cert, files.client_key, **gets_in))
        is_refused(member, context(files, files.client_cert, files.client_key, **stays_out))


@pytest.mark.parametrize("flags", [[], ["--tls-max-version=TLS1.2"]], ids=["fast", "checked"])
def test_a_certificate_replaced_on_disk_is_served_next_and_old_connections_live_on(files: TlsFiles, tmp_path: Path, flags: list[str]) -> None:
    mine = own(files, tmp_path)
    with serving(tmp_path, mine, *flags) as member:
        tls = context(files, files.client_cert, files.client_key)
        old = read_certificate(mine.server_cert)
        with open_channel(member.endpoint, mine) as channel, watching(channel) as events:
            new = pki.issue(files, tmp_path, "renewed", "server")
            shown = lambda: served_certificate(member.client_port, tls)  # noqa: E731 - also what makes the checked way look
            move(new.server_cert, mine.server_cert)  # without its key
            if OURS:  # etcd then refuses everybody
                wait_until(lambda: shown() == der(old) and "staying with what they held before" in member.log(), 10, "the broken pair is noticed")
            move(new.server_key, mine.server_key)
            wait_until(lambda: shown() == der(read_certificate(new.server_cert)), 10, "the new one is served")
            member.http.close()  # it was idle, so the fast way has ended it; who has calls under way keeps the connection
            assert member.http.post("/v3/kv/put", {"key": "d2F0Y2hlZA=="}).status == 200
            assert next(events), "a watch from before still gets its events"


@contextlib.contextmanager
def watching(channel: grpc.Channel) -> Iterator[Iterator[bytes]]:
    """Answers to a watch of the key "watched", once it is confirmed."""
    done = threading.Event()

    def requests() -> Iterator[bytes]:
        yield b"\x0a\x09\x0a\x07watched"  # WatchRequest{create_request{key}}
        done.wait(60)

    answers = channel.stream_stream("/etcdserverpb.Watch/Watch")(requests())
    next(answers)
    try:
        yield answers
    finally:
        done.set()


def der(certificate: object) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    content: bytes = certificate.public_bytes(Encoding.DER)  # type: ignore[attr-defined]
    return content
