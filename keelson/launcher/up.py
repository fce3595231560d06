"""`keelson up`: from nothing, or from whatever is there, to a healthy cluster.

In order, each step harmless if it was done before: plan the cluster or go on with the one in the folder; check the ports; make certificates; start
the supervisor; wait until every member is healthy. A start that fails is undone, its logs stay; what ran before, because its supervisor alone was
killed, runs on.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from agents.kubelet.oci import toolbox
from agents.kubelet.oci.store import Store
from certs import bundle
from certs.authority import InvalidRequest
from certs.files import Unusable
from keelson.launcher import arrival, control_plane, down, network, ports, processes, supervisor
from keelson.launcher import cluster as clusters
from keelson.launcher.calls import Caller, NoAnswer
from keelson.launcher.cluster import Cluster, Refused
from keelson.launcher.control_plane import ControlPlane

POLL_S = 0.1
DEATHS_BEFORE_GIVING_UP = 4
"""A member that dies this often before it was healthy once will not recover by being started again."""
LOG_TAIL_LINES = 5

Tell = Callable[[str], None]


class Wanted(Struct, frozen=True):
    """The command line's words; None for what was not said."""

    members: int | None = None
    client_ports: str | None = None
    peer_ports: str | None = None
    insecure: bool | None = None
    store_only: bool = False
    port: int | None = None
    """The balancer's; the API servers' follow it."""
    nodes: int | None = None
    leader_lease_s: float | None = None
    proxy_mode: str | None = None


class NotHealthy(Exception):
    """The cluster did not become healthy; the text says who, why, and where to read on."""


def up(folder: Path, wanted: Wanted, wait_s: float, tell: Tell, attached: bool = False) -> tuple[Cluster, subprocess.Popen[bytes] | None]:
    """A healthy cluster in `folder`, and its supervisor if this call started it. Raises Refused or NotHealthy."""
    choose(folder, wanted)  # what cannot be is refused before anything is written
    with launch_lock(folder, tell):
        cluster = choose(folder, wanted)
        before = restarts(cluster)
        if processes.running(cluster.folder, supervisor.NAME):
            tell(f"the cluster in {folder} is running already")
            wait_healthy(cluster, None, wait_s, tell, before)
            wait_control_plane(cluster, wait_s, tell, before)
            return cluster, None
        check_ports(cluster)
        check_proxy_mode(cluster.control_plane)
        clusters.member_program()
        cluster = with_number(cluster)
        if not cluster.spec.insecure:
            make_certificates(cluster, tell)
        clusters.save(cluster)
        if cluster.control_plane is not None and cluster.control_plane.nodes:
            make_images(cluster, tell)
            network.ensure(cluster.control_plane.network, network.mark_of(cluster.folder))
        runs_already = down.runs(cluster)
        child = start_supervisor(cluster, attached)
        try:
            wait_healthy(cluster, child, wait_s, tell, before)
            wait_control_plane(cluster, wait_s, tell, before)
        except BaseException:
            if not runs_already:
                child.terminate()  # for /proc a process is nobody while it is being born
                down.stop(cluster)
                child.wait()
            raise
        return cluster, child


