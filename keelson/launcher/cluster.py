"""A cluster on this machine: its members, ports and files, and the command line of each member.

Everything lies under one folder:

    cluster.json          what `up` was asked for; later calls go on with it
    certs/                authority, certificates and keys (see certs.bundle)
    m1/ m2/ ...           the members' data
    logs/                 one log file per member, and the supervisor's
    run/                  who runs: process ids with start times, locks
"""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from certs.bundle import ADMIN, Bundle
from certs.control_plane import API_SERVER
from certs.files import write_atomically
from certs.profiles import CLIENT, PEER, SERVER
from certs.revocation import list_path
from keelson.launcher import control_plane
from keelson.launcher.control_plane import ControlPlane
from keelson.launcher.programs import STORE, Program

HOST = "127.0.0.1"
MEMBERS_MAX = 9
PORT_STEP = 10_000
PORT_MAX = 65_535
DEFAULT_MEMBERS, DEFAULT_CLIENT_PORTS, DEFAULT_PEER_PORTS = 3, "2379", "2380"
COMMAND_VARIABLE = "KEELSON_MEMBER_COMMAND"
"""Runs another program that takes etcd's flags in the place of `kvstore`: for tests and comparisons."""


class Refused(Exception):
    """What was asked for cannot be done; the text says why and what to do instead."""


class MemberSpec(Struct, frozen=True):
    name: str
    client_port: int
    peer_port: int


class ClusterSpec(Struct, frozen=True):
    """What stays the same over the life of a data directory: members know each other's addresses from their first start on."""

    members: tuple[MemberSpec, ...]
    insecure: bool = False
    token: str = "keelson"
    control_plane: ControlPlane | None = None
    """None: the store alone."""


class Cluster(Struct, frozen=True):
    """A spec in its folder (absolute)."""

    folder: Path
    spec: ClusterSpec

    @property
    def members(self) -> tuple[MemberSpec, ...]:
        return self.spec.members

    @property
    def certs(self) -> Bundle:
        return Bundle(certs_folder(self.folder))

    @property
    def scheme(self) -> str:
        return "http" if self.spec.insecure else "https"

    def client_url(self, member: MemberSpec) -> str:
        return f"{self.scheme}://{HOST}:{member.client_port}"

    def peer_url(self, member: MemberSpec) -> str:
        return f"{self.scheme}://{HOST}:{member.peer_port}"

    def data(self, name: str) -> Path:
        return self.folder / name

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def data_flag(self, name: str) -> str:
        """The flag that no other process has: by it a member is found when nothing else is known of it."""
        return f"--data-dir={self.data(name)}"

    @property
    def control_plane(self) -> ControlPlane | None:
        return self.spec.control_plane

    def programs(self) -> list[Program]:
        """Everything that is to run, members first."""
        members = [Program(member.name, tuple(self.command(member)), self.data_flag(member.name), stop_stage=STORE) for member in self.members]
        if self.control_plane is None:
            return members
        certs = self.certs
        store_files = (certs.ca, certs.certificate(CLIENT, API_SERVER), certs.key(CLIENT, API_SERVER))
        urls = ",".join(self.client_url(member) for member in self.members)
        return [*members, *control_plane.programs(self.folder, self.control_plane, urls, store_files)]

    def command(self, member: MemberSpec) -> list[str]:
        """etcd's flags, whatever program takes them."""
        return [
            *member_program(),
            f"--name={member.name}",
            self.data_flag(member.name),
            f"--listen-client-urls={self.client_url(member)}",
            f"--advertise-client-urls={self.client_url(member)}",
            f"--listen-peer-urls={self.peer_url(member)}",
            f"--initial-advertise-peer-urls={self.peer_url(member)}",
            f"--initial-cluster={','.join(f'{each.name}={self.peer_url(each)}' for each in self.members)}",
            "--initial-cluster-state=new",
            f"--initial-cluster-token={self.spec.token}",
            *([] if self.spec.insecure else self._tls_flags(member)),
        ]

    def _tls_flags(self, member: MemberSpec) -> list[str]:
        certs = self.certs
        return [
            f"--cert-file={certs.certificate(SERVER, member.name)}",
            f"--key-file={certs.key(SERVER, member.name)}",
            "--client-cert-auth",
            f"--trusted-ca-file={certs.ca}",
            f"--peer-cert-file={certs.certificate(PEER, member.name)}",
            f"--peer-key-file={certs.key(PEER, member.name)}",
            "--peer-client-cert-auth",
            f"--peer-trusted-ca-file={certs.ca}",
            *self._revocation_flags(),
        ]

    def _revocation_flags(self) -> list[str]:
        """Only once something was revoked: looking at a list costs the client port its faster TLS."""
        path = list_path(self.certs.folder)
        return [f"--client-crl-file={path}", f"--peer-crl-file={path}"] if path.exists() else []

    def client_environment(self) -> dict[str, str]:
        """The variables that make etcdctl and kvctl talk to this cluster."""
        variables = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": ",".join(self.client_url(member) for member in self.members)}
        if not self.spec.insecure:
            certs = self.certs
            variables["ETCDCTL_CACERT"] = str(certs.ca)
            variables["ETCDCTL_CERT"] = str(certs.certificate(CLIENT, ADMIN))
            variables["ETCDCTL_KEY"] = str(certs.key(CLIENT, ADMIN))
        return variables

    def export_lines(self) -> list[str]:
        """For a shell's `eval`: the variables, and the folder of kvctl if the shell does not find it."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.client_environment().items()]
        if (own := _unknown_to_the_shell("kvctl")) is not None:
            lines.append(f"export PATH={shlex.quote(str(own.parent))}:$PATH")
        if self.control_plane is not None:
            lines.append(control_plane.export_line(self.folder))
        return lines


def env_command() -> str:
    """`keelson env`, as a shell understands it that has not taken its lines yet."""
    own = _unknown_to_the_shell("keelson")
    return "keelson env" if own is None else f"{shlex.quote(str(own))} env"


def _unknown_to_the_shell(command: str) -> Path | None:
    """The command beside this Python, if the shell does not find one of that name."""
    own = Path(sys.executable).with_name(command)
    return own if shutil.which(command) is None and own.exists() else None


def certs_folder(folder: Path) -> Path:
    return folder / "certs"


def member_program(environment: Mapping[str, str] | None = None) -> list[str]:
    """The start of every member's command line: `kvstore` from beside this Python, else from the PATH."""
    environment = os.environ if environment is None else environment
    if given := environment.get(COMMAND_VARIABLE):
        return shlex.split(given)
    beside = Path(sys.executable).parent / "kvstore"
    found = str(beside) if beside.exists() else shutil.which("kvstore")
    if found is None:
        raise Refused("there is no command kvstore beside this Python or on the PATH: install the package (`make venv`)")
    return [found]


