"""Asking a running member, as any client would: health and status over HTTP on its client port, with the cluster's client certificate.

Where authentication is on, the JSON gateway refuses that certificate, and the same is asked over gRPC, which takes it for root's.
"""

import http.client
import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from certs.bundle import ADMIN
from certs.profiles import CLIENT
from keelson.launcher.cluster import HOST, Cluster, MemberSpec

if TYPE_CHECKING:
    from keelson.launcher.rpc import Line

TIMEOUT_S = 2.0

_REFUSES_NAMES = b"CommonName of client"
"""How etcd's gateway, and ours, begins the answer to a certificate with a name while authentication is on."""


class NoAnswer(Exception):
    """The member did not answer, or not with what was asked for; the text says why in a few words."""


class Status(Struct, frozen=True):
    """etcd's StatusResponse, as far as it is shown. `leader` and `raft_term` are 0 while there is no leader."""

    member_id: int
    leader: int
    raft_term: int
    raft_index: int
    applied_index: int
    revision: int
    db_size_bytes: int
    version: str
    is_learner: bool


class Caller:
    """Calls to the members of one cluster, each on a connection of its own: a member may be killed or paused at any time."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._context: ssl.SSLContext | None = None
        self._seen: tuple[int, ...] = ()
        self.by_grpc = False
        """Set for good once a gateway has refused the certificate: gRPC does with authentication on and off."""

    def context(self) -> ssl.SSLContext | None:
        """With the certificates as they are now: they may be rotated while somebody looks on. Raises OSError."""
        if self.cluster.spec.insecure:
            return None
        certs = self.cluster.certs
        cert, key = certs.certificate(CLIENT, ADMIN), certs.key(CLIENT, ADMIN)
        try:
            seen = tuple(path.stat().st_mtime_ns for path in (certs.ca, cert, key))
            if seen != self._seen:
                context = ssl.create_default_context(cafile=str(certs.ca))
                context.load_cert_chain(cert, key)
                self._context, self._seen = context, seen
        except OSError:
            # A key that is there already and its certificate not yet: what was read before still does.
            if self._context is None:
                raise
        return self._context

    def request(self, member: MemberSpec, method: str, path: str, body: Any = None, timeout_s: float = TIMEOUT_S) -> Any:
        """The decoded JSON answer. Raises NoAnswer."""
        if self.by_grpc and method == "POST":
            return self._ask_by_grpc(member, path, body, timeout_s)
        try:
            connection = self.connect(member, timeout_s)
        except OSError as error:
            raise NoAnswer(f"certificates: {error}") from None
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(_in_short(error)) from None
        finally:
            connection.close()
        if self.refuses_names(response.status, content):
            return self._ask_by_grpc(member, path, body, timeout_s)
        if response.status != 200:
            raise NoAnswer(f"HTTP {response.status}: {content[:200].decode(errors='replace').strip()}")
        try:
            return json.loads(content)
        except ValueError:
            raise NoAnswer(f"no JSON: {content[:200]!r}") from None

    def refuses_names(self, status: int, content: bytes) -> bool:
        """Whether an answer says that this certificate must come by gRPC; remembered in `by_grpc`."""
        if status == 400 and content.startswith(_REFUSES_NAMES):
            self.by_grpc = True
            return True
        return False

    def line(self, member: MemberSpec, timeout_s: float) -> "Line":
        """To call the member by gRPC; for the caller to close."""
        from keelson.launcher.rpc import Line, TlsFiles  # only here: gRPC takes longer to import than `status` to answer

        certs = self.cluster.certs
        tls = TlsFiles(str(certs.ca), str(certs.certificate(CLIENT, ADMIN)), str(certs.key(CLIENT, ADMIN)))
        return Line(self.cluster.client_url(member), None if self.cluster.spec.insecure else tls, timeout_s)

    def _ask_by_grpc(self, member: MemberSpec, path: str, body: Any, timeout_s: float) -> Any:
        from kvstore.client.client import StoreError

        try:
            line = self.line(member, timeout_s)
            try:
                return line.call(path, body)
            finally:
                line.close()
        except (OSError, StoreError) as error:
            raise NoAnswer(str(error)) from None

    def connect(self, member: MemberSpec, timeout_s: float) -> http.client.HTTPConnection:
        """Not yet connected: the first request does that, and raises OSError if it cannot."""
        context = self.context()
        if context is None:
            return http.client.HTTPConnection(HOST, member.client_port, timeout=timeout_s)
        return http.client.HTTPSConnection(HOST, member.client_port, timeout=timeout_s, context=context)

    def check_health(self, member: MemberSpec) -> None:
        """Raises NoAnswer unless the member serves and reaches a leader: /health makes a linearizable read."""
        answer = self.request(member, "GET", "/health")
        if not isinstance(answer, dict) or answer.get("health") != "true":
            raise NoAnswer(str(answer))

    def status(self, member: MemberSpec) -> Status:
        answer = self.request(member, "POST", "/v3/maintenance/status", {})
        try:
            return decode_status(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NoAnswer(f"not a status: {error!r}") from None

    def statuses(self) -> dict[str, "Status | NoAnswer"]:
        """What every member says, asked side by side: one that does not answer costs its time-out once."""

        def ask(member: MemberSpec) -> Status | NoAnswer:
            try:
                return self.status(member)
            except NoAnswer as error:
                return error

        members = self.cluster.members
        with ThreadPoolExecutor(len(members)) as pool:
            return dict(zip((member.name for member in members), pool.map(ask, members), strict=True))


def decode_status(answer: dict[str, Any]) -> Status:
    """From the gateway's JSON, in which 64-bit numbers are strings and zeros are left out."""
    header = answer["header"]
    return Status(
        member_id=int(header["member_id"]),
        leader=int(answer.get("leader", 0)),
        raft_term=int(answer.get("raftTerm", 0)),
        raft_index=int(answer.get("raftIndex", 0)),
        applied_index=int(answer.get("raftAppliedIndex", 0)),
        revision=int(header.get("revision", 0)),
        db_size_bytes=int(answer.get("dbSize", 0)),
        version=str(answer.get("version", "")),
        is_learner=bool(answer.get("isLearner", False)),
    )


def _in_short(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return str(error) or type(error).__name__
