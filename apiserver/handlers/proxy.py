"""The proxy subresources of pods, services and nodes: whatever HTTP asks, and upgrades, carried to the port that is meant and back.

The name may be `name`, `name:port` or `scheme:name:port` (pkg/registry/core/{pod,service,node}). The caller's credentials stay here: only
kubelets are talked to with a certificate, the API server's own.
"""

import asyncio
import ipaddress
import random
import ssl

import aiohttp
from aiohttp import web
from msgspec import Struct
from multidict import CIMultiDict
from yarl import URL

from apiserver.handlers.streams import copy
from apiserver.machinery.status import ApiError, bad_request, not_found
from apiserver.request import Reader
from apiserver.streams.duplex import READ_AHEAD_BYTES, Taken, TakenConnection
from apiserver.streams.kubelets import CONNECT_TIMEOUT_S, ERROR_BYTES_MAX, Kubelets, address_of, told
from apiserver.streams.remotecommand import either

HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
OURS = {"authorization", "host", "content-length", "x-remote-user", "x-remote-group", "x-remote-uid"}
"""Headers of a request that are meant for this server."""


class Target(Struct, frozen=True):
    url: URL
    """Scheme, host and port; no path."""
    tls: ssl.SSLContext | bool
    """False: any certificate will do, for a pod's says nothing about who it is."""


class Named(Struct, frozen=True):
    scheme: str
    name: str
    port: str


def split(text: str) -> Named:
    """`name`, `name:port`, `scheme:name:port` (apimachinery SplitSchemeNamePort). Raises ApiError."""
    parts = text.split(":")
    if len(parts) == 1:
        named = Named("", parts[0], "")
    elif len(parts) == 2:
        named = Named("", parts[0], parts[1])
    elif len(parts) == 3:
        named = Named(parts[0], parts[1], parts[2])
    else:
        named = Named("?", "", "")
    if named.scheme not in ("", "http", "https") or not named.name:
        raise bad_request(f'invalid request "{text}"')
    return named


