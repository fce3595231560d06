"""The control plane and the nodes of a cluster: which programs there are, and the command line of each.

Everything of it lies in the cluster's folder:

    kube/                 certificates and keys (see certs.control_plane), one kubeconfig for each program, admin.kubeconfig for the user
    volumes/              directories of persistent volumes (storage class local-path)
    nodes/NAME/           what a node keeps: its pods, volumes, images, logs

Programs that reach the API server are given all API servers, so that they outlive the loss of one; people and their tools are given the one address
of the balancer.
"""

import shlex
import sys
from datetime import datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

import certs.control_plane
from certs.control_plane import ADMIN
from certs.control_plane import ControlPlane as Certificates
from keelson.launcher import audit_policy
from keelson.launcher.network import Network
from keelson.launcher.programs import AGENTS, API, Program

HOST = "127.0.0.1"
DEFAULT_PORT = 6443
PORTS = 32
"""How many ports from the first one belong to a cluster."""
LEADER_LEASE_S, LEADER_LEASE_S_MIN, LEADER_LEASE_S_MAX = 15, 3, 300
"""Upstream's default, and what may be chosen: a holder stops by itself after two thirds without an answer, so a short lease makes every pause of the
machine or the store that is as long an end of the active one."""
PROXY_MODES = ("userspace", "nftables")
"""How nodes answer for services: in a process, or in the kernel, which needs the program `nft`."""
POD_PIDS_MAX = 1024
"""Processes and threads of one pod. The nodes share a machine, and its numbers for processes (32,768 by default)."""
EVICTION_HARD = "memory.available<100Mi,nodefs.available<1Gi"
"""An amount, not upstream's tenth: the nodes share the disk of a machine that is not theirs alone, and that is often nine tenths full."""
AUDIT_LOG_MB = 50
"""One old log is kept beside the present one."""
API_FIRST_START_S, AGENTS_FIRST_START_S = 0.3, 1.2
"""After the store's members, who need about a second of a processor each: whoever comes too early only waits, and takes it from them."""


class ControlPlane(Struct, frozen=True):
    """What stays the same over the life of a cluster's folder. `number`: see network.Network."""

    number: int = 0
    port: int = DEFAULT_PORT
    api_servers: int = 2
    balancers: int = 2
    schedulers: int = 2
    controller_managers: int = 2
    cloud_controller_managers: int = 2
    nodes: int = 3
    leader_lease_s: int = LEADER_LEASE_S
    """How long the standby of an elected program waits for one that is silent."""
    proxy_mode: str = PROXY_MODES[0]

    @property
    def network(self) -> Network:
        return Network(self.number, self.nodes)

    @property
    def api_server_ports(self) -> list[int]:
        return [self.port + 1 + each for each in range(self.api_servers)]

    @property
    def node_names(self) -> list[str]:
        return [f"node{number}" for number in range(1, self.nodes + 1)]

    def api_servers_from(self, host: str) -> str:
        """All API servers as a kubeconfig of ours names them."""
        return ",".join(f"https://{host}:{port}" for port in self.api_server_ports)

    @property
    def addresses(self) -> list[str]:
        """Where API servers and balancer listen: on the host, and for the nodes."""
        return [HOST, *([self.network.gateway] if self.nodes else [])]

    @property
    def server(self) -> str:
        """The one address."""
        return f"https://{HOST}:{self.port}"


class Files(Struct, frozen=True):
    """What `certs.control_plane` puts into `folder`, and a kubeconfig for each program that reaches the API server."""

    folder: Path

    @property
    def certificates(self) -> Certificates:
        return Certificates(self.folder)

    @property
    def admin(self) -> Path:
        return self.kubeconfig(ADMIN)

    def kubeconfig(self, name: str) -> Path:
        return self.folder / f"{name}.kubeconfig"


def images(cluster: Path) -> Path:
    """The store of images that all nodes share."""
    return cluster / "images"


def files_of(cluster: Path) -> Files:
    return Files(cluster / "kube")


