"""Certificates that a member makes for itself."""

import ssl
from pathlib import Path

from certs.files import read_certificate
from kvstore.server import selfsigned
from kvstore.server.config import load


def made(folder: Path) -> tuple[Path, Path]:
    cert, key = selfsigned.paths(folder, "client")
    selfsigned.ensure(cert, key, ["127.0.0.1", "localhost", "127.0.0.1"], 2)
    return cert, key


def test_made_once_and_for_the_hosts_that_are_listened_on(tmp_path):
    cert, key = made(tmp_path)
    assert cert == tmp_path / "fixtures/client/cert.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    first = read_certificate(cert)
    assert (first.not_valid_after_utc - first.not_valid_before_utc).days == 730
    made(tmp_path)
    assert read_certificate(cert) == first
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)


def test_made_again_when_damaged_or_without_its_key(tmp_path):
    cert, key = made(tmp_path)
    first = read_certificate(cert)
    cert.write_bytes(b"")
    made(tmp_path)
    second = read_certificate(cert)
    assert second != first
    key.unlink()
    made(tmp_path)
    assert read_certificate(cert) != second


def test_flags(tmp_path):
    urls = ["--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://127.0.0.1:1"]
    config = load(["--auto-tls", "--peer-auto-tls", f"--data-dir={tmp_path}", *urls], {})
    assert config.client_tls.self_signed and config.client_tls.given and not config.client_tls.wants_client
    assert config.peer_tls.cert == f"{tmp_path}/fixtures/peer/cert.pem"
    cert, key = made(tmp_path)
    given = load(["--auto-tls", f"--cert-file={cert}", f"--key-file={key}"], {})
    assert not given.client_tls.self_signed
    assert "ignoring client auto TLS since certs given" in given.notes
