"""Probes and hooks: asking a container how it is (exec, HTTP, TCP, gRPC), and what follows from the answers.

`Verdict` is the pure part: it counts answers against thresholds. `Prober` is a task per probe that asks in time.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from msgspec import Struct

from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import Runtime, RuntimeRefused
from apiserver.machinery.objects import Object

USER_AGENT = "kube-probe/1.37"
BODY_BYTES_MAX = 10 << 10
OUTPUT_CHARS_MAX = 1024
LIVENESS, READINESS, STARTUP = "liveness", "readiness", "startup"
KINDS = ((STARTUP, "startupProbe"), (LIVENESS, "livenessProbe"), (READINESS, "readinessProbe"))


class Verdict(Struct):
    """`good` is None until a threshold is reached for the first time."""

    success_threshold: int = 1
    failure_threshold: int = 3
    good: bool | None = None
    _last: bool | None = None
    _run: int = 0

    def note(self, success: bool) -> bool:
        """Count one answer; whether the verdict was reached (again) by it."""
        self._run = self._run + 1 if self._last == success else 1
        self._last = success
        if self._run < (self.success_threshold if success else self.failure_threshold):
            return False
        changed = self.good != success
        self.good = success
        return changed


def verdict_for(probe: Object) -> Verdict:
    return Verdict(int(probe.get("successThreshold") or 1), int(probe.get("failureThreshold") or 3))


class Target(Struct, frozen=True):
    """Whom to ask: the container, its declared ports by name, and the pod's address."""

    container_id: str
    ports: dict[str, int]
    pod_ip: str


def target_of(container: Object, container_id: str, pod_ip: str) -> Target:
    ports = {each["name"]: int(each["containerPort"]) for each in container.get("ports") or () if each.get("name")}
    return Target(container_id, ports, pod_ip)


def port_number(port: Any, target: Target) -> int:
    """Raises ValueError for a name that the container does not declare."""
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    if port not in target.ports:
        raise ValueError(f"couldn't find port: {port}")
    return target.ports[port]


