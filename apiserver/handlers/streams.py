"""pods/log, exec, attach and portforward: checked here as upstream's pkg/registry/core/pod does, then carried to the pod's kubelet and back.

Each handler takes the request and the pod it is about; who may do it has been decided before. Faults raise ApiError, in Kubernetes' words.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime

import aiohttp
from aiohttp import web
from multidict import MultiMapping
from yarl import URL

from apiserver.machinery.objects import Object, name_of, namespace_of
from apiserver.machinery.status import ApiError, Cause, bad_request, details, invalid, invalid_value
from apiserver.streams import remotecommand
from apiserver.streams.duplex import SocketBytes, Taken, TakenConnection
from apiserver.streams.kubelets import ERROR_BYTES_MAX, MESSAGE_BYTES_MAX, Kubelets, Refused
from apiserver.streams.portforward import PORTS_MAX, Forwarder, forward_channels, forward_streams
from apiserver.streams.session import Session

SPDY = "SPDY/3.1"
PORT_FORWARD = "portforward.k8s.io"
TUNNEL = f"{SPDY}+{PORT_FORWARD}"
VERSION_HEADER = "X-Stream-Protocol-Version"
GONE_CHECK_S = 5.0
"""How soon a client that left a silent log is noticed."""
LOG_FLAGS = ("follow", "previous", "timestamps")
LOG_NUMBERS = {"sinceSeconds": 1, "tailLines": 0, "limitBytes": 1}
"""Parameters of pods/log that are numbers, and the least each may be (ValidatePodLogOptions)."""
LOG_STREAMS = ("All", "Stdout", "Stderr")


class Streams:
    """The handlers, one set per API server."""

    def __init__(self, kubelets: Kubelets) -> None:
        self._kubelets = kubelets

    async def close(self) -> None:
        await self._kubelets.close()

    async def log(self, request: web.BaseRequest, pod: Object) -> web.StreamResponse:
        query = log_query(request.query)
        container = container_of(pod, request.query.get("container", ""))
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        node = pod["spec"].get("nodeName")
        if not node:
            await answer.prepare(request)  # a pod on no node has said nothing yet
            return answer
        url = await self._kubelets.url(node, f"/containerLogs/{namespace_of(pod)}/{name_of(pod)}/{container}", query)
        async with self._kubelets.open(url) as said:
            if said.status != 200:
                text = (await said.content.read(ERROR_BYTES_MAX)).decode(errors="replace").strip()
                raise from_kubelet(said.status, text, name_of(pod))
            await answer.prepare(request)
            await copy(said.content, answer, request)
        return answer

    async def exec(self, request: web.BaseRequest, pod: Object) -> web.StreamResponse:
        commands = request.query.getall("command", [])
        if not commands:
            raise bad_request("you must specify at least 1 command to execute")
        return await self._remote_command(request, pod, "exec", [("command", each) for each in commands])

    async def attach(self, request: web.BaseRequest, pod: Object) -> web.StreamResponse:
        return await self._remote_command(request, pod, "attach", [])

    async def portforward(self, request: web.BaseRequest, pod: Object) -> web.StreamResponse:
        _node_of(pod)
        forwarder = Forwarder(self._kubelets, pod)
        if _upgrade(request) == "websocket":
            offered = _offered(request)
            if TUNNEL in offered:
                socket = await _socket(request, (TUNNEL,))
                await forward_streams(Session(SocketBytes(socket)), forwarder)
                await socket.close()
                return socket
            ports = ports_of(request.query)
            socket = await _socket(request, (remotecommand.V4,))
            await forward_channels(socket, ports, forwarder)
            return socket
        connection = _switch_to_spdy(request, (PORT_FORWARD,))
        await forward_streams(Session(connection), forwarder)
        await connection.close()
        return Taken()

    # --- exec and attach --------------------------------------------------------------------------------------------------

    async def _remote_command(self, request: web.BaseRequest, pod: Object, path: str, query: list[tuple[str, str]]) -> web.StreamResponse:
        wanted = {name for name in ("stdin", "stdout", "stderr", "tty") if is_true(request.query.get(name))}
        if not wanted & {"stdin", "stdout", "stderr"}:
            raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
        if "tty" in wanted:
            wanted.discard("stderr")  # a terminal has one output
        container = container_of(pod, request.query.get("container", ""))
        node = _node_of(pod)
        flags = [(name, "1") for name in ("stdin", "stdout", "stderr", "tty") if name in wanted]
        url = await self._kubelets.url(node, f"/{path}/{namespace_of(pod)}/{name_of(pod)}/{container}", [*query, *flags])
        kind = _upgrade(request)
        if kind == "websocket" and not set(_offered(request)) & set(remotecommand.SOCKET_PROTOCOLS):
            raise bad_request(f"unable to upgrade: client offers {_offered(request)}, server accepts {list(remotecommand.SOCKET_PROTOCOLS)}")
        if kind == "websocket":
            return await self._to_socket(request, url)
        return await self._to_spdy(request, url, wanted)

    async def _to_socket(self, request: web.BaseRequest, url: URL) -> web.StreamResponse:
        """The client's upgrade comes first: kubectl takes a refused one for a server without WebSockets and tries SPDY."""
        socket = await _socket(request, remotecommand.SOCKET_PROTOCOLS)
        client = remotecommand.SocketClient(socket)
        try:
            kubelet = await self._kubelets.socket(url)
        except Refused as refused:
            await remotecommand.tell(client, _unupgraded(refused))
            await client.finish()
            return socket
        try:
            await remotecommand.bridge(client, kubelet)
        finally:
            await kubelet.close()
        return socket

    async def _to_spdy(self, request: web.BaseRequest, url: URL, wanted: set[str]) -> web.StreamResponse:
        _check_spdy(request, remotecommand.SPDY_PROTOCOLS)
        try:
            kubelet = await self._kubelets.socket(url)
        except Refused as refused:
            if refused.status == 502:
                raise _unupgraded(refused) from None
            return web.Response(status=refused.status, text=refused.text)
        try:
            connection = _switch_to_spdy(request, remotecommand.SPDY_PROTOCOLS)
            await _serve_spdy(Session(connection), kubelet, wanted)
            await connection.close()
        finally:
            await kubelet.close()
        return Taken()