def programs(folder: Path, plan: ControlPlane, store_urls: str, store_files: tuple[Path, Path, Path]) -> list[Program]:
    """All of them, in the order in which they are worth starting. `store_files`: authority, certificate and key for the store."""
    files = files_of(folder)
    certificates = files.certificates
    made = [_api_server(files, plan, number, store_urls, store_files) for number in range(1, plan.api_servers + 1)]
    made += [_balancer(files, plan, number) for number in range(1, plan.balancers + 1)]
    servers = len(made)
    elected = (
        ("scheduler", "agents.scheduler.main", ()),
        (
            "controllers",
            "agents.controllers.main",
            (
                f"--root-ca-file={certificates.ca}",
                f"--service-account-private-key-file={certificates.service_account_key}",
                f"--cluster-signing-cert-file={certificates.ca}",
                f"--cluster-signing-key-file={certificates.ca_key}",
                f"--local-path-root={folder / 'volumes'}",
            ),
        ),
        (
            "cloud",
            "agents.cloud.main",
            (f"--load-balancer-range={plan.network.balancers}", *(["--load-balancer-routes"] if plan.nodes else [])),
        ),
    )
    election = [
        "--leader-elect",
        f"--leader-elect-lease-duration={plan.leader_lease_s}s",
        f"--leader-elect-renew-deadline={plan.leader_lease_s * 1000 * 2 // 3}ms",
        f"--leader-elect-retry-period={plan.leader_lease_s * 1000 * 2 // 15}ms",
    ]
    ports = health_ports(plan)
    for kind, module, flags in elected:
        for number, port in enumerate(ports[kind], 1):
            made.append(_agent(files, f"{kind}-{number}", module, *election, f"--bind-address={HOST}", f"--secure-port={port}", *flags))
    for number in range(1, plan.nodes + 1):
        made += _node(folder, files, plan, number)
    return [replace(program, first_start_s=API_FIRST_START_S if number < servers else AGENTS_FIRST_START_S) for number, program in enumerate(made)]


def health_ports(plan: ControlPlane) -> dict[str, range]:
    """Of the programs of which one at a time is active: where their health pages are, on this machine."""
    found, port = {}, plan.port + 10
    counts = (("scheduler", plan.schedulers), ("controllers", plan.controller_managers), ("cloud", plan.cloud_controller_managers))
    for kind, count in counts:
        found[kind] = range(port, port + count)
        port += count
    return found


def _api_server(files: Files, plan: ControlPlane, number: int, store_urls: str, store_files: tuple[Path, Path, Path]) -> Program:
    name = f"apiserver-{number}"
    certificates = files.certificates
    serving, key = certificates.serving(name)
    kubelet_client = certificates.client("apiserver-kubelet")
    authority, store_certificate, store_key = store_files
    mark = f"--tls-cert-file={serving}"
    flags = [
        mark,
        f"--tls-private-key-file={key}",
        f"--client-ca-file={certificates.ca}",
        f"--etcd-servers={store_urls}",
        f"--etcd-cafile={authority}",
        f"--etcd-certfile={store_certificate}",
        f"--etcd-keyfile={store_key}",
        *(f"--bind-address={address}" for address in plan.addresses),
        f"--secure-port={plan.api_server_ports[number - 1]}",
        f"--advertise-address={plan.addresses[-1]}",
        f"--service-cluster-ip-range={plan.network.services}",
        f"--kubelet-certificate-authority={certificates.ca}",
        f"--kubelet-client-certificate={kubelet_client[0]}",
        f"--kubelet-client-key={kubelet_client[1]}",
        *(
            f"--component-health={name}=https://{HOST}:{port}/healthz"
            for kind, name in (("scheduler", "scheduler"), ("controllers", "controller-manager"))
            for port in health_ports(plan)[kind]
        ),
        f"--service-account-key-file={certificates.service_account_public_keys}",
        f"--service-account-signing-key-file={certificates.service_account_key}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--encryption-provider-config={certificates.encryption}",
        "--encryption-provider-config-automatic-reload",
        f"--audit-policy-file={files.folder / audit_policy.NAME}",
        f"--audit-log-path={files.folder.parent / 'logs' / f'audit-{number}.log'}",
        f"--audit-log-maxsize={AUDIT_LOG_MB}",
        "--audit-log-maxbackup=1",
    ]
    return Program(name, (sys.executable, "-m", "apiserver.main", *flags), mark, stop_stage=API)


def _balancer(files: Files, plan: ControlPlane, number: int) -> Program:
    name = f"balancer-{number}"
    mark = f"--name={files.folder}/{name}"
    authority = f"--certificate-authority={files.certificates.ca}"
    listen = [f"--listen={address}:{plan.port}" for address in plan.addresses]
    backends = [f"--backend={HOST}:{port}" for port in plan.api_server_ports]
    routes = [f"--route-lock={files.folder.parent / 'run' / 'routes.lock'}"] if plan.nodes else []
    routes += [f"--route={network}" for network in (plan.network.services, plan.network.balancers) if plan.nodes]
    routes += [f"--via={plan.network.address(node)}" for node in range(1, plan.nodes + 1)]
    return Program(name, (sys.executable, "-m", "keelson.launcher.balancer", mark, authority, *listen, *backends, *routes), mark, stop_stage=API)


