"""A container runtime that speaks the CRI over gRPC, such as containerd: `--container-runtime-endpoint=unix:///run/containerd/containerd.sock`.

Images are those of the runtime; its network is the CNI's that it is configured with. Ends of containers are found by looking once a second
(containerd before 1.7 tells of none).
"""

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import msgspec

from agents.kubelet.runtime import base, paths
from agents.kubelet.runtime.base import ContainerConfig, ExecResult, ImageMissing, Resources, RuntimeRefused, SandboxConfig, Security
from agents.kubelet.runtime.cgroups import PERIOD_US, Cgroups
from agents.kubelet.runtime.cri_messages import kind, mapping, message, pairs
from agents.kubelet.runtime.sessions import SocketPipe
from agents.kubelet.shim import kernel

CALL_S = 120.0
LOOK_S = 1.0
MESSAGE_BYTES_MAX = 16 << 20
STATES = (base.CREATED, base.RUNNING, base.EXITED, base.UNKNOWN)
POD, CONTAINER, NODE, TARGET = 0, 1, 2, 3
PROTOCOLS = {"TCP": 0, "UDP": 1, "SCTP": 2}
CONFIG = "keelson.dev/sandbox"
"""The annotation in which the sandbox's configuration comes back to a kubelet that was started again."""
EXEC_PROTOCOL = "v4.channel.k8s.io"


