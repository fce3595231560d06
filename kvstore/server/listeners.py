"""Client listeners (HTTP/1.1 and HTTP/2 through h2corn) and TLS contexts for peers."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h2corn
import h2corn._lib

from kvstore.server.config import TlsFiles

HEADER_FIELDS_MAX = 100
HEADER_BYTES_MAX = 64 << 10
STREAMS_MAX = (1 << 32) - 1
GRACE_S = 1.0

# The server announces itself on standard error, which here belongs to the log.
h2corn._lib.emit_banner = lambda *_: None


def make_servers(
    app: Any, listening: Sequence[tuple[str, socket.socket]], tls: TlsFiles, streams_max: int, body_bytes_max: int
) -> list[h2corn.Server]:
    """One server for the clear URLs and one for those with TLS, on sockets that are open already; both serve the same application."""
    servers = []
    for scheme in ("http", "https"):
        bind = [f"fd://{listener.fileno()}" for url, listener in listening if urlsplit(url).scheme == scheme]
        if not bind:
            continue
        secure: dict[str, Any] = {}
        if scheme == "https":
            secure = {"certfile": Path(tls.cert), "keyfile": Path(tls.key)}
            if tls.ca:
                secure |= {"ca_certs": Path(tls.ca), "cert_reqs": "required" if tls.require_client else "optional"}
        config = h2corn.Config(
            bind=tuple(bind),
            grpc=True,
            # One Rust thread beside the one event loop: it needs a third of the loop's time a request, and a second one only adds wake-ups
            # (reads of one key, 200 in flight: 44 to 35 us of processor time a request over three members; one at a time: 310 to 275).
            runtime_threads=1,
            access_log=False,
            lifespan="off",
            date_header=False,
            server_header="off",
            max_concurrent_streams=min(streams_max, STREAMS_MAX),
            max_request_body_size=body_bytes_max,
            limit_request_fields=HEADER_FIELDS_MAX,
            h2_max_header_list_size=HEADER_BYTES_MAX,
            limit_request_head_size=HEADER_BYTES_MAX,
            timeout_graceful_shutdown=GRACE_S,
            # A watch may be silent for days, in both directions.
            h2_timeout_response_stall=0.0,
            timeout_keep_alive=0.0,
            **secure,
        )
        servers.append(h2corn.Server(app, config))
    return servers


async def serve(servers: Sequence[h2corn.Server], group: asyncio.TaskGroup) -> None:
    """Start them and return once they accept connections. Raises OSError if an address cannot be had."""
    for server in servers:
        group.create_task(_run(server), name=f"listener {server.config.bind}")
        await server.wait_started()


async def _run(server: h2corn.Server) -> None:
    await server.serve()


def peer_listen_context(tls: TlsFiles) -> ssl.SSLContext | None:
    """For peers that call us; client certificates are asked for when a CA is given, and required when the flag says so."""
    if not tls.given:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.cert, tls.key)
    if tls.ca:
        context.load_verify_locations(tls.ca)
        context.verify_mode = ssl.CERT_REQUIRED if tls.require_client else ssl.CERT_OPTIONAL
    return context


def peer_dial_context(tls: TlsFiles) -> ssl.SSLContext:
    """For calling peers: their certificate must be of the CA and name the host of their URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.ca:
        context.load_verify_locations(tls.ca)
    else:
        context.load_default_certs()
    if tls.given:
        context.load_cert_chain(tls.cert, tls.key)
    return context
