"""All that the Kubernetes control plane of one cluster shows and signs with, in one folder: made when missing, renewed before it ends.

ca.crt ca.key                        the Kubernetes authority: every identity below is its word. The store has another one (see bundle.py), so that
                                     nobody whom this one knows can speak to the store
serving-apiserver.crt .key           of the API servers
serving-kubelet-NODE.crt .key        of a node's agent, where logs and exec are fetched
client-kubelet-NODE.crt .key         system:node:NODE in system:nodes
client-NAME.crt .key                 of each component in COMPONENTS, and of the administrator
sa.key sa.pub                        sign and check service account tokens
encryption-config.yaml               the key that secrets are encrypted with in the store

In the store's folder: client-apiserver.crt .key, the API servers' identity there.
"""

import base64
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certs import authority, bundle, files, kubeconfig, revocation
from certs.authority import Pair
from certs.profiles import CLIENT, LOOPBACK, SERVING, Profile

ADMIN = "admin"
API_SERVER = "apiserver"
MASTERS, NODES = "system:masters", "system:nodes"

COMPONENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    ADMIN: ("kubernetes-admin", (MASTERS,)),
    "apiserver-kubelet": ("kube-apiserver-kubelet-client", (MASTERS,)),
    "scheduler": ("system:kube-scheduler", ()),
    "controller-manager": ("system:kube-controller-manager", ()),
    "cloud-controller-manager": ("system:cloud-controller-manager", ()),
    "proxy": ("system:kube-proxy", ("system:node-proxier",)),
    "dns": ("system:dns", ()),
}
"""By the name of its files: user and groups, as the default bindings of RBAC know them."""

SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
API_SERVER_HOSTS = (*LOOPBACK, "172.30.0.1", "10.96.0.1")
"""Loopback, the host as nodes see it, and the first service address."""
ENCRYPTION_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where the files are, and which of them the call that returned this has written."""

    folder: Path
    store: Path | None = None
    written: tuple[str, ...] = ()

    @property
    def ca(self) -> Path:
        """--client-ca-file of servers, --root-ca-file and --cluster-signing-cert-file of the controller manager."""
        return files.certificate_path(self.folder, bundle.CA)

    @property
    def ca_key(self) -> Path:
        """--cluster-signing-key-file of the controller manager, and of nobody else."""
        return files.key_path(self.folder, bundle.CA)

    @property
    def service_account_key(self) -> Path:
        """--service-account-signing-key-file."""
        return self.folder / "sa.key"

    @property
    def service_account_public_keys(self) -> Path:
        """--service-account-key-file."""
        return self.folder / "sa.pub"

    @property
    def encryption(self) -> Path:
        """--encryption-provider-config."""
        return self.folder / "encryption-config.yaml"

    def serving(self, name: str = API_SERVER) -> tuple[Path, Path]:
        """Certificate and key of a server: `apiserver`, `kubelet-NODE`."""
        return self._pair(SERVING, name)

    def client(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of a client: a key of COMPONENTS, or `kubelet-NODE`."""
        return self._pair(CLIENT, name)

    def store_client(self) -> tuple[Path, Path]:
        """The API servers' certificate and key at the store (--etcd-certfile, --etcd-keyfile)."""
        assert self.store is not None, "made without the store's folder"
        stem = bundle.file_name(CLIENT, API_SERVER)
        return files.certificate_path(self.store, stem), files.key_path(self.store, stem)

    def write_kubeconfig(self, path: Path, who: str, server: str, cluster: str = "keelson") -> bool:
        """A kubeconfig for `who` (as `client`); `server` may be several URLs separated by commas for our own agents. Whether the file changed."""
        certificate, key = self.client(who)
        user = authority.name_of(files.read_certificate(certificate).subject)
        content = kubeconfig.document(server, self.ca.read_bytes(), certificate.read_bytes(), key.read_bytes(), user, cluster)
        return kubeconfig.write(path, content)

    def _pair(self, profile: Profile, name: str) -> tuple[Path, Path]:
        stem = bundle.file_name(profile, name)
        return files.certificate_path(self.folder, stem), files.key_path(self.folder, stem)


