"""Certificates for a test cluster: one CA, and a server, a peer and a client certificate for loopback."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct
from msgspec.structs import replace

from certs import authority, bundle, files
from certs.profiles import CLIENT, LOOPBACK, PEER, PROFILES, SERVER


class TlsFiles(Struct, frozen=True):
    ca: Path
    server_cert: Path
    server_key: Path
    peer_cert: Path
    peer_key: Path
    client_cert: Path
    client_key: Path

    def server_flags(self) -> list[str]:
        """etcd's flags for mutual TLS on both ports."""
        return [
            f"--cert-file={self.server_cert}",
            f"--key-file={self.server_key}",
            f"--trusted-ca-file={self.ca}",
            "--client-cert-auth",
            f"--peer-cert-file={self.peer_cert}",
            f"--peer-key-file={self.peer_key}",
            f"--peer-trusted-ca-file={self.ca}",
            "--peer-client-cert-auth",
        ]


def make(folder: Path) -> TlsFiles:
    """A CA of its own in `folder`, and what it signs: one server and one peer certificate for all members, one for clients."""
    made = bundle.ensure(folder, ["any"], datetime.now(UTC))
    return TlsFiles(
        ca=made.ca,
        server_cert=made.certificate(SERVER, "any"),
        server_key=made.key(SERVER, "any"),
        peer_cert=made.certificate(PEER, "any"),
        peer_key=made.key(PEER, "any"),
        client_cert=made.certificate(CLIENT, bundle.ADMIN),
        client_key=made.key(CLIENT, bundle.ADMIN),
    )


def issue(
    tls: TlsFiles, folder: Path, name: str, profile: str = "client", hosts: Sequence[str] = (), begins: timedelta = timedelta(), days: int = 30
) -> TlsFiles:
    """Files as `tls` has them, with another certificate for one side, signed by the same authority.

    `begins` from now, for those that are not valid yet, or no more.
    """
    ca = files.read(tls.ca.parent, bundle.CA)
    wanted = hosts or (LOOPBACK if PROFILES[profile].needs_hosts else ())
    pair = authority.issue(ca, PROFILES[profile], name, wanted, datetime.now(UTC) + begins, days)
    files.write(folder, name, pair, overwrite=True)
    cert, key = files.certificate_path(folder, name), files.key_path(folder, name)
    return replace(tls, **{f"{profile}_cert": cert, f"{profile}_key": key})


def revocation_list(tls: TlsFiles, path: Path, revoked: Sequence[Path], encoding: Encoding = Encoding.PEM) -> Path:
    """Of the authority in `tls`, with the certificates in these files."""
    ca = files.read(tls.ca.parent, bundle.CA)
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject).last_update(now).next_update(now + timedelta(days=1))
    for each in revoked:
        serial = files.read_certificate(each).serial_number
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build())
    files.write_atomically(path, builder.sign(ca.key, hashes.SHA256()).public_bytes(encoding), 0o644)
    return path
