"""Endpoints: what a user writes, and the gRPC channels behind it."""

import ssl
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import grpc
import grpc.aio
from msgspec import Struct

from kvstore.client.tunnel import Tunnel

MESSAGE_BYTES_MAX = (1 << 31) - 1
_INT32_MAX = (1 << 31) - 1
REDIAL_MS_MIN, REDIAL_MS_MAX = 100, 1000
FILES_POLL_S = 0.5
"""How often certificates are looked at for changes, at most; and only when a call is made."""


class TlsFiles(Struct, frozen=True):
    """CA to check servers by, and our own certificate; file names, empty where there is none."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    skip_verify: bool = False
    """Take any server's certificate (etcdctl's --insecure-skip-tls-verify): what is said is hidden from others, but not from whoever answers."""

    def unchecking_context(self) -> ssl.SSLContext:
        """Raises OSError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        return context

    def credentials(self) -> grpc.ChannelCredentials:
        def content(name: str) -> bytes | None:
            return Path(name).read_bytes() if name else None

        return grpc.ssl_channel_credentials(content(self.ca), content(self.key), content(self.cert))

    def signature(self) -> tuple[object, ...]:
        """Something that changes when the content of one of the files does."""
        return tuple(_seen(name) for name in (self.ca, self.cert, self.key) if name)


def _seen(name: str) -> tuple[int, int, int] | None:
    try:
        status = Path(name).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class Endpoint(Struct, frozen=True):
    """`text` as the user wrote it; `target` as gRPC wants it."""

    text: str
    target: str
    secure: bool


def parse_endpoint(text: str, *, tls: bool) -> Endpoint:
    """http://host:port, https://host:port, unix:path or host:port; the last is secure if TLS files are given. Raises ValueError."""
    if text.startswith(("unix:", "unixs:")):
        scheme, _, path = text.partition(":")
        return Endpoint(text, "unix:" + path.removeprefix("//"), scheme == "unixs")
    if "://" not in text:
        return Endpoint(text, text, tls)
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"endpoint {text!r}: expected host:port, http://host:port or https://host:port")
    return Endpoint(text, parts.netloc, parts.scheme == "https")


class Channels:
    """One channel an endpoint, made when first used; `current` moves on when one does not answer.

    When a certificate changes on disk, later calls get a new channel; the calls and streams of before go on with the old one.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        tls: TlsFiles | None,
        keepalive_time_s: float = 0,
        keepalive_timeout_s: float = 20,
        response_bytes_max: int = 0,
    ) -> None:
        if not endpoints:
            raise ValueError("no endpoints: give at least one, for example 127.0.0.1:2379")
        self.endpoints = [parse_endpoint(text, tls=tls is not None) for text in endpoints]
        self._tls = tls
        self._response_bytes_max = response_bytes_max or MESSAGE_BYTES_MAX
        self._keepalive = _milliseconds(keepalive_time_s), _milliseconds(keepalive_timeout_s)
        self._channels: dict[int, grpc.aio.Channel] = {}
        self._retired: list[grpc.aio.Channel] = []
        self._tunnels: list[Tunnel] = []
        self.current = 0
        """Number of the endpoint that is used now."""
        self.failed_tries = 0
        """How often one did not answer, since the beginning."""
        self._files = None if tls is None else tls.signature()
        self._look_s = 0.0

    def __len__(self) -> int:
        return len(self.endpoints)

    def channel(self) -> grpc.aio.Channel:
        """To the endpoint that is used now."""
        if self._tls is not None and monotonic() >= self._look_s:
            self._look_at_files(self._tls)
        channel = self._channels.get(self.current)
        if channel is None:
            channel = self._channels[self.current] = self._connect(self.endpoints[self.current])
        return channel

    def _look_at_files(self, tls: TlsFiles) -> None:
        self._look_s = monotonic() + FILES_POLL_S
        files = tls.signature()
        if files != self._files:
            self._files = files
            self._retired += self._channels.values()
            self._channels.clear()

    def move_on(self, failed: int) -> None:
        """Endpoint number `failed` did not answer: use the next, unless that has happened already. Many calls fail at once when a member goes; if
        each of them moved on, they would come to the one that is gone again."""
        self.failed_tries += 1
        if failed == self.current:
            self.current = (failed + 1) % len(self.endpoints)

    def use(self, number: int) -> None:
        """From now on that endpoint."""
        self.current = number

    def _connect(self, endpoint: Endpoint) -> grpc.aio.Channel:
        options = [
            ("grpc.max_receive_message_length", self._response_bytes_max),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ("grpc.initial_reconnect_backoff_ms", REDIAL_MS_MIN),
            ("grpc.min_reconnect_backoff_ms", REDIAL_MS_MIN),
            ("grpc.max_reconnect_backoff_ms", REDIAL_MS_MAX),
            ("grpc.enable_retries", 0),
            # Two clients in one process must not share a connection: closing one would end the other's streams.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        interval_ms, timeout_ms = self._keepalive
        if interval_ms:
            options += [("grpc.keepalive_time_ms", interval_ms), ("grpc.keepalive_timeout_ms", timeout_ms)]
        if not endpoint.secure:
            return grpc.aio.insecure_channel(endpoint.target, options=options)
        if self._tls is not None and self._tls.skip_verify:
            tunnel = Tunnel(endpoint.target, self._tls.unchecking_context())
            self._tunnels.append(tunnel)
            return grpc.aio.insecure_channel(f"unix:{tunnel.path}", options=[*options, ("grpc.default_authority", endpoint.target)])
        return grpc.aio.secure_channel(endpoint.target, (self._tls or TlsFiles()).credentials(), options=options)

    async def close(self) -> None:
        for channel in (*self._retired, *self._channels.values()):
            await channel.close()
        for tunnel in self._tunnels:
            await tunnel.close()
        self._retired.clear()
        self._channels.clear()
        self._tunnels.clear()


def _milliseconds(span_s: float) -> int:
    """As gRPC takes them: in 32 bits, of which the highest, 24 days, says never."""
    return round(max(-_INT32_MAX, min(span_s * 1000, _INT32_MAX)))