async def _serve_spdy(session: Session, kubelet: aiohttp.ClientWebSocketResponse, wanted: set[str]) -> None:
    channels = {remotecommand.CHANNELS[name] for name in wanted if name != "tty"} | {remotecommand.ERROR}
    if "tty" in wanted:
        channels.add(remotecommand.RESIZE)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(session.run())
        try:
            client = await remotecommand.SpdyClient.gathered(session, channels)
        except (TimeoutError, ConnectionError):
            reading.cancel()
            return
        pumping = group.create_task(client.pump())
        reading.add_done_callback(lambda _: client.gone())
        await remotecommand.bridge(client, kubelet)
        await asyncio.wait([reading], timeout=remotecommand.GOODBYE_S)
        reading.cancel()
        pumping.cancel()


# --- what is asked --------------------------------------------------------------------------------------------------------


def container_of(pod: Object, asked: str) -> str:
    """The container that is meant (validateContainer)."""
    spec = pod.get("spec") or {}
    names = [each["name"] for kind in ("initContainers", "containers", "ephemeralContainers") for each in spec.get(kind) or ()]
    if asked:
        if asked not in names:
            raise bad_request(f"container {asked} is not valid for pod {name_of(pod)}")
        return asked
    own = spec.get("containers") or []
    if len(own) == 1:
        return str(own[0]["name"])
    if not own:
        raise bad_request(f"a container name must be specified for pod {name_of(pod)}")
    raise bad_request(f"a container name must be specified for pod {name_of(pod)}, choose one of: [{' '.join(names)}]")


def log_query(query: Mapping[str, str]) -> list[tuple[str, str]]:
    """What of the client's query goes to the kubelet. Raises ApiError for what makes no sense."""
    causes: list[Cause] = []
    found = [(name, "true") for name in LOG_FLAGS if is_true(query.get(name))]
    for name, least in LOG_NUMBERS.items():
        if text := query.get(name):
            try:
                value = int(text)
            except ValueError:
                raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
            if value < least:
                causes.append(invalid_value(name, value, f"must be greater than {'or equal to ' if least == 0 else ''}0"))
            found.append((name, str(value)))
    if since := query.get("sinceTime"):
        try:
            datetime.fromisoformat(since)
        except ValueError:
            raise bad_request(f'parsing time "{since}" as "2006-01-02T15:04:05Z07:00": cannot parse it') from None
        if query.get("sinceSeconds"):
            causes.append(Cause("FieldValueForbidden", "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified", ""))
        found.append(("sinceTime", since))
    if stream := query.get("stream"):
        if stream not in LOG_STREAMS:
            causes.append(invalid_value("stream", stream, f"must be one of {', '.join(LOG_STREAMS)}"))
        elif stream != "All" and query.get("tailLines"):
            causes.append(Cause("FieldValueForbidden", "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now", ""))
        found.append(("stream", stream))
    if causes:
        raise invalid("", "PodLogOptions", "", causes)
    return found


