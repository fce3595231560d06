"""The small HTTP server of every agent: /healthz, /livez, /readyz, /metrics, /version (component-base's healthz and metrics).

With certificate files it speaks TLS with them; without, with a certificate that signs itself and lives as long as the process, as upstream's
programs do.
"""

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from msgspec import Struct

Check = Callable[[], str]
"""Empty, or what is wrong."""
STOP_S = 1.0


class Address(Struct, frozen=True):
    """`port` 0 serves nothing. `tls` False is plain HTTP (kubelet's --healthz-port)."""

    host: str
    port: int
    tls: bool = True
    certificate: str = ""
    key: str = ""


class Pages:
    """What is served. Checks may be added while it runs."""

    def __init__(self) -> None:
        self.health: dict[str, Check] = {"ping": lambda: ""}
        self.readiness: dict[str, Check] = {}
        self.metrics: list[Callable[[], Iterable[Any]]] = []
        self.routes: list[web.RouteDef] = []
        """Further pages of a program; given before it starts."""

    def application(self) -> web.Application:
        app = web.Application()
        for path in ("/healthz", "/livez"):
            app.router.add_get(path, self._alive)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_routes(self.routes)
        return app

    async def _alive(self, request: web.Request) -> web.Response:
        return _health(request, self.health)

    async def _ready(self, request: web.Request) -> web.Response:
        return _health(request, {**self.health, **self.readiness})

    async def _metrics(self, request: web.Request) -> web.Response:
        from keelson.cogs import exposition  # 15 ms: paid by the first who asks

        found = [metric for collect in self.metrics for metric in collect()]
        return web.Response(body=exposition.text_of(found), headers={"Content-Type": exposition.TEXT})


def _health(request: web.Request, checks: Mapping[str, Check]) -> web.Response:
    told = {name: check() for name, check in checks.items() if name not in request.query.getall("exclude", [])}
    failed = any(told.values())
    if not failed and "verbose" not in request.query:
        return web.Response(text="ok")
    name = request.path.strip("/")
    # Reasons stay in the log upstream; here whoever may ask may know.
    lines = [f"[-]{check} failed: {why}" if why else f"[+]{check} ok" for check, why in told.items()]
    lines.append(f"{name} check {'failed' if failed else 'passed'}")
    return web.Response(status=500 if failed else 200, text="\n".join(lines) + "\n")


@contextlib.asynccontextmanager
async def serving(pages: Pages, *addresses: Address) -> AsyncIterator[None]:
    """Serves while the block runs. Raises OSError for a port that is taken, ssl.SSLError for files that are no certificate."""
    runner = web.AppRunner(pages.application(), access_log=None, shutdown_timeout=STOP_S)
    await runner.setup()
    try:
        for address in addresses:
            if address.port:
                context = await asyncio.to_thread(_tls, address) if address.tls else None
                await web.TCPSite(runner, address.host, address.port, ssl_context=context, reuse_address=True).start()
        yield
    finally:
        await runner.cleanup()


def _tls(address: Address) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if address.certificate:
        context.load_cert_chain(address.certificate, address.key or None)
        return context
    with tempfile.NamedTemporaryFile() as file:  # the ssl module loads from files alone
        file.write(self_signed(datetime.now(UTC)))
        file.flush()
        context.load_cert_chain(file.name)
    return context


def self_signed(now: datetime) -> bytes:
    """A key and a certificate for localhost, PEM, good for a year."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return secret + certificate.public_bytes(serialization.Encoding.PEM)
