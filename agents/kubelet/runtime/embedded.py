"""The runtime that needs nothing installed: a shim process per pod (agents.kubelet.shim), overlayfs, cgroups, a bridge. Root only.

    sandboxes/ID/config.json    what the shim needs, and the SandboxConfig as it was asked for
    sandboxes/ID/shim.json      the shim's process
    sandboxes/ID/containers/ID/ config.json, state.json (it runs), exit.json (it has ended), upper/ (what it wrote)

Ports of the node that lead to pods are the service proxy's to answer; which, it is told by a file (`host_ports`).

The folders are the truth; what this class holds in memory is read from them when it opens, and afterwards follows what the shims tell.
"""

import asyncio
import contextlib
import json
import logging
import os
import platform
import secrets
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from agents.kubelet import disk
from agents.kubelet.oci.reference import InvalidReference
from agents.kubelet.oci.store import BadImage, Store, StoredImage
from agents.kubelet.runtime import base, capabilities, paths, sessions, shims
from agents.kubelet.runtime.addresses import Addresses, RangeExhausted
from agents.kubelet.runtime.base import ContainerConfig, ExecResult, ImageMissing, Mount, RuntimeRefused, SandboxConfig
from agents.kubelet.runtime.cgroups import Cgroups
from agents.kubelet.runtime.network import POD_INTERFACE, PodNetwork
from agents.kubelet.seccomp import profile as seccomp
from agents.kubelet.seccomp.default import profile as default_profile
from agents.kubelet.shim import kernel
from agents.kubelet.shim.container import write_file
from keelson.cogs.logs import fields
from keelson.cogs.tasks import TaskSet

log = logging.getLogger("kubelet")

EXEC_OUTPUT_BYTES_MAX = 16 << 20
CHANGES_MAX = 10_000
SHM_BYTES = 64 << 20
"""Of /dev/shm, which the containers of a pod share: containerd's."""
SHM_FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC


class EmbeddedRuntime:
    """`pod_range` may come later (`set_pod_range`): until then only pods on the node's own network start."""

    name = "keelson"
    version = "1.0.0"

    def __init__(
        self, folder: Path, store: Store, *, pod_range: str = "", cgroup_root: str = "", bridge: str = "cni0", host_ports: Path | None = None
    ) -> None:
        self.folder = folder
        self.store = store
        self.cgroups = Cgroups(cgroup_root)
        self._host_ports = host_ports
        self._bridge = bridge
        self._pod_range = pod_range
        self.network: PodNetwork | None = None
        self._addresses: Addresses | None = None
        self._sandboxes: dict[str, base.Sandbox] = {}
        self._containers: dict[str, base.Container] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._changes: asyncio.Queue[str] = asyncio.Queue(CHANGES_MAX)
        self._unpacking: dict[str, asyncio.Lock] = {}
        self._tasks = TaskSet("runtime")

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        if os.geteuid() != 0:
            raise RuntimeRefused("the embedded runtime makes namespaces and mounts: it must run as root")
        sandboxes = self.folder / "sandboxes"
        sandboxes.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in sandboxes.iterdir():
            self._recover(folder)
        self._tell_host_ports()
        if self._pod_range:
            await self.set_pod_range(self._pod_range)

    async def set_pod_range(self, pod_range: str) -> None:
        addresses = Addresses(self.folder / "networks" / self._bridge, pod_range)
        addresses.keep_only(self._sandboxes)
        network = PodNetwork(pod_range, addresses.gateway, self._bridge)
        await network.open()
        self._addresses, self.network = addresses, network

    @property
    def network_ready(self) -> bool:
        return self.network is not None

    async def close(self) -> None:
        await self._tasks.close()
        if self.network is not None:
            await self.network.close()

    def _recover(self, folder: Path) -> None:
        try:
            recorded = json.loads((folder / "config.json").read_text())
            config = msgspec.convert(recorded["asked"], SandboxConfig)
        except (OSError, ValueError, KeyError):
            _remove(folder)
            return
        # A kubelet that was killed while it connected the network has left a sandbox that will never have one.
        whole = config.host_network or "ip" in recorded
        alive = shims.running_pid(folder) != 0 and whole and not (folder / "stopped").exists()
        state = base.SANDBOX_READY if alive else base.SANDBOX_NOT_READY
        self._sandboxes[folder.name] = base.Sandbox(folder.name, config, state, recorded["created_ns"], recorded.get("ip", ""))
        for each in (folder / "containers").iterdir():
            if not alive:
                _end_orphan(each)
            if (found := _read_container(folder.name, each, alive)) is not None:
                self._containers[each.name] = found
                self._ended[each.name] = asyncio.Event()
                if found.state == base.EXITED:
                    self._ended[each.name].set()
        if alive:
            self._tasks.start(f"watch/{folder.name[:12]}", self._watch(folder.name))

    # --- sandboxes ----------------------------------------------------------------------------------------------------

    def _sandbox_folder(self, sandbox_id: str) -> Path:
        return self.folder / "sandboxes" / sandbox_id

    def _sandbox(self, sandbox_id: str) -> base.Sandbox:
        found = self._sandboxes.get(sandbox_id)
        if found is None:
            raise RuntimeRefused(f"sandbox {sandbox_id} not found")
        return found

    async def run_sandbox(self, config: SandboxConfig) -> str:
        if not config.host_network and self._addresses is None:
            raise RuntimeRefused("network is not ready: the node has no pod range yet")
        sandbox_id = secrets.token_hex(32)
        folder = self._sandbox_folder(sandbox_id)
        (folder / "containers").mkdir(parents=True, mode=0o700)
        recorded: dict[str, Any] = {
            "asked": msgspec.to_builtins(config),
            "created_ns": time.time_ns(),
            "hostname": config.hostname or config.name,
            "host_network": config.host_network,
            "host_pid": config.host_pid,
            "host_ipc": config.host_ipc,
            "share_pids": config.share_pids and not config.host_pid,
            "sysctls": config.sysctls,
        }
        try:
            if not config.host_ipc:
                (folder / "shm").mkdir()
                kernel.mount("tmpfs", str(folder / "shm"), "tmpfs", SHM_FLAGS, f"mode=1777,size={SHM_BYTES}")
            _write_resolv_conf(folder / "resolv.conf", config)
            if config.log_folder:
                Path(config.log_folder).mkdir(parents=True, exist_ok=True)
            write_file(f"{folder}/config.json", recorded)
            if config.cgroup:
                self._limit(config.cgroup, config.resources)
            await shims.start(folder)
            if not config.host_network:
                recorded["ip"] = await self._connect_network(sandbox_id, folder)
                write_file(f"{folder}/config.json", recorded)
        except BaseException:
            await self._discard(sandbox_id, folder, config.cgroup)
            raise
        self._sandboxes[sandbox_id] = base.Sandbox(sandbox_id, config, base.SANDBOX_READY, recorded["created_ns"], recorded.get("ip", ""))
        self._tasks.start(f"watch/{sandbox_id[:12]}", self._watch(sandbox_id))
        if config.ports:
            self._tell_host_ports()
        return sandbox_id

    async def _connect_network(self, sandbox_id: str, folder: Path) -> str:
        assert self._addresses is not None and self.network is not None, "run_sandbox looks first"
        try:
            address = self._addresses.allocate(sandbox_id)
        except RangeExhausted as error:
            raise RuntimeRefused(str(error)) from None
        await self.network.attach(sandbox_id, shims.running_pid(folder))
        prefix, gateway = self.network.pod_range.prefixlen, self.network.gateway
        await shims.ask(folder, {"do": "network", "name": POD_INTERFACE, "address": address, "prefix": prefix, "gateway": gateway})
        return address

    async def _discard(self, sandbox_id: str, folder: Path, cgroup: str) -> None:
        """What a start that failed has left."""
        await _end_shim(folder)
        if self._addresses is not None:
            self._addresses.release(sandbox_id)
        self._drop_cgroup(cgroup)
        _remove(folder)

    def _drop_cgroup(self, cgroup: str) -> None:
        """A pod's, with the last of its sandboxes."""
        if cgroup and not any(each.config.cgroup == cgroup for each in self._sandboxes.values()):
            self.cgroups.remove(cgroup)

    async def _watch(self, sandbox_id: str) -> None:
        folder = self._sandbox_folder(sandbox_id)

        def told(answer: dict[str, Any]) -> None:
            if "exited" in answer:
                self._note_exit(answer["exited"], answer)
            else:  # watching has begun: what began or ended before is on disk
                for each in self._of_sandbox(sandbox_id):
                    if (folder / "containers" / each.id / "exit.json").exists():
                        self._note_exit(each.id)
                    elif each.state == base.CREATED:
                        self._containers[each.id] = _read_container(sandbox_id, folder / "containers" / each.id, True) or each

        await shims.watch(folder, told)
        self._note_gone(sandbox_id)

    def _note_exit(self, container_id: str, told: dict[str, Any] | None = None) -> None:
        """`told`: how, for a container whose end could not be written down."""
        known = self._containers.get(container_id)
        if known is None or known.state == base.EXITED:
            return
        folder = self._sandbox_folder(known.sandbox_id) / "containers" / container_id
        self._containers[container_id] = _read_container(known.sandbox_id, folder, True, told) or known
        self._ended[container_id].set()
        self._changed(known.sandbox_id)

    def _note_gone(self, sandbox_id: str) -> None:
        """The shim is gone, and with it all that ran: the kernel saw to that, but not for a process that has changed its user since."""
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None:
            return
        self._sandboxes[sandbox_id] = msgspec.structs.replace(sandbox, state=base.SANDBOX_NOT_READY)
        if sandbox.config.ports:
            self._tell_host_ports()
        for each in self._of_sandbox(sandbox_id):
            if each.state != base.EXITED:
                folder = self._sandbox_folder(sandbox_id) / "containers" / each.id
                _end_orphan(folder)
                self._containers[each.id] = _read_container(sandbox_id, folder, False) or each
                self._ended[each.id].set()
        self._changed(sandbox_id)

    def _tell_host_ports(self) -> None:
        if self._host_ports is None:
            return
        told = [
            {
                "hostIP": port.host_ip,
                "hostPort": port.host_port,
                "protocol": port.protocol,
                "ip": sandbox.ip,
                "port": port.container_port,
                "pod": f"{sandbox.config.namespace}/{sandbox.config.name}",
            }
            for sandbox in self._sandboxes.values()
            if sandbox.state == base.SANDBOX_READY and sandbox.ip
            for port in sandbox.config.ports
        ]
        write_file(str(self._host_ports), told)

    def _changed(self, sandbox_id: str) -> None:
        with contextlib.suppress(asyncio.QueueFull):  # the kubelet looks at everything from time to time, too
            self._changes.put_nowait(sandbox_id)

    async def changes(self) -> AsyncIterator[str]:
        while True:
            yield await self._changes.get()

    def _of_sandbox(self, sandbox_id: str) -> list[base.Container]:
        return [each for each in self._containers.values() if each.sandbox_id == sandbox_id]

    async def stop_sandbox(self, sandbox_id: str) -> None:
        if sandbox_id not in self._sandboxes:
            return
        folder = self._sandbox_folder(sandbox_id)
        (folder / "stopped").touch()
        await _end_shim(folder)
        self._note_gone(sandbox_id)
        _drop_shm(folder)  # what was left in it is memory of the node
        if self.network is not None and not self._sandboxes[sandbox_id].config.host_network:
            await self.network.detach(sandbox_id)
        if self._addresses is not None:
            self._addresses.release(sandbox_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        if sandbox_id not in self._sandboxes:
            return
        await self.stop_sandbox(sandbox_id)
        for each in self._of_sandbox(sandbox_id):
            await self.remove_container(each.id)
        sandbox = self._sandboxes.pop(sandbox_id)
        self._drop_cgroup(sandbox.config.cgroup)
        await asyncio.to_thread(_remove, self._sandbox_folder(sandbox_id))

    async def sandboxes(self) -> Sequence[base.Sandbox]:
        return list(self._sandboxes.values())

    # --- containers ---------------------------------------------------------------------------------------------------

    def _container(self, container_id: str) -> base.Container:
        found = self._containers.get(container_id)
        if found is None:
            raise RuntimeRefused(f"container {container_id} not found")
        return found

    def _container_folder(self, container: base.Container) -> Path:
        return self._sandbox_folder(container.sandbox_id) / "containers" / container.id

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = self._sandbox(sandbox_id)
        image = self._find_image(config.image)
        lock = self._unpacking.setdefault(image.id, asyncio.Lock())
        async with lock:
            try:
                layers = await asyncio.to_thread(self.store.unpacked, image)
            except BadImage as error:
                raise RuntimeRefused(str(error)) from None
        container_id = secrets.token_hex(32)
        recorded = self._resolved(sandbox, container_id, config, image, layers)
        folder = self._sandbox_folder(sandbox_id) / "containers" / container_id
        folder.mkdir(mode=0o700)
        Path(recorded["log_path"]).parent.mkdir(parents=True, exist_ok=True)
        write_file(f"{folder}/environment.json", _environment(sandbox, config, image))
        write_file(f"{folder}/config.json", recorded)
        found = _read_container(sandbox_id, folder, True)
        assert found is not None, "it was just written"
        self._containers[container_id] = found
        self._ended[container_id] = asyncio.Event()
        return container_id

    def _resolved(self, sandbox: base.Sandbox, container_id: str, config: ContainerConfig, image: StoredImage, layers: list[str]) -> dict[str, Any]:
        """All that the shim needs to know, with the image's settings where the pod says nothing."""
        defaults = image.config.get("config") or {}
        command = list(config.command) or list(defaults.get("Entrypoint") or ())
        arguments = list(config.args) or ([] if config.command else list(defaults.get("Cmd") or ()))
        if not command + arguments:
            raise RuntimeRefused("no command specified")
        security = config.security
        try:
            kept = capabilities.effective(security.added, security.dropped, privileged=security.privileged)
        except ValueError as error:
            raise RuntimeRefused(str(error)) from None
        cgroup = f"{sandbox.config.cgroup}/{container_id}" if sandbox.config.cgroup else container_id
        cgroups = self._limit(cgroup, config.resources)
        bare = security.privileged or security.unmasked
        log_path = os.path.join(sandbox.config.log_folder or str(self._sandbox_folder(sandbox.id)), config.log_path or f"{config.name}.log")
        return {
            "name": config.name,
            "attempt": config.attempt,
            "image": config.image,
            "image_id": image.id,
            "created_ns": time.time_ns(),
            "labels": config.labels,
            "annotations": config.annotations,
            "log_path": log_path,
            "layers_folder": str(self.store.layers_folder),
            "layers": layers[::-1],
            "argv": command + arguments,
            "cwd": config.working_dir or defaults.get("WorkingDir") or "/",
            "user": security.user or defaults.get("User") or "",
            "groups": list(security.groups),
            "image_groups": not security.strict_groups,
            "capabilities": kept,
            "privileged": security.privileged,
            "no_new_privs": security.no_new_privs,
            "seccomp": _filter(security, tuple(kept)),
            "masked": [] if bare else paths.masked(),
            "readonly": [] if bare else list(paths.READ_ONLY),
            "readonly_root": security.readonly_root,
            "mounts": [msgspec.to_builtins(mount) for mount in self._mounts(sandbox, config)],
            "host_network": sandbox.config.host_network,
            "host_pid": sandbox.config.host_pid,
            "shared_pids": sandbox.config.share_pids or sandbox.config.host_pid or bool(config.target),
            "tty": config.tty,
            "stdin": config.stdin,
            "stdin_once": config.stdin_once,
            "target": config.target,
            "stop_signal": defaults.get("StopSignal") or "SIGTERM",
            "cgroup": cgroup,
            "cgroups": cgroups,
            "oom_score_adj": config.resources.oom_score_adj,
            "rlimits": [],
        }

    def _limit(self, cgroup: str, limits: base.Resources) -> list[str]:
        try:
            return self.cgroups.create(cgroup, limits)
        except OSError as error:
            raise RuntimeRefused(f"cgroup {cgroup}: {error}") from None

    def _mounts(self, sandbox: base.Sandbox, config: ContainerConfig) -> list[Mount]:
        """The pod's own, and what every container has unless the pod says otherwise; a folder before what lies in it."""
        folder = self._sandbox_folder(sandbox.id)
        shm = "/dev/shm" if sandbox.config.host_ipc else str(folder / "shm")
        own = [Mount(shm, "/dev/shm"), Mount(str(folder / "resolv.conf"), "/etc/resolv.conf")]
        taken = {os.path.normpath(mount.target) for mount in config.mounts}
        mounts = [each for each in own if each.target not in taken] + list(config.mounts)
        return sorted(mounts, key=lambda mount: os.path.normpath(mount.target).count("/"))

    async def start_container(self, container_id: str) -> None:
        container = self._container(container_id)
        if container.state != base.CREATED:
            raise RuntimeRefused(f"container {container_id} is in the state {container.state}")
        try:
            answer, _ = await shims.ask(self._sandbox_folder(container.sandbox_id), {"do": "start", "id": container_id})
        except RuntimeRefused as error:
            self._note_exit(container_id)
            raise RuntimeRefused(
                "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
                f"unable to start container process: {error}: unknown"
            ) from None
        known = self._container(container_id)
        if known.state == base.CREATED:
            self._containers[container_id] = msgspec.structs.replace(known, state=base.RUNNING, started_ns=answer["started_ns"])

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        container = self._containers.get(container_id)
        if container is None or container.state == base.EXITED:
            return
        if container.state == base.CREATED and not await self._began_unseen(container):
            self._note_exit(container_id, _killed(self._container_folder(container), ""))
            return
        folder = self._sandbox_folder(container.sandbox_id)
        number = _signal(json.loads((self._container_folder(container) / "config.json").read_text())["stop_signal"])
        for each, patience_s in ((number, grace_s), (signal.SIGKILL, shims.ANSWER_TIMEOUT_S)):
            if patience_s <= 0:
                continue
            with contextlib.suppress(RuntimeRefused):
                await shims.ask(folder, {"do": "signal", "id": container_id, "signal": int(each)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._ended[container_id].wait()
                    return
        raise RuntimeRefused(f"container {container_id} could not be killed")

    async def _began_unseen(self, container: base.Container) -> bool:
        """Whether a container that we know as created runs: a kubelet asked for its start and was killed before it heard of it."""
        with contextlib.suppress(RuntimeRefused):  # the shim does one thing after the other: after its answer the start is over
            await shims.ask(self._sandbox_folder(container.sandbox_id), {"do": "signal", "id": container.id, "signal": 0})
            return True
        return False

    async def remove_container(self, container_id: str) -> None:
        container = self._containers.get(container_id)
        if container is None:
            return
        await self.stop_container(container_id, 0)
        folder = self._container_folder(container)
        with contextlib.suppress(OSError, ValueError, KeyError):
            self.cgroups.remove(json.loads((folder / "config.json").read_text())["cgroup"])
        await asyncio.to_thread(shutil.rmtree, folder, True)
        self._containers.pop(container_id, None)
        self._ended.pop(container_id, None)

    async def containers(self) -> Sequence[base.Container]:
        return list(self._containers.values())

    async def reopen_log(self, container_id: str) -> None:
        container = self._container(container_id)
        await shims.ask(self._sandbox_folder(container.sandbox_id), {"do": "reopen", "id": container_id})

    async def usage(self, container_id: str) -> base.Usage:
        folder = self._container_folder(self._container(container_id))
        try:
            cgroup = json.loads((folder / "config.json").read_text())["cgroup"]
        except OSError:  # is being removed
            raise RuntimeRefused(f"container {container_id} not found") from None
        return self.cgroups.usage(cgroup) if self.cgroups.available else base.Usage(time.time_ns())

    async def disk_usage(self, container_id: str) -> int:
        folder = self._container_folder(self._container(container_id))
        # Where overlayfs is refused, the root is a copy of the image, and all of it is on this disk.
        return await asyncio.to_thread(disk.used_bytes, folder / ("root" if (folder / "copied").exists() else "upper"))

    # --- streams ------------------------------------------------------------------------------------------------------

    def _running(self, container_id: str) -> base.Container:
        container = self._container(container_id)
        if container.state != base.RUNNING:
            raise RuntimeRefused(f"container {container_id} not running")
        return container

    async def exec(self, container_id: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> sessions.FdSession:
        return await self._exec(container_id, argv, stdin=stdin, tty=tty, kill_on_close=False)

    async def _exec(self, container_id: str, argv: Sequence[str], *, stdin: bool, tty: bool, kill_on_close: bool) -> sessions.FdSession:
        container = self._running(container_id)
        request = {"do": "exec", "id": container_id, "argv": list(argv), "tty": tty, "kill_on_close": kill_on_close}
        connection = shims.Connection(self._sandbox_folder(container.sandbox_id))
        ours: dict[str, int] = {"stdin": -1}
        theirs: list[int] = []
        try:
            if not tty:
                if stdin:
                    read, ours["stdin"] = os.pipe2(os.O_CLOEXEC)
                else:
                    read = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                theirs.append(read)
                for name in ("stdout", "stderr"):
                    ours[name], write = os.pipe2(os.O_CLOEXEC)
                    theirs.append(write)
            connection.send(request, theirs)
            _, given = await connection.receive()
        except BaseException:
            connection.close()
            for fd in ours.values():
                if fd >= 0:
                    os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        if tty:
            return sessions.FdSession(connection, {base.STDOUT: given[0]}, given[0], given[0])
        return sessions.FdSession(connection, {base.STDOUT: ours["stdout"], base.STDERR: ours["stderr"]}, ours["stdin"])

    async def exec_sync(self, container_id: str, argv: Sequence[str], timeout_s: float) -> ExecResult:
        session = await self._exec(container_id, argv, stdin=False, tty=False, kill_on_close=True)
        found = {base.STDOUT: bytearray(), base.STDERR: bytearray()}
        try:
            async with asyncio.timeout(timeout_s or None):
                while (chunk := await session.read()) is not None:
                    kept = found[chunk[0]]
                    kept += chunk[1][: EXEC_OUTPUT_BYTES_MAX - len(kept)]
                code = await session.wait()
        except TimeoutError:
            raise base.TimedOut(f'command "{" ".join(argv)}" timed out') from None
        finally:
            await session.close()
        return ExecResult(code, bytes(found[base.STDOUT]), bytes(found[base.STDERR]))

    async def attach(self, container_id: str, *, stdin: bool) -> sessions.FdSession:
        container = self._running(container_id)
        terminal = json.loads((self._container_folder(container) / "config.json").read_text())["tty"]
        ends = [os.pipe2(os.O_CLOEXEC) for _ in range(1 if terminal else 2)]
        try:
            _, given = await shims.ask(self._sandbox_folder(container.sandbox_id), {"do": "attach", "id": container_id}, [write for _, write in ends])
        except BaseException:
            for read, _ in ends:
                os.close(read)
            raise
        finally:
            for _, write in ends:
                os.close(write)
        outputs = dict(zip((base.STDOUT, base.STDERR), (read for read, _ in ends), strict=False))
        entry = given[0] if given else -1
        if entry >= 0 and not stdin and not terminal:
            os.close(entry)
            entry = -1
        return sessions.FdSession(None, outputs, entry, entry if terminal else -1)

    async def connect(self, sandbox_id: str, port: int) -> sessions.SocketPipe:
        self._sandbox(sandbox_id)
        _, given = await shims.ask(self._sandbox_folder(sandbox_id), {"do": "socket"})
        made = socket.socket(fileno=given[0])
        made.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
        except OSError as error:
            made.close()
            raise RuntimeRefused(base.not_connected(f"127.0.0.1:{port}", error, "tcp4")) from None
        return sessions.SocketPipe(made)

    # --- images -------------------------------------------------------------------------------------------------------

    def _find_image(self, reference: str) -> StoredImage:
        try:
            found = self.store.find(reference)
        except InvalidReference as error:
            raise RuntimeRefused(str(error)) from None
        if found is None:
            raise ImageMissing(f'failed to resolve reference "{reference}": not found in the local image store (keelson image load)')
        return found

    async def images(self) -> Sequence[base.Image]:
        return [_described(each) for each in self.store.images()]

    async def image(self, reference: str) -> base.Image | None:
        try:
            return _described(self._find_image(reference))
        except ImageMissing:
            return None

    async def pull_image(self, reference: str) -> str:
        return self._find_image(reference).id

    async def remove_image(self, image_id: str) -> None:
        await asyncio.to_thread(self.store.remove, image_id)


def _filter(security: base.Security, kept: tuple[int, ...]) -> str:
    """The program of a container's seccomp profile, in hexadecimal digits; a privileged container has none. Raises RuntimeRefused."""
    if security.privileged or not security.seccomp:
        return ""
    try:
        if security.seccomp == base.RUNTIME_DEFAULT:
            return _default_filter(kept)
        path = security.seccomp.removeprefix(base.LOCALHOST)
        return seccomp.compiled(seccomp.parse(Path(path).read_bytes()), platform.machine()).hex()
    except OSError as error:
        raise RuntimeRefused(f'cannot load seccomp profile "{error.filename}": {(error.strerror or "").lower()}') from None
    except seccomp.BadProfile as error:
        raise RuntimeRefused(f'cannot load seccomp profile "{security.seccomp.removeprefix(base.LOCALHOST)}": {error}') from None


@cache
def _default_filter(kept: tuple[int, ...]) -> str:
    names = [capabilities.NAMES[number] for number in kept]
    return seccomp.compiled(default_profile(names), platform.machine()).hex()


def _environment(sandbox: base.Sandbox, config: ContainerConfig, image: StoredImage) -> dict[str, str]:
    found = dict(pair.partition("=")[::2] for pair in (image.config.get("config") or {}).get("Env") or ())
    return {**found, "HOSTNAME": sandbox.config.hostname or sandbox.config.name, **dict(config.env)}


async def _end_shim(folder: Path) -> None:
    """With all that runs in it, whether it answers or not."""
    try:
        await shims.ask(folder, {"do": "stop"})
    except shims.ShimGone:
        pass
    except RuntimeRefused:
        if pid := shims.running_pid(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _end_orphan(folder: Path) -> None:
    """A container's first process, where it has outlived the shim: nobody writes its log, and its successor must not find it at its files. With it
    ends its process namespace."""
    if pid := shims.running_pid(folder, "state.json"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _drop_shm(folder: Path) -> None:
    """The pod's /dev/shm, which is a mount."""
    with contextlib.suppress(OSError):
        kernel.unmount(str(folder / "shm"))


def _remove(folder: Path) -> None:
    _drop_shm(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _described(image: StoredImage) -> base.Image:
    user = str((image.config.get("config") or {}).get("User") or "").partition(":")[0]
    digests = tuple(f"{name.rpartition(':')[0]}@{image.manifest}" for name in image.names)
    if not user or user.isdigit():
        return base.Image(image.id, image.names, digests, image.size_bytes, int(user or 0))
    return base.Image(image.id, image.names, digests, image.size_bytes, None, user)


def _killed(folder: Path, message: str) -> dict[str, Any]:
    """The record of an end that nobody saw, written down if there is none and the disk has room for it."""
    end = {"code": 137, "finished_ns": time.time_ns(), "reason": "Error", "message": message}
    if not (folder / "exit.json").exists():
        with contextlib.suppress(OSError):
            write_file(f"{folder}/exit.json", end)
    return end


def _read_container(sandbox_id: str, folder: Path, alive: bool, told: dict[str, Any] | None = None) -> base.Container | None:
    """A container as its folder tells of it, or of its end who saw it (`told`); one that ran when its shim died has ended, nobody knows how."""
    try:
        recorded = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return None
    started = _json(folder / "state.json")
    ended = _json(folder / "exit.json") or told or {}
    state = base.EXITED if ended else base.RUNNING if started else base.CREATED
    if not alive and not ended:
        ended = _killed(folder, "the pod's shim was gone")
        state = base.EXITED
    return base.Container(
        folder.name,
        sandbox_id,
        recorded["name"],
        recorded["attempt"],
        recorded["image"],
        recorded["image_id"],
        state,
        recorded["created_ns"],
        started.get("started_ns", 0),
        ended.get("finished_ns", 0),
        ended.get("code", 0),
        ended.get("reason", ""),
        ended.get("message", ""),
        recorded["log_path"],
        recorded["labels"],
        recorded["annotations"],
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _signal(name: str) -> int:
    if name.isdigit():
        return int(name)
    found = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", signal.SIGTERM)
    return int(found)


def _write_resolv_conf(path: Path, config: SandboxConfig) -> None:
    if not config.dns_servers and not config.dns_searches and not config.dns_options:
        with contextlib.suppress(OSError):
            path.write_text(Path("/etc/resolv.conf").read_text())
            return
    lines = [f"search {' '.join(config.dns_searches)}"] if config.dns_searches else []
    lines += [f"nameserver {server}" for server in config.dns_servers]
    lines += [f"options {' '.join(config.dns_options)}"] if config.dns_options else []
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o644)


__all__ = ["EmbeddedRuntime", "fields", "log"]