class CriRuntime:
    def __init__(self, endpoint: str, *, pod_range: str = "", cgroup_root: str = "", look_s: float = LOOK_S) -> None:
        self.name, self.version = "cri", ""
        self._endpoint, self._pod_range, self._cgroup_root, self._look_s = endpoint, pod_range, cgroup_root, look_s
        self._cgroups = Cgroups(cgroup_root)
        self._channel: grpc.aio.Channel | None = None
        self._ended: dict[str, base.Container] = {}
        """What a container that has ended says does not change: it is asked once."""
        self._addresses: dict[str, str] = {}
        self._ttys: set[str] = set()
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        address = self._endpoint if "://" in self._endpoint else f"unix://{self._endpoint}"
        limits = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX), ("grpc.max_send_message_length", MESSAGE_BYTES_MAX)]
        self._channel = grpc.aio.insecure_channel(address, options=[*limits, ("grpc.default_authority", "localhost")])
        found = await self._call("Version", version="v1")
        self.name, self.version = found.runtime_name, found.runtime_version
        if self._pod_range:
            await self.set_pod_range(self._pod_range)

    async def set_pod_range(self, pod_range: str) -> None:
        await self._call("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": pod_range}})

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._channel is not None:
            await self._channel.close()

    async def _call(self, verb: str, service: str = "RuntimeService", timeout_s: float = CALL_S, **fields: Any) -> Any:
        """Raises RuntimeRefused with the runtime's words."""
        assert self._channel is not None, "opened first"
        request, answer = kind(f"{verb}Request"), kind(f"{verb}Response")
        call = self._channel.unary_unary(
            f"/runtime.v1.{service}/{verb}", request_serializer=request.SerializeToString, response_deserializer=answer.FromString
        )
        try:
            return await call(message(f"{verb}Request", **fields), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise base.TimedOut(str(error.details())) from None
            if error.code() is grpc.StatusCode.NOT_FOUND and service == "ImageService":
                raise ImageMissing(str(error.details())) from None
            raise RuntimeRefused(f"rpc error: code = {error.code().name} desc = {error.details()}") from None

    @property
    def network_ready(self) -> bool:
        return True

    # --- sandboxes ----------------------------------------------------------------------------------------------------

    async def run_sandbox(self, config: SandboxConfig) -> str:
        if config.log_folder:
            Path(config.log_folder).mkdir(parents=True, exist_ok=True)
        if config.cgroup:
            # A container's limits are the runtime's business; the pod's, above them, are the kubelet's.
            try:
                self._cgroups.create(config.cgroup, config.resources)
            except OSError as error:
                raise RuntimeRefused(f"cgroup {config.cgroup}: {error}") from None
        return str((await self._call("RunPodSandbox", config=self._sandbox_message(config))).pod_sandbox_id)

    def _sandbox_message(self, config: SandboxConfig) -> dict[str, Any]:
        dns = {"servers": config.dns_servers, "searches": config.dns_searches, "options": config.dns_options}
        return {
            "metadata": {"name": config.name, "uid": config.uid, "namespace": config.namespace, "attempt": config.attempt},
            "hostname": "" if config.host_network else config.hostname or config.name,
            "log_directory": config.log_folder,
            **({"dns_config": dns} if any(dns.values()) else {}),
            # For the network plug-ins of the runtime: without one that takes them (portmap) they have no effect.
            "port_mappings": [
                {"protocol": PROTOCOLS[each.protocol], "container_port": each.container_port, "host_port": each.host_port, "host_ip": each.host_ip}
                for each in config.ports
            ],
            "labels": pairs(config.labels),
            "annotations": pairs({**config.annotations, CONFIG: msgspec.json.encode(config).decode()}),
            "linux": {
                "cgroup_parent": f"/{self._cgroup_root}/{config.cgroup}" if self._cgroup_root and config.cgroup else "",
                "security_context": {"namespace_options": _namespaces(config), "seccomp": _seccomp(base.RUNTIME_DEFAULT)},
                "sysctls": pairs(config.sysctls),
            },
        }

    async def stop_sandbox(self, sandbox_id: str) -> None:
        with contextlib.suppress(RuntimeRefused):
            for each in await self.containers():
                if each.sandbox_id == sandbox_id and each.state == base.RUNNING:
                    await self._call("StopContainer", container_id=each.id, timeout=0)
        await self._call("StopPodSandbox", pod_sandbox_id=sandbox_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        config = next((each.config for each in await self.sandboxes() if each.id == sandbox_id), None)
        await self.stop_sandbox(sandbox_id)
        await self._call("RemovePodSandbox", pod_sandbox_id=sandbox_id)
        self._addresses.pop(sandbox_id, None)
        if config is not None and config.cgroup and all(each.config.cgroup != config.cgroup for each in await self.sandboxes()):
            self._cgroups.remove(config.cgroup)

    async def sandboxes(self) -> Sequence[base.Sandbox]:
        found = []
        for each in (await self._call("ListPodSandbox")).items:
            annotations = mapping(each.annotations)
            if CONFIG not in annotations:
                continue  # somebody else's
            config = msgspec.json.decode(annotations[CONFIG], type=SandboxConfig)
            if each.id not in self._addresses:
                with contextlib.suppress(RuntimeRefused):
                    status = (await self._call("PodSandboxStatus", pod_sandbox_id=each.id)).status
                    self._addresses[each.id] = status.network.ip
            state = base.SANDBOX_READY if each.state == 0 else base.SANDBOX_NOT_READY
            found.append(base.Sandbox(each.id, config, state, each.created_at, self._addresses.get(each.id, "")))
        return found

    # --- containers ---------------------------------------------------------------------------------------------------

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = next((each for each in await self.sandboxes() if each.id == sandbox_id), None)
        if sandbox is None:
            raise RuntimeRefused(f"sandbox {sandbox_id} not found")
        image = await self.image(config.image)
        if image is None:
            raise ImageMissing(f'failed to resolve reference "{config.image}": not found')
        if config.log_path and sandbox.config.log_folder:
            (Path(sandbox.config.log_folder) / config.log_path).parent.mkdir(parents=True, exist_ok=True)
        wanted = {
            "metadata": {"name": config.name, "attempt": config.attempt},
            "image": {"image": image.id},
            "command": config.command,
            "args": config.args,
            "working_dir": config.working_dir,
            "envs": [{"key": name, "value": value} for name, value in config.env],
            "mounts": [
                {"container_path": each.target, "host_path": _inside(each.source, each.subpath), "readonly": each.readonly} for each in config.mounts
            ],
            "labels": pairs(config.labels),
            "annotations": pairs(config.annotations),
            "log_path": config.log_path or f"{config.name}.log",
            "stdin": config.stdin,
            "stdin_once": config.stdin_once,
            "tty": config.tty,
            "linux": {"resources": _resources(config.resources), "security_context": _security(config.security, sandbox.config, config.target)},
        }
        answer = await self._call("CreateContainer", pod_sandbox_id=sandbox_id, config=wanted, sandbox_config=self._sandbox_message(sandbox.config))
        if config.tty:
            self._ttys.add(answer.container_id)
        return str(answer.container_id)

    async def start_container(self, container_id: str) -> None:
        await self._call("StartContainer", container_id=container_id)

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        with contextlib.suppress(RuntimeRefused):
            if (await self._status(container_id)).state == base.EXITED:
                return
            await self._call("StopContainer", container_id=container_id, timeout=round(grace_s), timeout_s=CALL_S + grace_s)

    async def remove_container(self, container_id: str) -> None:
        await self._call("RemoveContainer", container_id=container_id)
        self._ended.pop(container_id, None)
        self._ttys.discard(container_id)

    async def containers(self) -> Sequence[base.Container]:
        found = []
        for each in (await self._call("ListContainers")).containers:
            if each.id not in self._ended:
                with contextlib.suppress(RuntimeRefused):  # removed meanwhile
                    found.append(await self._status(each.id))
            else:
                found.append(self._ended[each.id])
        return found

    async def _status(self, container_id: str) -> base.Container:
        status = (await self._call("ContainerStatus", container_id=container_id)).status
        listed = self._ended.get(container_id)
        if listed is not None:
            return listed
        sandbox_id = await self._sandbox_of(container_id)
        found = base.Container(
            status.id,
            sandbox_id,
            status.metadata.name,
            status.metadata.attempt,
            status.image.image,
            status.image_ref,
            STATES[status.state],
            status.created_at,
            # containerd notes the start when the call for it returns: a container may have ended before.
            min(status.started_at, status.finished_at or status.started_at),
            status.finished_at,
            status.exit_code,
            status.reason,
            status.message,
            status.log_path,
            mapping(status.labels),
            mapping(status.annotations),
        )
        if found.state == base.EXITED:
            self._ended[container_id] = found
        return found

    _sandbox_by_container: dict[str, str] = {}  # noqa: RUF012 - replaced, never changed

    async def _sandbox_of(self, container_id: str) -> str:
        if container_id not in self._sandbox_by_container:
            self._sandbox_by_container = {each.id: each.pod_sandbox_id for each in (await self._call("ListContainers")).containers}
        return self._sandbox_by_container.get(container_id, "")

    async def reopen_log(self, container_id: str) -> None:
        await self._call("ReopenContainerLog", container_id=container_id)

    async def usage(self, container_id: str) -> base.Usage:
        stats = (await self._call("ContainerStats", container_id=container_id)).stats
        return base.Usage(
            stats.cpu.timestamp or time.time_ns(),
            stats.cpu.usage_core_nano_seconds.value if stats.HasField("cpu") else None,
            stats.memory.usage_bytes.value if stats.HasField("memory") else None,
            stats.memory.working_set_bytes.value if stats.HasField("memory") else None,
            stats.writable_layer.used_bytes.value if stats.HasField("writable_layer") else None,
        )

    async def disk_usage(self, container_id: str) -> int:
        return (await self.usage(container_id)).disk_bytes or 0

    # --- streams ------------------------------------------------------------------------------------------------------

    async def exec_sync(self, container_id: str, argv: Sequence[str], timeout_s: float) -> ExecResult:
        whole_s = max(round(timeout_s), 1) if timeout_s else 0
        answer = await self._call(
            "ExecSync", container_id=container_id, cmd=list(argv), timeout=whole_s, timeout_s=timeout_s + 2.0 if timeout_s else 3600.0
        )
        return ExecResult(answer.exit_code, answer.stdout, answer.stderr)

    async def exec(self, container_id: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> "WebSocketSession":
        answer = await self._call("Exec", container_id=container_id, cmd=list(argv), tty=tty, stdin=stdin, stdout=True, stderr=not tty)
        return await self._stream(answer.url)

    async def attach(self, container_id: str, *, stdin: bool) -> "WebSocketSession":
        tty = container_id in self._ttys
        answer = await self._call("Attach", container_id=container_id, stdin=stdin, tty=tty, stdout=True, stderr=not tty)
        return await self._stream(answer.url)

    async def _stream(self, url: str) -> "WebSocketSession":
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            return WebSocketSession(await self._session.ws_connect(url, protocols=(EXEC_PROTOCOL,), max_msg_size=MESSAGE_BYTES_MAX))
        except (aiohttp.ClientError, OSError) as error:
            raise RuntimeRefused(f"the runtime's stream: {error}") from None

    async def connect(self, sandbox_id: str, port: int) -> SocketPipe:
        answer = await self._call("PodSandboxStatus", pod_sandbox_id=sandbox_id, verbose=True)
        details = json.loads(mapping(answer.info).get("info") or "{}")
        if not details.get("pid"):
            raise RuntimeRefused("the runtime does not tell where the pod's network is")
        made = await asyncio.to_thread(_socket_in, f"/proc/{details['pid']}/ns/net")
        try:
            await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
        except OSError as error:
            made.close()
            raise RuntimeRefused(base.not_connected(f"127.0.0.1:{port}", error, "tcp4")) from None
        return SocketPipe(made)

    # --- images -------------------------------------------------------------------------------------------------------

    async def images(self) -> Sequence[base.Image]:
        return [_image(each) for each in (await self._call("ListImages", "ImageService")).images]

    async def image(self, reference: str) -> base.Image | None:
        answer = await self._call("ImageStatus", "ImageService", image={"image": reference})
        return _image(answer.image) if answer.HasField("image") else None

    async def pull_image(self, reference: str) -> str:
        """No registry is asked: what the runtime has is what there is."""
        found = await self.image(reference)
        if found is None:
            raise ImageMissing(f'failed to resolve reference "{reference}": not found in the runtime\'s images')
        return found.id

    async def remove_image(self, image_id: str) -> None:
        await self._call("RemoveImage", "ImageService", image={"image": image_id})

    async def changes(self) -> AsyncIterator[str]:
        before: dict[str, str] | None = None
        while True:
            with contextlib.suppress(RuntimeRefused):
                found = {f"{each.pod_sandbox_id}/{each.id}": str(each.state) for each in (await self._call("ListContainers")).containers}
                found |= {each.id: str(each.state) for each in (await self._call("ListPodSandbox")).items}
                if before is not None:
                    changed = {key.partition("/")[0] for key in found.keys() | before.keys() if found.get(key) != before.get(key)}
                    for sandbox_id in sorted(changed):
                        yield sandbox_id
                elif any(state == "2" for key, state in found.items() if "/" in key):
                    for key in found:
                        yield key.partition("/")[0]
                before = found
            await asyncio.sleep(self._look_s)


class WebSocketSession:
    """exec and attach over the runtime's streaming server: channels as in the API, without a way to close one alone."""

    def __init__(self, stream: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        self._stream = stream
        self._outcome: dict[str, Any] | None = None

    async def read(self) -> tuple[int, bytes] | None:
        while (found := await self._stream.receive()).type is aiohttp.WSMsgType.BINARY:
            channel, data = found.data[0], found.data[1:]
            if channel == 3:
                with contextlib.suppress(ValueError):
                    self._outcome = json.loads(data)
            elif data:
                return channel, data
        return None

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            await self._stream.send_bytes(b"\0" + data)

    async def end_input(self) -> None:
        """This protocol cannot say it (v4 has no close of one channel): the process sees its input end with the connection."""

    async def resize(self, columns: int, rows: int) -> None:
        with contextlib.suppress(OSError):
            await self._stream.send_bytes(b"\4" + json.dumps({"Width": columns, "Height": rows}).encode())

    async def wait(self) -> int:
        while await self.read() is not None:
            pass
        outcome = self._outcome or {}
        if outcome.get("status") == "Success" or not outcome:
            return 0
        causes = (outcome.get("details") or {}).get("causes") or ()
        return next((int(each["message"]) for each in causes if each.get("reason") == "ExitCode"), 1)

    async def close(self) -> None:
        await self._stream.close()


def _namespaces(config: SandboxConfig) -> dict[str, int]:
    return {
        "network": NODE if config.host_network else POD,
        "pid": NODE if config.host_pid else POD if config.share_pids else CONTAINER,
        "ipc": NODE if config.host_ipc else POD,
    }


def _resources(limits: Resources) -> dict[str, int]:
    found = {"cpu_shares": limits.cpu_shares, "memory_limit_in_bytes": limits.memory_limit_bytes, "oom_score_adj": limits.oom_score_adj}
    if limits.cpu_limit_milli:
        found |= {"cpu_period": PERIOD_US, "cpu_quota": limits.cpu_limit_milli * PERIOD_US // 1000}
    return found


def _security(wanted: Security, sandbox: SandboxConfig, target: str) -> dict[str, Any]:
    user, _, group = wanted.user.partition(":")
    found: dict[str, Any] = {
        "capabilities": {"add_capabilities": wanted.added, "drop_capabilities": wanted.dropped},
        "privileged": wanted.privileged,
        "namespace_options": {**_namespaces(sandbox), **({"pid": TARGET, "target_id": target} if target else {})},
        "readonly_rootfs": wanted.readonly_root,
        "supplemental_groups": wanted.groups,
        "no_new_privs": wanted.no_new_privs,
        "seccomp": _seccomp(wanted.seccomp),
        "supplemental_groups_policy": 1 if wanted.strict_groups else 0,
    }
    if user.isdigit():
        found["run_as_user"] = {"value": int(user)}
    elif user:
        found["run_as_username"] = user
    if group.isdigit():
        found["run_as_group"] = {"value": int(group)}
    if not wanted.privileged and not wanted.unmasked:
        found |= {"masked_paths": paths.masked(), "readonly_paths": paths.READ_ONLY}
    return found


def _seccomp(profile: str) -> dict[str, Any]:
    """RuntimeDefault, Unconfined and Localhost are 0, 1 and 2."""
    if profile.startswith(base.LOCALHOST):
        return {"profile_type": 2, "localhost_ref": profile.removeprefix(base.LOCALHOST)}
    return {"profile_type": 0 if profile == base.RUNTIME_DEFAULT else 1}


def _inside(source: str, subpath: str) -> str:
    """`subpath` below `source`, resolved where no link leads out. Raises RuntimeRefused."""
    if not subpath:
        return source
    folder = os.open(source, os.O_PATH)
    try:
        inner = kernel.open_inside(folder, subpath)
        try:
            return str(Path(f"/proc/self/fd/{inner}").readlink())
        finally:
            os.close(inner)
    except OSError as error:
        raise RuntimeRefused(f"subPath {subpath}: {error.strerror}") from None
    finally:
        os.close(folder)


def _image(found: Any) -> base.Image:
    uid = found.uid.value if found.HasField("uid") else None
    if uid is None and not found.username:
        uid = 0
    return base.Image(found.id, tuple(found.repo_tags), tuple(found.repo_digests), found.size, uid, found.username)


def _socket_in(namespace: str) -> socket.socket:
    """A TCP socket of another network namespace. Only this thread goes there, and comes back."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(namespace, os.O_RDONLY)
    try:
        kernel.setns(there, kernel.CLONE_NEWNET)
        try:
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        finally:
            kernel.setns(before, kernel.CLONE_NEWNET)
    finally:
        os.close(before)
        os.close(there)
    made.setblocking(False)
    return made