class Proxies:
    def __init__(self, kubelets: Kubelets, reader: Reader, chance: random.Random | None = None) -> None:
        self._kubelets, self._reader = kubelets, reader
        self._chance = chance or random.Random()

    def target(self, resource: str, namespace: str, text: str) -> Target:
        """Where a request for pods, services or nodes goes. Raises ApiError."""
        named = split(text)
        if resource == "pods":
            return self._pod(namespace, named)
        if resource == "services":
            return self._service(namespace, named)
        return self._node(named)

    def _pod(self, namespace: str, named: Named) -> Target:
        pod = self._reader.get("pods", namespace, named.name)
        if pod is None:
            raise not_found("", "pods", named.name)
        ports = [port["containerPort"] for container in (pod.get("spec") or {}).get("containers") or () for port in container.get("ports") or ()]
        address = (pod.get("status") or {}).get("podIP") or ""
        _check_address(address)
        return _target(named.scheme, address, named.port or (str(ports[0]) if ports else ""))

    def _service(self, namespace: str, named: Named) -> Target:
        service = self._reader.get("services", namespace, named.name)
        if service is None:
            raise not_found("", "services", named.name)
        port_name = named.port
        ports = (service.get("spec") or {}).get("ports") or ()
        if port_name.isdigit():
            found = next((each for each in ports if each.get("port") == int(port_name)), None)
            if found is None:
                raise ApiError("ServiceUnavailable", f'no service port {port_name} found for service "{named.name}"')
            port_name = found.get("name") or ""
        places = [place for place in endpoints(self._reader, namespace, named.name) if place[0] == port_name]
        if not places:
            raise ApiError("ServiceUnavailable", f'no endpoints available for service "{named.name}"')
        _, address, port = self._chance.choice(places)
        _check_address(address)
        return _target(named.scheme, address, str(port))

    def _node(self, named: Named) -> Target:
        node = self._reader.get("nodes", "", named.name)
        if node is None:
            raise not_found("", "nodes", named.name)
        host, port = address_of(node)
        if named.port in ("", str(port)):
            tls = self._kubelets.tls
            return Target(URL.build(scheme="https" if tls else "http", host=host, port=port), tls or True)
        return _target(named.scheme, host, named.port)

    async def serve(self, request: web.BaseRequest, resource: str, namespace: str, name: str, path: str) -> web.StreamResponse:
        """`path` is what follows `/proxy`, empty or with its slash, still quoted as the client wrote it."""
        target = self.target(resource, namespace, name)
        if not path and request.method in ("GET", "HEAD"):
            query = f"?{request.query_string}" if request.query_string else ""
            return web.Response(status=301, headers={"Location": f"{request.rel_url.raw_path}/{query}"})
        query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
        url = URL(f"{str(target.url).rstrip('/')}/{path.removeprefix('/')}{query}", encoded=True)
        headers = _sent(request)
        if "upgrade" in request.headers.get("Connection", "").lower():
            return await _upgraded(request, url, target.tls, headers)
        prefix = request.rel_url.raw_path[: len(request.rel_url.raw_path) - len(path)]
        headers["X-Forwarded-Uri"] = request.rel_url.raw_path
        return await self._passed(request, url, target, headers, prefix)

    async def _passed(self, request: web.BaseRequest, url: URL, target: Target, headers: CIMultiDict[str], prefix: str) -> web.StreamResponse:
        body = request.content if request.body_exists else None
        if request.content_length is not None and body is not None:
            headers["Content-Length"] = str(request.content_length)
        try:
            said = await self._kubelets.session().request(
                request.method,
                url,
                headers=headers,
                data=body,
                allow_redirects=False,
                ssl=target.tls,
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError("ServiceUnavailable", f"error trying to reach service: {told(error, url)}") from None
        async with said:
            answer = web.StreamResponse(status=said.status, reason=said.reason)
            for name, value in said.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    answer.headers.add(name, _relocated(value, url, prefix) if name.lower() == "location" else value)
            await answer.prepare(request)
            if request.method != "HEAD":
                await copy(said.content, answer, request)
        return answer


def endpoints(reader: Reader, namespace: str, service: str) -> list[tuple[str, str, int]]:
    """(name of the port, address, port) of everything that is ready behind a service."""
    found: list[tuple[str, str, int]] = []
    for slice_ in reader.list("endpointslices.discovery.k8s.io", namespace):
        if ((slice_["metadata"].get("labels")) or {}).get("kubernetes.io/service-name") != service:
            continue
        for endpoint in slice_.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            found += [
                (port.get("name") or "", endpoint["addresses"][0], int(port["port"]))
                for port in slice_.get("ports") or ()
                if port.get("protocol", "TCP") == "TCP" and port.get("port")
            ]
    return found


def _target(scheme: str, host: str, port: str) -> Target:
    if port and not (port.isdigit() and 0 < int(port) < 1 << 16):
        raise bad_request(f'invalid port "{port}"')
    return Target(URL.build(scheme=scheme or "http", host=host, port=int(port) if port else None), False)


def _check_address(text: str) -> None:
    """A pod says itself what its address is: it shall not lead into this machine or a cloud's metadata (proxyutil.IsProxyableIP)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise bad_request("address not allowed") from None
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise bad_request("address not allowed")


def _sent(request: web.BaseRequest) -> CIMultiDict[str]:
    kept = CIMultiDict(
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in HOP_BY_HOP | OURS and not name.lower().startswith(("impersonate-", "x-remote-extra-"))
    )
    if request.remote:
        kept["X-Forwarded-For"] = ", ".join([*request.headers.getall("X-Forwarded-For", []), request.remote])
    kept["X-Forwarded-Host"] = request.host
    kept["X-Forwarded-Proto"] = request.scheme
    return kept


def _relocated(location: str, url: URL, prefix: str) -> str:
    """A redirect within what is proxied stays within it."""
    there = URL(location, encoded=True)
    if there.absolute and (there.host, there.port) != (url.host, url.port):
        return location
    if not there.absolute and not location.startswith("/"):
        return location
    return f"{prefix}{there.raw_path}{'?' + there.raw_query_string if there.raw_query_string else ''}"


async def _upgraded(request: web.BaseRequest, url: URL, tls: ssl.SSLContext | bool, headers: CIMultiDict[str]) -> web.StreamResponse:
    """Any upgrade: the heads are exchanged, then bytes both ways."""
    headers["Connection"], headers["Upgrade"] = "Upgrade", request.headers.get("Upgrade", "")
    headers["Host"] = url.authority
    context = (tls if isinstance(tls, ssl.SSLContext) else _unverified()) if url.scheme == "https" else None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(url.host, url.port, ssl=context, limit=READ_AHEAD_BYTES)
    except (OSError, TimeoutError) as error:
        raise ApiError("ServiceUnavailable", f"error dialing backend: {told(error, url)}") from None
    try:
        lines = [f"{request.method} {url.raw_path_qs} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            raise ApiError("ServiceUnavailable", "error trying to reach service: the answer to the upgrade broke off") from None
        status, *fields = head.rstrip("\r\n").split("\r\n")
        code = status.split(" ", 2)[1] if status.count(" ") else "502"
        if code != "101":
            text = await _rest(reader)
            return web.Response(status=int(code) if code.isdigit() else 502, body=text)
        connection = TakenConnection(request)
        connection.switch({name: value.strip() for name, _, value in (line.partition(":") for line in fields)})
        await _spliced(connection, reader, writer)
        await connection.close()
        return Taken()
    finally:
        writer.close()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(1.0):
            return await reader.read(ERROR_BYTES_MAX)
    except TimeoutError:
        return b""


async def _spliced(connection: TakenConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def up() -> None:
        while data := await connection.read():
            writer.write(data)
            await writer.drain()

    async def down() -> None:
        while data := await reader.read(READ_AHEAD_BYTES):
            await connection.write(data)

    await either(up(), down())


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