@dataclass(frozen=True, slots=True)
class _Leaf:
    profile: Profile
    file: str
    name: str
    organizations: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


def ensure(
    folder: Path,
    now: datetime,
    nodes: Mapping[str, Iterable[str]] | None = None,
    api_server_hosts: Iterable[str] = (),
    store: Path | None = None,
    instances: Mapping[str, Iterable[str]] | None = None,
) -> ControlPlane:
    """Make or renew whatever is lacking. `nodes`: the addresses of each node by its name. `api_server_hosts` are added to API_SERVER_HOSTS.
    `store`: the folder of the store's bundle, which must be there already. `instances`: of a component that runs several times (API_SERVER, or a key
    of COMPONENTS), the names of those that get a certificate each; without it there is one, called as the component.

    Raises Unusable if a file of an authority is damaged, InvalidRequest for names that no certificate can carry.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ca, is_new = bundle.ensure_ca(folder, now, f"kubernetes {folder.resolve().parent.name}")
    written = [bundle.CA] if is_new else []
    serving = (*SERVICE_NAMES, *API_SERVER_HOSTS, *api_server_hosts)
    several = dict(instances or {})
    leaves = [_Leaf(SERVING, file, "kube-apiserver", hosts=tuple(dict.fromkeys(serving))) for file in several.get(API_SERVER, (API_SERVER,))]
    leaves += [_Leaf(CLIENT, file, name, groups) for component, (name, groups) in COMPONENTS.items() for file in several.get(component, (component,))]
    for node, addresses in (nodes or {}).items():
        hosts = tuple(dict.fromkeys((node, *addresses, *LOOPBACK)))
        leaves.append(_Leaf(SERVING, f"kubelet-{node}", f"system:node:{node}", (NODES,), hosts))
        leaves.append(_Leaf(CLIENT, f"kubelet-{node}", f"system:node:{node}", (NODES,)))
    written += [bundle.file_name(leaf.profile, leaf.file) for leaf in leaves if _ensure_leaf(folder, ca, leaf, now)]
    if store is not None and _ensure_leaf(store, files.read(store, bundle.CA), _Leaf(CLIENT, API_SERVER, "kube-apiserver"), now):
        written.append("store client")
    written += _ensure_token_keys(folder)
    written += _ensure_encryption(folder)
    return ControlPlane(folder, store, tuple(written))


def _ensure_leaf(folder: Path, ca: Pair, leaf: _Leaf, now: datetime) -> bool:
    stem = bundle.file_name(leaf.profile, leaf.file)
    if bundle.is_good(folder, stem, ca, leaf.hosts, now, revocation.serials(folder)):
        subject = files.read_certificate(files.certificate_path(folder, stem)).subject
        if authority.name_of(subject) == leaf.name and authority.organizations_of(subject) == list(leaf.organizations):
            return False
    pair = authority.issue(ca, leaf.profile, leaf.name, leaf.hosts, now, organizations=leaf.organizations)
    files.write(folder, stem, pair, overwrite=True)
    return True


def _ensure_token_keys(folder: Path) -> list[str]:
    """Never made again while they are there: every token ever given hangs on them."""
    private, public = folder / "sa.key", folder / "sa.pub"
    if not private.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files.write_atomically(private, pem, files.PRIVATE)
    elif public.exists():
        return []
    try:
        read = serialization.load_pem_private_key(private.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise files.Unusable(f"{private} holds no private key that can be read without a password: {error}") from None
    content = read.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    files.write_atomically(public, content, files.PUBLIC)
    return ["sa"]


def _ensure_encryption(folder: Path) -> list[str]:
    """As upstream's EncryptionConfiguration; the identity at the end reads what was written before. JSON, which is YAML to every reader."""
    path = folder / "encryption-config.yaml"
    if path.exists():
        return []
    key = {"name": "key1", "secret": base64.b64encode(os.urandom(ENCRYPTION_KEY_BYTES)).decode()}
    content = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"aesgcm": {"keys": [key]}}, {"identity": {}}]}],
    }
    files.write_atomically(path, (json.dumps(content, indent=2) + "\n").encode(), files.PRIVATE)
    return ["encryption-config"]
