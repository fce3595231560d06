"""A webhook behind TLS: keeps what it is asked and answers what the test says."""

import asyncio
import base64
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from certs import authority
from certs.profiles import SERVING


class Server:
    """A webhook with a certificate of its own."""

    def __init__(self, folder: Path, reply: Any) -> None:
        now = datetime.now(UTC)
        ca = authority.create("webhooks", now)
        pair = authority.issue(ca, SERVING, "w", ["w.ns.svc", "127.0.0.1"], now)
        (folder / "w.crt").write_bytes(pair.certificate_pem())
        (folder / "w.key").write_bytes(pair.key_pem())
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(folder / "w.crt", folder / "w.key")
        self.bundle = base64.b64encode(ca.certificate_pem()).decode()
        self.reply = reply
        self.reviews: list[dict[str, Any]] = []

    async def __aenter__(self) -> "Server":
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            review = msgspec.json.decode(await request.read())
            self.reviews.append(review)
            return self.reply(review)

        self._server = web.Server(handle)  # type: ignore[arg-type]
        self._listener = await asyncio.get_running_loop().create_server(self._server, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        await self._server.shutdown(1)
