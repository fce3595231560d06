"""Where the API servers are, and who we are: a kubeconfig file, or what a pod finds mounted (client-go's tools/clientcmd, as far as needed)."""

import base64
import binascii
import os
import ssl
import tempfile
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from apiserver.client.errors import BadConfiguration

IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Access(Struct, frozen=True):
    """`servers` are URLs without a path at their end, tried in turn. `token_file` is read again for every connection: tokens are renewed in place."""

    servers: tuple[str, ...]
    tls: ssl.SSLContext | None = None
    token: str = ""
    token_file: str = ""
    namespace: str = "default"


def load(path: Path | str, context: str = "") -> Access:
    """The access that a kubeconfig's current (or named) context gives. Several servers may stand in one `server`, separated by commas (an addition of
    ours: agents live through the loss of one without a balancer). Raises BadConfiguration."""
    path = Path(path)
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise BadConfiguration(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise BadConfiguration(f"{path} is not a kubeconfig: a mapping is expected")
    wanted = context or document.get("current-context") or ""
    chosen = _named(document, "contexts", "context", wanted, path)
    cluster = _named(document, "clusters", "cluster", chosen.get("cluster", ""), path)
    user = _named(document, "users", "user", chosen.get("user", ""), path) if chosen.get("user") else {}
    servers = tuple(each.strip().rstrip("/") for each in str(cluster.get("server", "")).split(",") if each.strip())
    if not servers:
        raise BadConfiguration(f"{path}: the cluster {chosen.get('cluster')!r} has no server")
    return Access(
        servers,
        _tls(cluster, user, path) if any(each.startswith("https:") for each in servers) else None,
        str(user.get("token", "")),
        str(user.get("tokenFile", "")),
        str(chosen.get("namespace") or "default"),
    )


def in_cluster(folder: Path = IN_CLUSTER) -> Access:
    """What a pod's service account gives. Raises BadConfiguration outside of a pod."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port or not (folder / "token").exists():
        raise BadConfiguration("not in a pod: KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and a mounted token are expected; give --kubeconfig")
    return Access(
        (f"https://{host}:{port}",),
        ssl.create_default_context(cafile=str(folder / "ca.crt")),
        token_file=str(folder / "token"),
        namespace=(folder / "namespace").read_text().strip(),
    )


def _named(document: dict[str, Any], many: str, one: str, name: str, path: Path) -> dict[str, Any]:
    for each in document.get(many) or ():
        if isinstance(each, dict) and each.get("name") == name:
            found = each.get(one)
            return found if isinstance(found, dict) else {}
    raise BadConfiguration(f"{path} has no {one} called {name!r}")


def _tls(cluster: dict[str, Any], user: dict[str, Any], path: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context()
        if authority := _bytes(cluster, "certificate-authority", path):
            context = ssl.create_default_context(cadata=authority.decode())
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = _bytes(user, "client-certificate", path), _bytes(user, "client-key", path)
        if certificate and key:
            # The ssl module loads a chain from files alone.
            with tempfile.NamedTemporaryFile() as file:
                file.write(certificate + b"\n" + key)
                file.flush()
                context.load_cert_chain(file.name)
    except (OSError, ValueError) as error:
        raise BadConfiguration(f"{path}: {error}") from None
    return context


def _bytes(section: dict[str, Any], name: str, path: Path) -> bytes:
    if data := section.get(f"{name}-data"):
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise BadConfiguration(f"{path}: {name}-data is not base64") from None
    if file := section.get(name):
        return (path.parent / str(file)).read_bytes()
    return b""
