"""What the kubelet asks of a container runtime: the CRI's verbs and words, as records and coroutines.

Every implementation owes the same behaviour (tests/contracts/test_runtime.py): calls are idempotent where the CRI says so (stop, remove), a runtime
opened again finds what an earlier one left running, and logs are written in the CRI's format.
"""

import os
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from msgspec import Struct, field

SANDBOX_READY, SANDBOX_NOT_READY = "SANDBOX_READY", "SANDBOX_NOTREADY"
CREATED, RUNNING, EXITED, UNKNOWN = "created", "running", "exited", "unknown"
STDIN, STDOUT, STDERR = 0, 1, 2


class RuntimeRefused(Exception):
    """The runtime could not do it; the text is what goes into events and statuses."""


class ImageMissing(RuntimeRefused):
    """No such image in the local store."""


def not_connected(address: str, error: OSError, network: str = "tcp") -> str:
    """As Go's net package says it. asyncio puts words of its own in the place of the system's, so those are asked for by number."""
    why = os.strerror(error.errno) if error.errno else str(error)
    return f"dial {network} {address}: connect: {why.lower()}"


RUNTIME_DEFAULT, LOCALHOST = "runtime/default", "localhost/"


class Mount(Struct, frozen=True):
    """A file or folder of the node in the container. `subpath` is resolved below `source`, where no link can lead out."""

    source: str
    target: str
    readonly: bool = False
    subpath: str = ""
    devices: bool = False


class Resources(Struct, frozen=True):
    """0 = no limit. `cpu_shares` and the millicores of a quota per 100 ms; bytes; processes."""

    cpu_shares: int = 0
    cpu_limit_milli: int = 0
    memory_limit_bytes: int = 0
    pids_limit: int = 0
    oom_score_adj: int = 0


class Security(Struct, frozen=True):
    """`user` as Docker takes it (`1000`, `1000:1000`), empty = the image's. `added`, `dropped`: capabilities without CAP_, or ALL."""

    user: str = ""
    groups: tuple[int, ...] = ()
    privileged: bool = False
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    no_new_privs: bool = False
    readonly_root: bool = False
    seccomp: str = ""
    """Empty: every system call; `runtime/default`; `localhost/` and the path of a file."""
    unmasked: bool = False
    """/proc and /sys are as they are (procMount Unmasked)."""
    strict_groups: bool = False
    """Groups to which the image's own /etc/group adds the user do not count."""


class PortMapping(Struct, frozen=True):
    """What is asked of the node at `host_port` is for the pod. `host_ip` empty: at every address of the node."""

    host_port: int
    container_port: int
    protocol: str = "TCP"
    host_ip: str = ""


class SandboxConfig(Struct, frozen=True):
    """One pod's namespaces. `labels` and `annotations` are kept for the kubelet; `cgroup` is the pod's, below the runtime's root."""

    name: str
    namespace: str
    uid: str
    attempt: int = 0
    hostname: str = ""
    log_folder: str = ""
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    share_pids: bool = False
    cgroup: str = ""
    resources: Resources = Resources()
    """Of all its containers together."""
    dns_servers: tuple[str, ...] = ()
    dns_searches: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    sysctls: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class ContainerConfig(Struct, frozen=True):
    """`command` and `args` as in a pod: empty ones are the image's. `log_path` is relative to the sandbox's `log_folder`."""

    name: str
    image: str
    attempt: int = 0
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    target: str = ""
    """A container, by id, whose processes this one shall see (kubectl debug --target)."""
    resources: Resources = Resources()
    security: Security = Security()
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class Sandbox(Struct, frozen=True):
    """`ip` is empty on the node's own network."""

    id: str
    config: SandboxConfig
    state: str
    created_ns: int
    ip: str = ""


class Container(Struct, frozen=True):
    """`image` as it was asked for, `image_id` as what it was found. `reason` of an exited one: Completed, Error, OOMKilled, StartError."""

    id: str
    sandbox_id: str
    name: str
    attempt: int
    image: str
    image_id: str
    state: str
    created_ns: int
    started_ns: int = 0
    finished_ns: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    log_path: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class Image(Struct, frozen=True):
    """`id` is the digest of its configuration; `uid` is None and `username` set where the image names its user."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int
    uid: int | None = None
    username: str = ""


class Usage(Struct, frozen=True):
    """Of a container. None = not known here."""

    at_ns: int
    cpu_ns: int | None = None
    memory_bytes: int | None = None
    working_set_bytes: int | None = None
    disk_bytes: int | None = None


class ExecResult(Struct, frozen=True):
    code: int
    stdout: bytes
    stderr: bytes


class TimedOut(RuntimeRefused):
    """A command ran longer than it may."""


class Session(Protocol):
    """Streams to a process in a container, or to the container's own."""

    async def read(self) -> tuple[int, bytes] | None:
        """What came on STDOUT or STDERR; None when both have ended."""

    async def write(self, data: bytes) -> None: ...

    async def end_input(self) -> None: ...

    async def resize(self, columns: int, rows: int) -> None: ...

    async def wait(self) -> int:
        """The exit code (0 for an attachment that ended)."""

    async def close(self) -> None: ...


class Pipe(Protocol):
    """One TCP connection into a pod."""

    async def read(self) -> bytes:
        """Empty at the end."""

    async def write(self, data: bytes) -> None: ...

    async def end_input(self) -> None: ...

    async def close(self) -> None: ...


class Runtime(Protocol):
    """`name` and `version` as a node reports them: `containerd://1.6.20`."""

    name: str
    version: str

    async def open(self) -> None: ...

    async def close(self) -> None:
        """Let go of everything and stop nothing."""

    @property
    def network_ready(self) -> bool:
        """Whether pods with a network of their own can start."""

    async def set_pod_range(self, pod_range: str) -> None:
        """The range of the pods' addresses, once it is known."""

    async def run_sandbox(self, config: SandboxConfig) -> str: ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kills what still runs in it and gives its address back."""

    async def remove_sandbox(self, sandbox_id: str) -> None: ...

    async def sandboxes(self) -> Sequence[Sandbox]: ...

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str: ...

    async def start_container(self, container_id: str) -> None: ...

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        """The image's stop signal, and after `grace_s` the end. Returns when it has ended."""

    async def remove_container(self, container_id: str) -> None: ...

    async def containers(self) -> Sequence[Container]: ...

    async def reopen_log(self, container_id: str) -> None: ...

    async def exec_sync(self, container_id: str, argv: Sequence[str], timeout_s: float) -> ExecResult:
        """Raises TimedOut; the command is killed then."""

    async def exec(self, container_id: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> Session: ...

    async def attach(self, container_id: str, *, stdin: bool) -> Session: ...

    async def connect(self, sandbox_id: str, port: int) -> Pipe:
        """To the pod's own 127.0.0.1."""

    async def usage(self, container_id: str) -> Usage: ...

    async def disk_usage(self, container_id: str) -> int:
        """Bytes that it has written to its own root. Takes a while. Raises RuntimeRefused."""

    async def images(self) -> Sequence[Image]: ...

    async def image(self, reference: str) -> Image | None: ...

    async def pull_image(self, reference: str) -> str:
        """Its id. Raises ImageMissing."""

    async def remove_image(self, image_id: str) -> None: ...

    def changes(self) -> AsyncIterator[str]:
        """Ids of sandboxes in which something ended or started, until the runtime is closed."""