def choose(folder: Path, wanted: Wanted) -> Cluster:
    """The cluster that is in the folder, or a new one. Raises Refused if another was asked for than the one that is there."""
    existing = clusters.load(folder)
    if existing is None:
        spec = clusters.plan(
            clusters.DEFAULT_MEMBERS if wanted.members is None else wanted.members,
            wanted.client_ports or clusters.DEFAULT_CLIENT_PORTS,
            wanted.peer_ports or clusters.DEFAULT_PEER_PORTS,
            bool(wanted.insecure),
        )
        if not wanted.store_only:
            spec = msgspec.structs.replace(spec, control_plane=plan_control_plane(wanted))
        return Cluster(folder.resolve(), spec)
    have = existing.spec
    count = len(have.members)
    differences = []
    if wanted.members not in (None, count):
        differences.append(f"{count} members, not {wanted.members}")
    for what, text, listed in (
        ("client", wanted.client_ports, [member.client_port for member in have.members]),
        ("peer", wanted.peer_ports, [member.peer_port for member in have.members]),
    ):
        if text is not None and clusters.spread(text, count, what) != listed:
            differences.append(f"{what} ports {', '.join(map(str, listed))}")
    if wanted.store_only and have.control_plane is not None:
        differences.append("a control plane")
    if have.control_plane is not None:
        if wanted.port not in (None, have.control_plane.port):
            differences.append(f"the API at port {have.control_plane.port}")
        if wanted.nodes not in (None, have.control_plane.nodes):
            differences.append(f"{have.control_plane.nodes} nodes")
        if wanted.leader_lease_s not in (None, have.control_plane.leader_lease_s):
            differences.append(f"leases of {have.control_plane.leader_lease_s} s")
        if wanted.proxy_mode not in (None, have.control_plane.proxy_mode):
            differences.append(f"{have.control_plane.proxy_mode} proxies")
    if wanted.insecure not in (None, have.insecure):
        differences.append("no TLS" if have.insecure else "TLS")
    if differences:
        raise Refused(f"the cluster in {folder} was made with {'; '.join(differences)}: take another --data-dir, or remove this one first")
    return existing


def plan_control_plane(wanted: Wanted) -> ControlPlane:
    """Raises Refused for what cannot be."""
    if wanted.insecure:
        raise Refused("a control plane without TLS is not for anybody: leave --insecure away, or add --store-only")
    nodes = wanted.nodes
    if not network.may_be_made():
        if nodes:
            raise Refused("nodes are network namespaces, which need root: run this as root, or with --nodes 0")
        nodes = 0
    nodes = ControlPlane().nodes if nodes is None else nodes
    if not 0 <= nodes <= network.NODES_MAX:
        raise Refused(f"a cluster here has at most {network.NODES_MAX} nodes, not {nodes}")
    port = control_plane.DEFAULT_PORT if wanted.port is None else wanted.port
    if not 1 <= port <= clusters.PORT_MAX - control_plane.PORTS:
        raise Refused(f"API port {port} is not between 1 and {clusters.PORT_MAX - control_plane.PORTS}")
    lease_s = control_plane.LEADER_LEASE_S if wanted.leader_lease_s is None else wanted.leader_lease_s
    if lease_s != int(lease_s) or not control_plane.LEADER_LEASE_S_MIN <= lease_s <= control_plane.LEADER_LEASE_S_MAX:
        raise Refused(f"a lease is {control_plane.LEADER_LEASE_S_MIN} to {control_plane.LEADER_LEASE_S_MAX} whole seconds, not {lease_s:g}")
    mode = wanted.proxy_mode or control_plane.PROXY_MODES[0]
    if mode not in control_plane.PROXY_MODES:
        raise Refused(f"there is no proxy mode {mode!r}: {' or '.join(control_plane.PROXY_MODES)}")
    if wanted.proxy_mode and not nodes:
        raise Refused("--proxy-mode is for nodes, and there are none: they need root, and --nodes")
    plan = ControlPlane(0, port, nodes=nodes, leader_lease_s=int(lease_s), proxy_mode=mode)
    check_proxy_mode(plan)
    return plan


def check_proxy_mode(plan: ControlPlane | None) -> None:
    """Raises Refused if the nodes' proxies could not do what they are to do."""
    if plan is None or not plan.nodes or plan.proxy_mode != "nftables":
        return
    if shutil.which("nft") is None:
        raise Refused("proxies with nftables need the program nft on the PATH: install the package nftables, or take --proxy-mode userspace")
    # Without a rule: whether the kernel has nftables at all, and lets us.
    tried = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if tried.returncode:
        raise Refused(f"nft does not work here, take --proxy-mode userspace: {tried.stderr.strip()[:500]}")


