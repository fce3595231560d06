"""API servers as real processes, each over a store of its own: the genuine one, and ours.

The genuine one asks a whole control plane for what it does not have itself: namespaces, reviews of tokens and of permissions. That is our own server,
so client-go's informers and delegated authentication are tried on it by the way.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from certs.control_plane import ADMIN, ControlPlane
from keelson.drills import leash
from tests.support.http import Http
from tests.support.members import wait_until
from tests.support.ports import free_port
from tests.support.tls import TlsFiles

READY_S = 90.0
STOP_S = 20.0
LOG_END = 4000
UNUSED_PLUGINS = "MutatingAdmissionWebhook,ValidatingAdmissionWebhook,ValidatingAdmissionPolicy,MutatingAdmissionPolicy"
"""They wait for objects of the control plane, and there are none for them."""


class Server:
    """One process. `name` is for its files and for messages."""

    def __init__(self, name: str, folder: Path, files: ControlPlane, store: Sequence[str]) -> None:
        self.name = name
        self.port = free_port()
        self.folder = folder
        self.files = files
        self.store = list(store)
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def serving(self) -> list[str]:
        certificate, key = self.files.serving()
        return [
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self.files.ca}",
        ]

    def http(self) -> Http:
        certificate, key = self.files.client(ADMIN)
        ca = self.files.ca
        return Http(self.port, TlsFiles(ca, certificate, key, certificate, key, certificate, key))

    def start(self) -> None:
        """Raises AssertionError with the end of its log if it does not get ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
            )
        try:
            wait_until(self._ready, READY_S, f"{self.name} ready", 0.1)
        except AssertionError as late:
            text = f"{late}\n{self.log_tail()}"
            self.stop()
            raise AssertionError(text) from None

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self._process.returncode}")
        http = self.http()
        try:
            return http.get("/readyz", timeout_s=2).status == 200
        except OSError:
            return False
        finally:
            http.close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            self._process = None

    def log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-LOG_END:]


class Ours(Server):
    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "apiserver.main"),
            *self.store,
            *self.serving(),
            f"--service-account-key-file={self.files.service_account_public_keys}",
            f"--service-account-signing-key-file={self.files.service_account_key}",
            "--disable-admission-plugins=ServiceAccount",
        ]


class Genuine(Server):
    """`core`: the server that it asks. It must be ready before this one starts."""

    def __init__(self, program: Path, core: Server, name: str, folder: Path, files: ControlPlane, store: Sequence[str]) -> None:
        super().__init__(name, folder, files, store)
        self._program, self._core = program, core

    def command(self) -> list[str]:
        kubeconfig = self.folder / f"{self.name}.kubeconfig"
        self.files.write_kubeconfig(kubeconfig, ADMIN, self._core.url)
        return [
            str(self._program),
            *self.store,
            *self.serving(),
            *(f"--{each}={kubeconfig}" for each in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")),
            "--authentication-skip-lookup",
            f"--disable-admission-plugins={UNUSED_PLUGINS}",
            "--enable-priority-and-fairness=false",
        ]
