"""Files that change under a running server."""

import asyncio
import contextlib
import ssl

import pytest
from aiohttp import web

from apiserver.config import ConfigurationError
from apiserver.machinery.status import ApiError
from apiserver.streams.kubelets import Kubelets
from keelson.cogs.reloading import CallingTls, Reloading, ServingTls
from tests.support.authorities import CLIENTS, SERVERS, World


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

    reloading = Reloading(ConfigurationError)
    reloading.add("file", ("", str(path)), take)
    path.write_text("bad")
    assert (reloading.refresh(), reloading.refresh()) == ([], [])
    path.write_text("good again")
    assert (reloading.refresh(), reloading.refresh()) == (["file"], [])
    assert asked == ["bad", "bad", "good again"]


def test_a_node_with_a_certificate_of_a_new_authority_is_believed_and_shown_the_new_one(tmp_path):
    async def node(name):
        endpoint = {"kubeletEndpoint": {"Port": port_of[name]}}
        return {"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": endpoint}}

    async def seen(request):
        (pair,) = [value for part in request.transport.get_extra_info("peercert")["subject"] for key, value in part if key == "commonName"]
        return web.Response(text=pair)

    async def asked(name):
        async with kubelets.open(await kubelets.url(name, "/")) as answer:
            return await answer.text()

    async def test():
        async with contextlib.AsyncExitStack() as open_:
            for world in (old, new):
                app = web.Application()
                app.router.add_get("/", seen)
                runner = web.AppRunner(app, shutdown_timeout=0.1)
                await runner.setup()
                open_.push_async_callback(runner.cleanup)
                await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=world.serving()).start()
                port_of[world.folder.name] = runner.addresses[0][1]
            open_.push_async_callback(kubelets.close)
            assert await asked("old") == "client-of-old"
            with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
                await asked("new")
            new.copy_to(tmp_path, *CLIENTS)
            assert reloading.refresh() == ["nodes"]
            assert await asked("new") == "client-of-new"
            with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
                await asked("old")

    old, new = World(tmp_path, "old"), World(tmp_path, "new")
    old.copy_to(tmp_path, *CLIENTS)
    tls, reloading, port_of = CallingTls(*(str(tmp_path / name) for name in CLIENTS)), Reloading(), {}
    reloading.add("nodes", tls.paths, tls.refresh)
    kubelets = Kubelets(node, lambda: tls.newest)
    asyncio.run(test())
