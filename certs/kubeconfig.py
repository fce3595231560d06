"""Kubeconfig files with everything in them: server, authority, certificate and key, so that one file is all that a program or a person needs."""

import base64
import json
from pathlib import Path
from typing import Any

from certs import files


def document(
    server: str, authority_pem: bytes, certificate_pem: bytes, key_pem: bytes, user: str, cluster: str, namespace: str = ""
) -> dict[str, Any]:
    """What the file says (client-go, clientcmd/api/v1 Config)."""
    context = {"cluster": cluster, "user": user, **({"namespace": namespace} if namespace else {})}
    name = f"{user}@{cluster}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": _text(authority_pem)}}],
        "users": [{"name": user, "user": {"client-certificate-data": _text(certificate_pem), "client-key-data": _text(key_pem)}}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
        "preferences": {},
    }


def write(path: Path, content: dict[str, Any]) -> bool:
    """Write it, readable for its owner alone, unless the file says the same already; whether it was written. JSON, which is YAML to every reader."""
    wanted = (json.dumps(content, indent=2) + "\n").encode()
    try:
        if path.read_bytes() == wanted:
            return False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path, wanted, files.PRIVATE)
    return True


def _text(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