def ports_of(query: MultiMapping[str]) -> list[int]:
    """The ports of a client on channels: `ports=80`, `ports=80,81`, repeated, or `port`."""
    texts = [each for name in ("ports", "port") for each in query.getall(name, [])]
    ports = [text for each in texts for text in each.split(",") if text]
    if not ports:
        raise bad_request('query parameter "port" is required')
    if len(ports) > PORTS_MAX:
        raise bad_request(f"{len(ports)} ports: at most {PORTS_MAX} at once")
    for each in ports:
        if not each.isdigit() or not 0 < int(each) < 1 << 16:
            raise bad_request(f'unable to parse "{each}" as a port')
    return [int(each) for each in ports]


def is_true(text: str | None) -> bool:
    """As Kubernetes reads booleans in queries: there, and not `false` or `0`."""
    return text is not None and text.lower() not in ("false", "0")


def from_kubelet(status: int, text: str, pod: str) -> ApiError:
    """A kubelet's error as the API server passes it on (GenericHttpResponseChecker)."""
    if status == 400:
        return bad_request(text)
    if status == 404:
        return ApiError("NotFound", text or f'pods "{pod}" not found', details=details("", "pods", pod))
    if status == 500:
        return ApiError("InternalError", f"Internal error occurred: {text}")
    if status in (401, 403):
        return ApiError("InternalError", f"Internal error occurred: the kubelet refused the API server: {text}")
    return ApiError("InternalError", f"an error on the server ({text!r}) has prevented the request from succeeding (get pods {pod})")


def _unupgraded(refused: Refused) -> ApiError:
    why = refused.text if refused.status == 502 else f"unable to upgrade connection: {refused.text}"
    return ApiError("InternalError", f"Internal error occurred: {why}")


def _node_of(pod: Object) -> str:
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        raise bad_request(f"pod {name_of(pod)} does not have a host assigned")
    return str(node)


# --- the upgrade ----------------------------------------------------------------------------------------------------------


def _upgrade(request: web.BaseRequest) -> str:
    """`websocket` or `spdy/3.1`. Raises ApiError for a request that does not ask to be upgraded."""
    asked = request.headers.get("Upgrade", "").lower()
    if "upgrade" not in request.headers.get("Connection", "").lower() or asked not in ("websocket", SPDY.lower()):
        raise bad_request("Upgrade request required")
    return asked


def _offered(request: web.BaseRequest) -> list[str]:
    return [each.strip() for line in request.headers.getall("Sec-WebSocket-Protocol", []) for each in line.split(",")]


async def _socket(request: web.BaseRequest, protocols: tuple[str, ...]) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=protocols, compress=False, max_msg_size=MESSAGE_BYTES_MAX)
    await socket.prepare(request)
    return socket


def _check_spdy(request: web.BaseRequest, known: tuple[str, ...]) -> str:
    """The protocol to speak over SPDY. Raises ApiError if there is none that both sides know."""
    offered = [each.strip() for line in request.headers.getall(VERSION_HEADER, []) for each in line.split(",")]
    for each in offered:
        if each in known:
            return each
    raise ApiError("Forbidden", f"unable to upgrade: unable to negotiate protocol: client supports {offered}, server accepts {list(known)}")


def _switch_to_spdy(request: web.BaseRequest, known: tuple[str, ...]) -> TakenConnection:
    protocol = _check_spdy(request, known)
    connection = TakenConnection(request)
    connection.switch({"Connection": "Upgrade", "Upgrade": SPDY, VERSION_HEADER: protocol})
    return connection


async def copy(source: aiohttp.StreamReader, answer: web.StreamResponse, request: web.BaseRequest) -> None:
    """Carries a body as it comes, until it ends or the client is gone; a client that leaves while nothing comes is looked for."""
    while True:
        try:
            chunk = await asyncio.wait_for(source.readany(), GONE_CHECK_S)
        except TimeoutError:
            if request.transport is None or request.transport.is_closing():
                return
            continue
        except (aiohttp.ClientError, OSError):
            if request.transport is not None:
                request.transport.close()  # the body is not whole, and the client shall see that
            return
        if not chunk:
            return
        try:
            await answer.write(chunk)
        except OSError:
            return