def _agent(files: Files, name: str, module: str, *flags: str, namespace: str = "") -> Program:
    mark = f"--kubeconfig={files.kubeconfig(name)}"
    return Program(name, (sys.executable, "-m", module, mark, *flags), mark, namespace, stop_stage=AGENTS)


def _node(folder: Path, files: Files, plan: ControlPlane, number: int) -> list[Program]:
    name = f"node{number}"
    network = plan.network
    namespace, address = network.namespace(number), network.address(number)
    serving, key = files.certificates.serving(f"kubelet-{name}")
    host_ports = f"--host-ports-file={folder / 'nodes' / name / 'host-ports.json'}"
    kubelet = _agent(
        files,
        f"kubelet-{name}",
        "agents.kubelet.main",
        f"--hostname-override={name}",
        f"--node-ip={address}",
        f"--root-dir={folder / 'nodes' / name}",
        f"--pod-cidr={network.pods_of(number)}",
        f"--cluster-dns={network.dns}",
        "--cluster-domain=cluster.local",
        f"--tls-cert-file={serving}",
        f"--tls-private-key-file={key}",
        f"--client-ca-file={files.certificates.ca}",
        f"--image-store={images(folder)}",
        f"--pod-max-pids={POD_PIDS_MAX}",
        f"--eviction-hard={EVICTION_HARD}",
        host_ports,
        namespace=namespace,
    )
    proxy = _agent(
        files,
        f"proxy-{name}",
        "agents.proxy.main",
        f"--hostname-override={name}",
        f"--cluster-cidr={network.pods}",
        f"--proxy-mode={plan.proxy_mode}",
        host_ports,
        namespace=namespace,
    )
    dns = _agent(
        files,
        f"dns-{name}",
        "agents.dns.main",
        f"--node-name={name}",
        f"--listen={address}:53",
        "--cluster-domain=cluster.local",
        f"--cluster-dns={network.dns}",
        namespace=namespace,
    )
    return [kubelet, proxy, dns]


def instances(plan: ControlPlane) -> dict[str, list[str]]:
    """Of each component in the words of `certs.control_plane`, the programs that are one of it: each gets a certificate of its own."""
    return {
        "apiserver": [f"apiserver-{number}" for number in range(1, plan.api_servers + 1)],
        "scheduler": [f"scheduler-{number}" for number in range(1, plan.schedulers + 1)],
        "controller-manager": [f"controllers-{number}" for number in range(1, plan.controller_managers + 1)],
        "cloud-controller-manager": [f"cloud-{number}" for number in range(1, plan.cloud_controller_managers + 1)],
        "proxy": [f"proxy-{name}" for name in plan.node_names],
        "dns": [f"dns-{name}" for name in plan.node_names],
    }


def write_identities(cluster: Path, plan: ControlPlane, store_certificates: Path, now: datetime) -> list[str]:
    """Certificates, keys and kubeconfigs of all programs, made or renewed where needed; what was written. Raises Unusable, InvalidRequest."""
    files = files_of(cluster)
    network = plan.network
    named = instances(plan)
    made = certs.control_plane.ensure(
        files.folder,
        now,
        {name: [network.address(number)] for number, name in enumerate(plan.node_names, 1)},
        [network.gateway, network.first_service],
        store_certificates,
        named,
    )
    written = list(made.written)
    reached = {
        **{name: HOST for component in ("scheduler", "controller-manager", "cloud-controller-manager") for name in named[component]},
        **{name: network.gateway for component in ("proxy", "dns") for name in named[component]},
        **{f"kubelet-{name}": network.gateway for name in plan.node_names},
    }
    for name, host in reached.items():
        if made.write_kubeconfig(files.kubeconfig(name), name, plan.api_servers_from(host)):
            written.append(files.kubeconfig(name).name)
    if made.write_kubeconfig(files.admin, ADMIN, plan.server):
        written.append(files.admin.name)
    if audit_policy.ensure(files.folder):
        written.append(audit_policy.NAME)
    return written


def export_line(folder: Path) -> str:
    """For a shell: where kubectl and helm find the cluster."""
    return f"export KUBECONFIG={shlex.quote(str(files_of(folder).admin))}"