class Asker:
    """Does what a probe or a hook says. One HTTP session for all of them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def probe(self, probe: Object, target: Target) -> tuple[bool, str]:
        """Success, and what was said."""
        timeout_s = float(probe.get("timeoutSeconds") or 1)
        try:
            if "exec" in probe:
                return await self._exec(probe["exec"], target, timeout_s)
            if "httpGet" in probe:
                return await self._http(probe["httpGet"], target, timeout_s)
            if "tcpSocket" in probe:
                return await self._tcp(probe["tcpSocket"], target, timeout_s)
            if "grpc" in probe:
                return await _grpc(probe["grpc"], target, timeout_s)
        except ValueError as error:
            return False, str(error)
        return False, "missing probe handler"

    async def _exec(self, action: Object, target: Target, timeout_s: float) -> tuple[bool, str]:
        try:
            result = await self._runtime.exec_sync(target.container_id, action.get("command") or (), timeout_s)
        except base.TimedOut as error:
            return False, str(error)
        except RuntimeRefused as error:
            return False, f"rpc error: {error}"
        return result.code == 0, (result.stdout + result.stderr)[:BODY_BYTES_MAX].decode(errors="replace").strip()

    async def _http(self, action: Object, target: Target, timeout_s: float) -> tuple[bool, str]:
        scheme = str(action.get("scheme") or "HTTP").lower()
        host, port = action.get("host") or target.pod_ip, port_number(action["port"], target)
        path = action.get("path") or "/"
        url = f"{scheme}://{host}:{port}{'' if path.startswith('/') else '/'}{path}"
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
        headers |= {each["name"]: each["value"] for each in action.get("httpHeaders") or ()}
        try:
            async with self._http_session().get(url, headers=headers, timeout=aiohttp.ClientTimeout(total=timeout_s), max_redirects=10) as answer:
                body = await answer.content.read(BODY_BYTES_MAX)
                if 200 <= answer.status < 400:
                    return True, body.decode(errors="replace")
                return False, f"HTTP probe failed with statuscode: {answer.status}"
        except TimeoutError:
            return False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        except aiohttp.ClientConnectorError as error:
            return False, f'Get "{url}": {base.not_connected(f"{host}:{port}", error.os_error)}'
        except (aiohttp.ClientError, OSError) as error:
            return False, f'Get "{url}": {error or type(error).__name__}'

    def _http_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            # As the kubelet: whether a container answers is asked, not who it is.
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connector = aiohttp.TCPConnector(ssl=context, limit=0, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._session

    async def _tcp(self, action: Object, target: Target, timeout_s: float) -> tuple[bool, str]:
        host, port = action.get("host") or target.pod_ip, port_number(action["port"], target)
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await asyncio.open_connection(host, port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return True, ""
        except TimeoutError:
            return False, f"dial tcp {host}:{port}: i/o timeout"
        except OSError as error:
            return False, base.not_connected(f"{host}:{port}", error)

    async def hook(self, action: Object, target: Target) -> str:
        """Empty, or why it failed. Takes as long as it takes: the caller has the deadline."""
        if "exec" in action:
            result = await self._runtime.exec_sync(target.container_id, action["exec"].get("command") or (), 0)
            words = " ".join(action["exec"].get("command") or ())
            return "" if result.code == 0 else f"command '{words}' exited with {result.code}: {result.stderr.decode(errors='replace')[:1000]}"
        if "sleep" in action:
            await asyncio.sleep(float(action["sleep"].get("seconds") or 0))
            return ""
        good, text = await self.probe({**action, "timeoutSeconds": 30}, target)
        return "" if good or "tcpSocket" in action else text


async def _grpc(action: Object, target: Target, timeout_s: float) -> tuple[bool, str]:
    """grpc.health.v1.Health/Check, its two small messages by hand."""
    import grpc

    service = str(action.get("service") or "").encode()
    request = (b"\x0a" + bytes((len(service),)) + service) if service else b""
    address = f"{target.pod_ip}:{action['port']}"
    async with grpc.aio.insecure_channel(address, options=[("grpc.primary_user_agent", USER_AGENT)]) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes)
        try:
            answer = bytes(await check(request, timeout=timeout_s))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return False, f"timeout: failed to connect service {address} within {timeout_s:g}s: context deadline exceeded"
            return False, f"service unhealthy (responded with {error.code().name})"
    serving = answer[:2] == b"\x08\x01"
    return serving, f"service {'' if serving else 'un'}healthy (responded with {'SERVING' if serving else 'NOT_SERVING'})"


class Prober:
    """Asks one probe of one container, again and again. `answered(kind, verdict, changed, success, output)` is told every answer."""

    def __init__(
        self, asker: Asker, kind: str, probe: Object, target: Target, answered: Callable[[str, Verdict, bool, bool, str], None], delay_s: float = 0.0
    ) -> None:
        self._asker, self.kind, self._probe, self._target, self._answered = asker, kind, probe, target, answered
        self._delay_s = delay_s

    async def run(self, may_begin: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled; a startup probe that passed ends by itself. `may_begin`: readiness and liveness wait for the startup probe."""
        verdict = verdict_for(self._probe)
        await asyncio.sleep(max(float(self._probe.get("initialDelaySeconds") or 0) - self._delay_s, 0))
        await may_begin()
        period_s = float(self._probe.get("periodSeconds") or 10)
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            success, output = await self._asker.probe(self._probe, self._target)
            changed = verdict.note(success)
            self._answered(self.kind, verdict, changed, success, output[:OUTPUT_CHARS_MAX])
            if self.kind == STARTUP and verdict.good is not None:
                return
            next_s = max(next_s + period_s, loop.time())
            await asyncio.sleep(next_s - loop.time())


def probes_of(container: Object) -> list[tuple[str, Object]]:
    """Kind and probe, in the order in which they matter."""
    return [(kind, container[field]) for kind, field in KINDS if container.get(field)]
