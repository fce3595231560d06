"""Files that change under a running server, and flags about them."""

import ssl
from pathlib import Path

import pytest

from kvstore.server.bootstrap import ConfigurationError
from kvstore.server.config import load
from kvstore.server.throttle import INTERVAL_S, LINES_MAX, Throttle
from kvstore.server.tls import Material, TlsSettings, Unusable
from tests.support import tls as pki


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> pki.TlsFiles:
    return pki.make(tmp_path_factory.mktemp("certs"))


def copied(files: pki.TlsFiles, folder: Path) -> TlsSettings:
    for source, name in ((files.server_cert, "cert"), (files.server_key, "key"), (files.ca, "ca")):
        (folder / name).write_bytes(source.read_bytes())
    return TlsSettings(cert=str(folder / "cert"), key=str(folder / "key"), ca=str(folder / "ca"))


def replace_file(path: Path, content: bytes) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    beside.replace(path)


def test_changed_files_are_taken_and_broken_ones_are_not(files, tmp_path, caplog):
    material = Material(copied(files, tmp_path), "client")
    first = material.listen
    assert not material.refresh()
    assert material.listen is first
    new = pki.issue(files, tmp_path, "renewed", "server")
    replace_file(tmp_path / "cert", new.server_cert.read_bytes())
    assert not material.refresh(), "a certificate without its key is not taken"
    assert material.listen is first
    assert "staying with what they held before" in caplog.text
    replace_file(tmp_path / "key", new.server_key.read_bytes())
    assert material.refresh()
    assert material.listen is not first
    second = material.listen
    (tmp_path / "ca").unlink()
    assert not material.refresh()
    assert material.listen is second


def test_a_turned_link_is_a_change(files, tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        copied(files, tmp_path / name)
    link = tmp_path / "now"
    link.symlink_to(tmp_path / "old")
    material = Material(TlsSettings(cert=str(link / "cert"), key=str(link / "key")), "client")
    link.unlink()
    link.symlink_to(tmp_path / "new")
    assert material.refresh()


def test_an_authority_makes_certificates_required(files, tmp_path):
    settings = copied(files, tmp_path)
    assert settings.wants_client
    listen = Material(settings, "client").listen
    assert listen is not None and listen.verify_mode is ssl.CERT_REQUIRED


def test_an_encrypted_key_is_refused_without_asking_at_the_terminal(files, tmp_path):
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(files.server_key.read_bytes(), None)
    locked = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x"))
    (tmp_path / "key").write_bytes(locked)
    with pytest.raises(Unusable, match="encrypted"):
        Material(TlsSettings(cert=str(files.server_cert), key=str(tmp_path / "key")), "client")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--tls-min-version=TLS1.1"], r'unexpected TLS version "TLS1.1" \(must be one of: TLS1.2, TLS1.3\)'),
        (["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"], r"min version \(TLS1.3\) is greater than max version \(TLS1.2\)"),
        (["--cipher-suites=NONE_SUCH"], 'unexpected TLS cipher suite "NONE_SUCH"'),
        (["--cipher-suites=TLS_AES_128_GCM_SHA256"], "only suites of TLS 1.3"),
        (["--cipher-suites=TLS_RSA_WITH_RC4_128_SHA"], "broken and cannot be had"),
        (["--tls-min-version=TLS1.3", "--cipher-suites=TLS_RSA_WITH_AES_128_GCM_SHA256"], "cannot be configured when only TLS1.3 is enabled"),
        (["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"], "AllowedCNs and AllowedHostnames are mutually exclusive"),
        (["--peer-client-cert-file=a"], "must both be present or both absent"),
        (["--client-crl-file=/nowhere"], "no such file"),
    ],
)
def test_flags_that_do_not_fit(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        load(arguments, {})


def test_flags_and_file_say_the_same(files, tmp_path):
    flags = [
        f"--cert-file={files.server_cert}",
        f"--key-file={files.server_key}",
        "--client-cert-allowed-hostname=a,b",
        f"--trusted-ca-file={files.ca}",
        "--client-cert-auth",
        f"--peer-cert-file={files.peer_cert}",
        f"--peer-key-file={files.peer_key}",
        f"--peer-trusted-ca-file={files.ca}",
        f"--peer-client-cert-file={files.client_cert}",
        f"--peer-client-key-file={files.client_key}",
        "--peer-cert-allowed-cn=m1,m2",
        "--peer-skip-client-san-verification",
        "--peer-client-cert-auth",
        "--tls-min-version=TLS1.2",
        "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    ]
    path = tmp_path / "etcd.yaml"
    path.write_text(f"""
client-transport-security:
  cert-file: {files.server_cert}
  key-file: {files.server_key}
  client-cert-auth: true
  trusted-ca-file: {files.ca}
  allowed-hostname: [a, b]
peer-transport-security:
  cert-file: {files.peer_cert}
  key-file: {files.peer_key}
  client-cert-file: {files.client_cert}
  client-key-file: {files.client_key}
  client-cert-auth: true
  trusted-ca-file: {files.ca}
  allowed-cn: [m1, m2]
  skip-client-san-verification: true
tls-min-version: TLS1.2
cipher-suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
""")
    from_flags, from_file = load(flags, {}), load([f"--config-file={path}"], {})
    assert from_flags.client_tls == from_file.client_tls
    assert from_flags.peer_tls == from_file.peer_tls
    assert from_flags.client_tls.rules.hosts == ("a", "b")
    assert from_flags.client_tls.suites == ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256")
    assert not from_flags.client_tls.is_plain and not from_flags.peer_tls.check_remote


def test_the_fast_way_is_taken_unless_something_needs_the_other(files):
    common = {"cert": str(files.server_cert), "key": str(files.server_key), "ca": str(files.ca)}
    assert TlsSettings(**common, require_client=True).is_plain
    assert TlsSettings(**common, most="TLS1.3").is_plain
    assert not TlsSettings(**common, least="TLS1.3").is_plain
    assert not TlsSettings(**common, most="TLS1.2").is_plain
    assert not TlsSettings(**common, crl="ca.crl").is_plain


def test_lines_that_strangers_cause_are_bounded():
    throttle = Throttle()
    told = [throttle.admit(100 + number / 1000) for number in range(1000)]
    assert told.count(None) == 1000 - LINES_MAX
    assert throttle.admit(101 + INTERVAL_S) == 1000 - LINES_MAX, "the next line tells how many were left out"
    assert throttle.admit(101 + INTERVAL_S) == 0


def test_flags_lead_to_files_that_exist_at_the_start_only(files, tmp_path):
    broken = tmp_path / "key"
    broken.write_text("no key")
    with pytest.raises(ConfigurationError, match="are no certificate with its key"):
        load([f"--cert-file={files.server_cert}", f"--key-file={broken}"], {})
