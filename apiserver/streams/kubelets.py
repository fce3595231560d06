"""The way to the nodes: where a node's kubelet listens, and connections to it with the API server's own certificate."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from apiserver.machinery.objects import Object
from apiserver.machinery.status import ApiError, details

NodeReader = Callable[[str], Awaitable[Object | None]]
"""The Node of a name, as new as the cache has it."""
CONNECT_TIMEOUT_S = 5.0
KEEPALIVE_S = 15
"""A node that has vanished is noticed by TCP after about four times this long, also under a stream on which nobody says anything."""
MESSAGE_BYTES_MAX = 1 << 20
ERROR_BYTES_MAX = 10_000
"""How much of a kubelet's error goes into ours."""
REMOTE_COMMAND = "v5.channel.k8s.io"
ADDRESS_TYPES = ("InternalIP", "Hostname", "InternalDNS", "ExternalIP", "ExternalDNS")
"""In the order in which they are preferred (--kubelet-preferred-address-types)."""


class Refused(Exception):
    """The kubelet answered, but not with the stream that was asked for."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def address_of(node: Object) -> tuple[str, int]:
    """Host and port of the kubelet. Raises ApiError if the node names none."""
    status = node.get("status") or {}
    addresses = {each.get("type"): each.get("address") for each in reversed(status.get("addresses") or ())}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or 10250
    for kind in ADDRESS_TYPES:
        if found := addresses.get(kind):
            return found, int(port)
    name = (node.get("metadata") or {}).get("name")
    raise ApiError("InternalError", f"no preferred addresses found for node {name!r}; known addresses: []")


class Kubelets:
    """One per API server. `newest_tls` holds the client certificate and the authority of the kubelets' certificates, as their files are now; None
    speaks plain HTTP (tests)."""

    def __init__(self, node: NodeReader, newest_tls: Callable[[], ssl.SSLContext] | None) -> None:
        self._node = node
        self._newest_tls = newest_tls
        self._session: aiohttp.ClientSession | None = None

    @property
    def tls(self) -> ssl.SSLContext | None:
        """For the next connection. One that was made with another goes to nobody any more: a pool keeps them apart."""
        return self._newest_tls() if self._newest_tls is not None else None

    async def url(self, node_name: str, path: str, query: Sequence[tuple[str, str]] = ()) -> URL:
        node = await self._node(node_name)
        if node is None:
            raise ApiError("NotFound", f'nodes "{node_name}" not found', details=details("", "nodes", node_name))
        host, port = address_of(node)
        return URL.build(scheme="https" if self._newest_tls else "http", host=host, port=port, path=path).with_query(list(query) or None)

    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, socket_factory=_socket)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                auto_decompress=False,
                headers={"Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                raise_for_status=_insist_on_upgrade,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def open(self, url: URL) -> AsyncIterator[aiohttp.ClientResponse]:
        """A GET whose answer is read as it comes. Raises ApiError if the node does not answer."""
        try:
            answer = await self.session().get(url, ssl=self.tls or True)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError("InternalError", f'Get "{url}": {told(error, url)}') from None
        async with answer:
            yield answer

    async def socket(self, url: URL, protocol: str = REMOTE_COMMAND) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket to a kubelet. Raises Refused with what the kubelet says against it, or that it cannot be reached."""
        try:
            protocols = (protocol,) if protocol else ()
            return await self.session().ws_connect(url, protocols=protocols, max_msg_size=MESSAGE_BYTES_MAX, compress=0, ssl=self.tls or True)
        except aiohttp.WSServerHandshakeError as error:
            raise Refused(error.status, f"the kubelet's upgrade is not one: {error.message}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Refused(502, f"error dialing backend: {told(error, url)}") from None


async def _insist_on_upgrade(answer: aiohttp.ClientResponse) -> None:
    """aiohttp throws the body of a refused upgrade away, and that is where the reason stands."""
    if "Upgrade" in answer.request_info.headers and answer.status != 101:
        text = (await answer.content.read(ERROR_BYTES_MAX)).decode(errors="replace").strip()
        raise Refused(answer.status, text or f"the kubelet answered {answer.status}")


def told(error: BaseException, url: URL) -> str:
    """As Go words a failed connection."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return f"dial tcp {url.host}:{url.port}: connect: connection refused"
    if isinstance(error, TimeoutError):
        return f"dial tcp {url.host}:{url.port}: i/o timeout"
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, OSError) and error.os_error.strerror:
        return f"dial tcp {url.host}:{url.port}: {error.os_error.strerror}"
    return str(error) or repr(error)


def _socket(info: tuple[int, int, int, str, object]) -> socket.socket:
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    return made