def with_number(cluster: Cluster) -> Cluster:
    """A cluster with nodes has a number among those on this machine, and the networks that go with it. It keeps it; but while it is down another one
    may take it, and then it gets a new one, as long as nothing was stored with the old. Raises Refused."""
    plan = cluster.control_plane
    if plan is None or not plan.nodes:
        return cluster
    mark = network.mark_of(cluster.folder)
    if clusters.load(cluster.folder) is not None:
        try:
            network.take(plan.network, mark)
        except network.Taken as error:
            if any(cluster.data(member.name).exists() for member in cluster.members):
                raise Refused(
                    f"{plan.network.bridge} with {plan.network.services} and other networks of the cluster in {cluster.folder} is now of {error}. "
                    f"Addresses of services and nodes are stored in it and cannot change: stop the other one first (keelson down --data-dir), "
                    f"or make a new cluster in another folder"
                ) from None
        else:
            return cluster
    number = network.claim(mark)
    if number is None:
        raise Refused(f"there are {network.NUMBER_MAX} clusters with nodes on this machine already")
    numbered = Cluster(cluster.folder, msgspec.structs.replace(cluster.spec, control_plane=msgspec.structs.replace(plan, number=number)))
    clusters.save(numbered)  # from now on `down` gives the number back
    return numbered


def check_ports(cluster: Cluster) -> None:
    """Raises Refused, naming port and holder, if somebody else has a port of a member that does not run yet."""
    for member in cluster.members:
        if processes.find(cluster.folder, member.name, cluster.data_flag(member.name)):
            continue
        for port, option in ((member.client_port, "--client-port"), (member.peer_port, "--peer-port")):
            want_free(port, member.name, option, "choose other ports with")
    if cluster.control_plane is not None:
        check_api_ports(cluster, cluster.control_plane)


def check_api_ports(cluster: Cluster, plan: ControlPlane) -> None:
    """Raises Refused if somebody else has a port of the control plane, and none of it runs yet."""
    if any(processes.find(cluster.folder, program.name, program.mark) for program in cluster.programs()):
        return
    for port in range(plan.port, plan.port + control_plane.PORTS):
        want_free(port, "the control plane", "--api-port", "choose another with")


def want_free(port: int, whose: str, option: str, otherwise: str) -> None:
    """Raises Refused, naming port and holder."""
    try:
        free = ports.is_free(port)
    except PermissionError:
        raise Refused(f"port {port} of {whose} is not allowed to this user: choose another with {option}") from None
    if not free:
        who = ports.holder(port) or "another process"
        raise Refused(f"port {port} of {whose} is in use by {who}: stop it, or {otherwise} {option}")


def make_certificates(cluster: Cluster, tell: Tell) -> None:
    try:
        made = bundle.ensure(cluster.certs.folder, [member.name for member in cluster.members], datetime.now(UTC))
    except (InvalidRequest, Unusable, FileNotFoundError) as error:
        raise Refused(f"certificates: {error}") from None
    if made.written:
        tell(f"made {len(made.written)} certificates in {made.folder}")
    if cluster.control_plane is None:
        return
    try:
        written = control_plane.write_identities(cluster.folder, cluster.control_plane, made.folder, datetime.now(UTC))
    except (InvalidRequest, Unusable, FileNotFoundError) as error:
        raise Refused(f"certificates: {error}") from None
    if written:
        tell(f"made {len(written)} certificates and kubeconfigs in {control_plane.files_of(cluster.folder).folder}")


def make_images(cluster: Cluster, tell: Tell) -> None:
    """The small images of the quick start, out of this machine's own files; once. Raises Refused."""
    try:
        store = Store(control_plane.images(cluster.folder))
        there = {name for image in store.images() for name in image.names}
        made = [name for name in toolbox.build_all(store) if name not in there]
    except OSError as error:
        raise Refused(f"images: {error}") from None
    if made:
        tell(f"made the images {', '.join(made)}")


def start_supervisor(cluster: Cluster, attached: bool) -> subprocess.Popen[bytes]:
    """In a session of its own: it outlives this shell, and a Ctrl-C here does not reach it. Attached, it ends with this process all the same."""
    command = [sys.executable, "-m", supervisor.MODULE, str(cluster.folder), *(["--attached"] if attached else [])]
    with supervisor.open_log(cluster.log(supervisor.NAME)) as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE if attached else subprocess.DEVNULL,
            stdout=log,
            stderr=None if attached else log,
            start_new_session=True,
            cwd=cluster.folder,
        )


