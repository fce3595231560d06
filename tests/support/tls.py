"""Certificates for a test cluster: one CA, and a server, a peer and a client certificate for loopback."""

from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from certs import bundle
from certs.profiles import CLIENT, PEER, SERVER


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
