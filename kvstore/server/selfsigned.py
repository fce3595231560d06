"""--auto-tls and --peer-auto-tls: a certificate of one's own, made at the first start and kept in the data directory.

What is on the wire is encrypted; who is at the other end is not known. As in etcd the files are fixtures/client and fixtures/peer, and a client
that wants to check something trusts the certificate itself. Unlike etcd, one that has ended is made anew at the next start.
"""

import ipaddress
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keelson.cogs.logs import fields

log = logging.getLogger("kvstore.tls")

ORGANIZATION = "keelson"
PRIVATE_FOLDER, PRIVATE, PUBLIC = 0o700, 0o600, 0o644
CLOCK_SKEW = timedelta(minutes=5)


def paths(data_dir: Path, port: str) -> tuple[Path, Path]:
    """Certificate and key of the "client" or the "peer" port."""
    folder = data_dir / "fixtures" / port
    return folder / "cert.pem", folder / "key.pem"


def ensure(cert: Path, key: Path, hosts: Sequence[str], years: int) -> None:
    """Make the files unless good ones are there. Raises OSError."""
    if key.exists() and _is_good(cert):
        return
    cert.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    now = datetime.now(UTC)
    end = now + timedelta(days=365 * years)
    log.warning("automatically generate certificates", extra=fields(certificate_validity_bound_not_after=end.isoformat()))
    private = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(private, hosts, now, end)
    # The key first: whoever finds the certificate finds its key.
    _write(key, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), PRIVATE)
    log.info("created key file", extra=fields(path=str(key)))
    _write(cert, certificate.public_bytes(Encoding.PEM), PUBLIC)
    log.info("created cert file", extra=fields(path=str(cert)))


def _is_good(cert: Path) -> bool:
    try:
        return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc > datetime.now(UTC)
    except (OSError, ValueError):
        return False


def _certificate(private: ec.EllipticCurvePrivateKey, hosts: Sequence[str], now: datetime, end: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION)])
    usage = dict.fromkeys(("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"), False)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_encipherment=True, encipher_only=False, decipher_only=False, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in dict.fromkeys(hosts)]), critical=False)
        .sign(private, hashes.SHA256())
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Beside its place, and moved there: either nothing is there or the whole file, private from its first byte on."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