def wait_healthy(cluster: Cluster, child: subprocess.Popen[bytes] | None, wait_s: float, tell: Tell, before: Mapping[str, int] | None = None) -> None:
    """Until every member serves and has a leader, telling of each as it comes. Raises NotHealthy."""
    caller = Caller(cluster)
    began = time.monotonic()
    waiting = {member.name: member for member in cluster.members}
    tell(f"waiting for {', '.join(waiting)} ...")
    while True:
        reasons = {}
        for name, member in list(waiting.items()):
            try:
                caller.check_health(member)
            except NoAnswer as error:
                reasons[name] = str(error)
            else:
                del waiting[name]
                tell(f"{name} is healthy ({time.monotonic() - began:.1f} s)")
        # Members that outlived their supervisor are healthy at once; whoever watches over them now must have begun, too.
        supervised = processes.running(cluster.folder, supervisor.NAME) is not None
        if supervised and not waiting:
            return
        if not supervised and child is not None and child.poll() is not None:
            raise NotHealthy(f"the supervisor ended with status {child.returncode}\n{tail(cluster, supervisor.NAME)}")
        check_deaths(cluster, waiting, before or {})
        if time.monotonic() - began > wait_s:
            told = "\n".join(f"{name}: {reason}\n{tail(cluster, name)}" for name, reason in reasons.items()) or "there is no supervisor"
            raise NotHealthy(f"not healthy within {wait_s:g} s:\n{told}")
        time.sleep(POLL_S)


def wait_control_plane(cluster: Cluster, wait_s: float, tell: Tell, before: Mapping[str, int] | None = None) -> None:
    """Until every API server and every node is ready. Raises NotHealthy."""
    plan = cluster.control_plane
    if plan is None:
        return
    names = [program.name for program in cluster.programs()]
    try:
        arrival.wait(cluster, wait_s, tell, lambda: check_deaths(cluster, names, before or {}))
    except arrival.NotArrived as error:
        told = "\n".join(f"{name}: {reason}\n{tail(cluster, log_of(name))}" for name, reason in error.missing.items())
        raise NotHealthy(f"not ready within {wait_s:g} s:\n{told}") from None


def log_of(name: str) -> str:
    """Whose log tells why an API server or a node is not ready."""
    return f"kubelet-{name}" if name.startswith("node") else name


def restarts(cluster: Cluster) -> dict[str, int]:
    """How often each program has been started again until now, as far as is written down."""
    records = {program.name: processes.read_record(cluster.folder, program.name) for program in cluster.programs()}
    return {name: record.restarts for name, record in records.items() if record is not None}


def check_deaths(cluster: Cluster, names: Iterable[str], before: Mapping[str, int]) -> None:
    """Raises NotHealthy for a program that does not stay alive. What it went through `before` is no sign: a supervisor that takes over counts on, and
    one that starts anew counts from zero."""
    for name in names:
        record = processes.read_record(cluster.folder, name)
        if record is None:
            continue
        known = before.get(name, 0)
        if record.restarts - (known if record.restarts >= known else 0) >= DEATHS_BEFORE_GIVING_UP:
            raise NotHealthy(f"{name} dies as often as it is started ({record.last_end})\n{tail(cluster, name)}")


def tail(cluster: Cluster, name: str) -> str:
    """The end of a log, indented, with its path."""
    path = cluster.log(name)
    lines = path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:] if path.exists() else []
    return "\n".join([f"  the end of {path}:", *(f"    {line[:300]}" for line in lines)])


@contextmanager
def launch_lock(folder: Path, tell: Tell) -> Iterator[None]:
    """One `up` or `down` at a time in a folder; a second waits for the first."""
    (folder / "run").mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "run" / "launch.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"another keelson command works in {folder}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
