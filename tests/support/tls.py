"""Certificates for a test cluster: one CA, and a server, a peer and a client certificate for loopback."""

import subprocess
from pathlib import Path

from msgspec import Struct

SANS = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"


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

    def etcdctl_env(self) -> dict[str, str]:
        return {"ETCDCTL_CACERT": str(self.ca), "ETCDCTL_CERT": str(self.client_cert), "ETCDCTL_KEY": str(self.client_key)}


def _openssl(*args: str) -> None:
    subprocess.run(["openssl", *args], check=True, capture_output=True, timeout=60)


def make(folder: Path, client_name: str = "test-client") -> TlsFiles:
    """Make a CA of its own in `folder` and sign a certificate of each use with it."""
    folder.mkdir(parents=True, exist_ok=True)
    ca, ca_key = folder / "ca.crt", folder / "ca.key"
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl("req", "-x509", *new_key, "-keyout", str(ca_key), "-out", str(ca), "-days", "2", "-subj", "/CN=keelson test CA")
    for use, name, usage in (
        ("server", "server", "serverAuth,clientAuth"),  # etcd dials its own client port for the gateway with this one
        ("peer", "peer", "serverAuth,clientAuth"),
        ("client", client_name, "clientAuth"),
    ):
        key, request, cert, extensions = (str(folder / f"{use}.{suffix}") for suffix in ("key", "csr", "crt", "ext"))
        Path(extensions).write_text(f"{SANS}\nextendedKeyUsage={usage}\n")
        _openssl("req", *new_key, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        signer = ("-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *signer, "-days", "2", "-extfile", extensions, "-out", cert)
    parts = (("cert", "crt"), ("key", "key"))
    files = {f"{use}_{part}": folder / f"{use}.{suffix}" for use in ("server", "peer", "client") for part, suffix in parts}
    return TlsFiles(ca=ca, **files)