def plan(members: int, client_ports: str, peer_ports: str, insecure: bool) -> ClusterSpec:
    """A new cluster of m1, m2, ... from the command line's words. Raises Refused for what cannot be."""
    if not 1 <= members <= MEMBERS_MAX:
        raise Refused(f"a cluster here has 1 to {MEMBERS_MAX} members, not {members}")
    clients, peers = spread(client_ports, members, "client"), spread(peer_ports, members, "peer")
    if len({*clients, *peers}) < 2 * members:
        raise Refused(f"client ports {_listed(clients)} and peer ports {_listed(peers)} overlap: every listener needs its own")
    named = zip(clients, peers, strict=True)
    return ClusterSpec(tuple(MemberSpec(f"m{number}", client, peer) for number, (client, peer) in enumerate(named, 1)), insecure)


def spread(text: str, members: int, what: str) -> list[int]:
    """One port per member: a list "4001,4002,4003" as it is; one number is the first member's, the others get 10,000 more each, after a gap.

    The gap is etcd's own: its Procfile puts members on 2379, 22379 and 32379.
    """
    try:
        given = [int(word) for word in text.split(",")]
    except ValueError:
        raise Refused(f"{what} port {text!r} is neither a number nor a list of numbers such as 4001,4002,4003") from None
    ports = given if len(given) != 1 else [given[0], *(given[0] + PORT_STEP * number for number in range(2, members + 1))]
    if len(ports) != members:
        raise Refused(f"{len(ports)} {what} ports for {members} members: give one per member, or only the first")
    for port in ports:
        if not 1 <= port <= PORT_MAX:
            hint = f"; give one {what} port per member, as in 4001,4002,4003" if len(given) == 1 else ""
            raise Refused(f"{what} port {port} is not between 1 and {PORT_MAX}{hint}")
    return ports


def load(folder: Path) -> Cluster | None:
    """The cluster in `folder`, or None if none was ever made there."""
    path = folder / "cluster.json"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return Cluster(folder.resolve(), msgspec.json.decode(content, type=ClusterSpec))
    except msgspec.MsgspecError as error:
        raise Refused(f"{path} is damaged: {error}") from None


def save(cluster: Cluster) -> None:
    cluster.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(cluster.folder / "cluster.json", msgspec.json.format(msgspec.json.encode(cluster.spec)) + b"\n", 0o644)


def _listed(ports: list[int]) -> str:
    return ", ".join(map(str, ports))
