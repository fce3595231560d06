"""The two servers, each over a store of its own kind, with the same flags: what one takes, the other takes."""

import contextlib
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from keelson.drills import leash
from tests.support import kinds, tls
from tests.support.members import Cluster, wait_until
from tests.support.ports import free_port

TOKENS = {"admin": "system:masters", "nobody": ""}
"""Users (each one's token is its name) and their groups."""
NEWER = "BoundServiceAccountTokenVolume=true,EphemeralContainers=true,TTLAfterFinished=true,IPv6DualStack=true"
"""Alpha in 1.20, always there today."""
START_S = 120.0


class Server:
    """A running API server."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name, self.port, self.process, self.log = name, port, process, log
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE


def _flags(folder: Path, endpoint: str, port: int) -> list[str]:
    key, tokens = folder / "sa.key", folder / "tokens.csv"
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()))
    tokens.write_text("".join(f"{user},{user},{user}{f',{group}' if group else ''}\n" for user, group in TOKENS.items()))
    return [
        f"--etcd-servers={endpoint}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certs'}",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.0.0.0/16",
    ]


@contextlib.contextmanager
def _running(name: str, command: list[str], folder: Path, port: int) -> Iterator[Server]:
    log = folder / "log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            start_new_session=True,
        )
    try:
        yield Server(name, port, process, log)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


@contextlib.contextmanager
def _over(store: Cluster, folder: Path, name: str, command: list[str], *more: str) -> Iterator[Server]:
    port = free_port()
    endpoints = ",".join(member.client_url for member in store)
    shown = store[0].tls
    if shown is not None:
        more = (*more, f"--etcd-cafile={shown.ca}", f"--etcd-certfile={shown.client_cert}", f"--etcd-keyfile={shown.client_key}")
    with _running(name, [*command, *_flags(folder, endpoints, port), *more], folder, port) as server:
        yield server


@contextlib.contextmanager
def oracle(program: str, folder: Path) -> Iterator[Server]:
    """kube-apiserver over etcd."""
    folder.mkdir(parents=True)
    with Cluster(kinds.find(kinds.ETCD), folder, 1) as store, _over(store, folder, "oracle", [program], *_gates(program)) as server:
        yield server


@contextlib.contextmanager
def subject(folder: Path) -> Iterator[Server]:
    """Ours over our own store."""
    folder.mkdir(parents=True)
    ours = [sys.executable, "-m", "apiserver.main"]
    with Cluster(kinds.find(kinds.KEELSON), folder, 1) as store, _over(store, folder, "subject", ours, "--log-level=warn") as server:
        yield server


@contextlib.contextmanager
def on_our_store(program: str, folder: Path) -> Iterator[tuple[Server, Cluster]]:
    """kube-apiserver over three members of our store, with certificates."""
    folder.mkdir(parents=True)
    with (
        Cluster(kinds.find(kinds.KEELSON), folder, 3, tls.make(folder / "tls")) as store,
        _over(store, folder, "subject", [program], *_gates(program)) as server,
    ):
        yield server, store


def _gates(program: str) -> list[str]:
    version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    return [f"--feature-gates={NEWER}", "--allow-privileged"] if " v1.20." in version else ["--allow-privileged"]


def wait_serving(server: Server, ask: Callable[[str], int]) -> None:
    def up() -> bool:
        assert server.process.poll() is None, f"{server.name} ended:\n{server.log.read_text(errors='replace')[-3000:]}"
        with contextlib.suppress(OSError, ssl.SSLError):
            return ask("/readyz") == 200
        time.sleep(0.2)
        return False

    wait_until(up, START_S, f"{server.name} serves", pause_s=0.1)
