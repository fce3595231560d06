"""Files that change under a running server."""

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime

import pytest

from apiserver.config import ConfigurationError
from apiserver.reloading import Reloading, ServingTls
from certs import authority
from certs.profiles import CLIENT, SERVING

NOW = datetime.now(UTC)


class World:
    """An authority with a server's and a client's certificate in `folder`."""

    def __init__(self, folder, name):
        self.folder = folder / name
        self.folder.mkdir()
        self.ca = authority.create(name, NOW)
        (self.folder / "ca.crt").write_bytes(self.ca.certificate_pem())
        self._leaf("server", authority.issue(self.ca, SERVING, "server", ["127.0.0.1"], NOW))
        self._leaf("client", authority.issue(self.ca, CLIENT, f"client-of-{name}", [], NOW))

    def _leaf(self, name, pair):
        (self.folder / f"{name}.crt").write_bytes(pair.certificate_pem())
        (self.folder / f"{name}.key").write_bytes(pair.key_pem())

    def copy_to(self, folder, *names):
        for name in names:
            (folder / name).write_bytes((self.folder / name).read_bytes())

    def calling(self):
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / "client.crt", self.folder / "client.key")
        return context


SERVERS = ("ca.crt", "server.crt", "server.key")


async def who(port, context):
    """The client's name as the server saw it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


async def tell(_, writer):
    certificate = writer.get_extra_info("peercert") or {}
    writer.write(str([value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]).encode() + b"\n")
    await writer.drain()
    writer.close()


def test_new_connections_go_on_with_the_new_certificate_and_the_new_authority(tmp_path):
    async def test():
        old, new = World(tmp_path, "old"), World(tmp_path, "new")
        old.copy_to(tmp_path, *SERVERS)
        tls = ServingTls(*(str(tmp_path / name) for name in ("server.crt", "server.key", "ca.crt")))
        reloading = Reloading()
        reloading.add("tls", tls.paths, tls.refresh)
        server = await asyncio.start_server(tell, "127.0.0.1", 0, ssl=tls.listen)
        port = server.sockets[0].getsockname()[1]
        async with server:
            assert await who(port, old.calling()) == "['client-of-old']"
            assert reloading.refresh() == []
            new.copy_to(tmp_path, *SERVERS)
            assert reloading.refresh() == ["tls"]
            assert await who(port, new.calling()) == "['client-of-new']"
            with pytest.raises(ssl.SSLError):
                await who(port, old.calling())
            stranger = ssl.create_default_context(cafile=str(new.folder / "ca.crt"))
            stranger.load_cert_chain(old.folder / "client.crt", old.folder / "client.key")
            with contextlib.suppress(ssl.SSLError, ConnectionError):  # the alert may come before the end, or not
                assert await who(port, stranger) == ""

    asyncio.run(test())


def test_half_a_pair_is_not_taken_and_looked_at_again(tmp_path, caplog):
    old, new = World(tmp_path, "old"), World(tmp_path, "new")
    old.copy_to(tmp_path, *SERVERS)
    tls = ServingTls(*(str(tmp_path / name) for name in ("server.crt", "server.key", "ca.crt")))
    reloading = Reloading()
    reloading.add("tls", tls.paths, tls.refresh)
    new.copy_to(tmp_path, "server.crt")
    assert reloading.refresh() == []
    assert "staying with what they held before" in caplog.text
    new.copy_to(tmp_path, "server.key")
    assert reloading.refresh() == ["tls"]


def test_what_is_refused_is_asked_for_again(tmp_path):
    path = tmp_path / "file"
    path.write_text("1")
    asked = []

    def take():
        asked.append(path.read_text())
        if path.read_text() == "bad":
            raise ConfigurationError("it is bad")

    reloading = Reloading()
    reloading.add("file", ("", str(path)), take)
    path.write_text("bad")
    assert (reloading.refresh(), reloading.refresh()) == ([], [])
    path.write_text("good again")
    assert (reloading.refresh(), reloading.refresh()) == (["file"], [])
    assert asked == ["bad", "bad", "good again"]
