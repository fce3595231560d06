"""An authority with a server's and a client's certificate, to be put in the place of another one's."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from certs import authority
from certs.authority import Pair
from certs.profiles import CLIENT, SERVING

NOW = datetime.now(UTC)
CLIENTS = ("ca.crt", "client.crt", "client.key")
SERVERS = ("ca.crt", "server.crt", "server.key")


class World:
    """An authority with a server's and a client's certificate in `folder`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.ca = authority.create(name, NOW)
        (self.folder / "ca.crt").write_bytes(self.ca.certificate_pem())
        self._leaf("server", authority.issue(self.ca, SERVING, "server", ["127.0.0.1"], NOW))
        self._leaf("client", authority.issue(self.ca, CLIENT, f"client-of-{name}", [], NOW))

    def _leaf(self, name: str, pair: Pair) -> None:
        (self.folder / f"{name}.crt").write_bytes(pair.certificate_pem())
        (self.folder / f"{name}.key").write_bytes(pair.key_pem())

    def copy_to(self, folder: Path, *names: str) -> None:
        for name in names:
            (folder / name).write_bytes((self.folder / name).read_bytes())

    def serving(self) -> ssl.SSLContext:
        """As a kubelet of this authority: who calls has to be of it, too."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def calling(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / "client.crt", self.folder / "client.key")
        return context
