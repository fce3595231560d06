"""Nobody gets in who may not: every RPC there is, over gRPC and over the gateway, with no token, an expired, a forged and another user's.

The requests are ones that root is answered, so that a refusal is for the caller and not for the request; what was stored, the users and the roles are
the same afterwards, and the process lives. Methods come from the table of all methods: one that is added later is tried, too.
"""

import base64
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from kvstore.wire import messages as pb
from kvstore.wire.gateway import PATHS
from kvstore.wire.messages import METHODS
from tests.support import kinds
from tests.support.calls import OK, Reply, Wire
from tests.support.http import Answer
from tests.support.members import Member, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

USER_EMPTY, INVALID_TOKEN = (3, "etcdserver: user name is empty"), (16, "etcdserver: invalid auth token")
DENIED, OLD = (7, "etcdserver: permission denied"), (3, "etcdserver: revision of auth store is old")
LEASE = 77
TALKATIVE = ("--log-level=debug", "--warning-unary-request-duration=1ms", "--warning-apply-duration=1us")
"""What could tell a secret shall."""
SECRET_KEY = b"secret/key"

REQUESTS: dict[str, Message] = {
    "KV/Range": pb.RangeRequest(key=SECRET_KEY),
    "KV/Put": pb.PutRequest(key=SECRET_KEY, value=b"changed"),
    "KV/DeleteRange": pb.DeleteRangeRequest(key=b"\0", range_end=b"\0", prev_kv=True),
    "KV/Txn": pb.TxnRequest(failure=[pb.RequestOp(request_txn=pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=SECRET_KEY))]))]),
    "KV/Compact": pb.CompactionRequest(revision=2),
    "KV/RangeStream": pb.RangeRequest(key=SECRET_KEY),
    "Watch/Watch": pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=1)),
    "Lease/LeaseGrant": pb.LeaseGrantRequest(TTL=100),
    "Lease/LeaseRevoke": pb.LeaseRevokeRequest(ID=LEASE),
    "Lease/LeaseKeepAlive": pb.LeaseKeepAliveRequest(ID=LEASE),
    "Lease/LeaseTimeToLive": pb.LeaseTimeToLiveRequest(ID=LEASE, keys=True),
    "Cluster/MemberAdd": pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"]),
    "Cluster/MemberRemove": pb.MemberRemoveRequest(ID=1),
    "Cluster/MemberUpdate": pb.MemberUpdateRequest(ID=1, peerURLs=["http://127.0.0.1:1"]),
    "Cluster/MemberPromote": pb.MemberPromoteRequest(ID=1),
    "Maintenance/Alarm": pb.AlarmRequest(action="ACTIVATE", memberID=1, alarm="NOSPACE"),
    "Maintenance/MoveLeader": pb.MoveLeaderRequest(targetID=1),
    "Maintenance/Downgrade": pb.DowngradeRequest(action="CANCEL"),
    "Auth/Authenticate": pb.AuthenticateRequest(name="root", password="guessed"),
    "Auth/UserAdd": pb.AuthUserAddRequest(name="eve", password="x"),
    "Auth/UserGet": pb.AuthUserGetRequest(name="root"),
    "Auth/UserDelete": pb.AuthUserDeleteRequest(name="bob"),
    "Auth/UserChangePassword": pb.AuthUserChangePasswordRequest(name="root", password="x"),
    "Auth/UserGrantRole": pb.AuthUserGrantRoleRequest(user="ann", role="root"),
    "Auth/UserRevokeRole": pb.AuthUserRevokeRoleRequest(name="bob", role="secrets"),
    "Auth/RoleAdd": pb.AuthRoleAddRequest(name="new"),
    "Auth/RoleGet": pb.AuthRoleGetRequest(role="secrets"),
    "Auth/RoleDelete": pb.AuthRoleDeleteRequest(role="secrets"),
    "Auth/RoleGrantPermission": pb.AuthRoleGrantPermissionRequest(name="anns", perm=pb.Permission(permType="READWRITE", key=b"\0", range_end=b"\0")),
    "Auth/RoleRevokePermission": pb.AuthRoleRevokePermissionRequest(role="secrets", key=SECRET_KEY),
    "Lock/Lock": pb.LockRequest(name=b"secret/lock", lease=LEASE),
    "Lock/Unlock": pb.UnlockRequest(key=SECRET_KEY),
    "Election/Campaign": pb.CampaignRequest(name=b"secret/election", lease=LEASE),
    "Election/Proclaim": pb.ProclaimRequest(leader=pb.LeaderKey(key=SECRET_KEY, rev=2, lease=LEASE), value=b"x"),
    "Election/Leader": pb.LeaderRequest(name=b"secret"),
    "Election/Observe": pb.LeaderRequest(name=b"secret"),
    "Election/Resign": pb.ResignRequest(leader=pb.LeaderKey(key=SECRET_KEY, rev=2, lease=LEASE)),
}
"""What to ask of a method, by the end of its path; others are asked with an empty message."""

EVERYBODYS = {"/etcdserverpb.Auth/Authenticate"} | {path for path in METHODS if path.startswith("/grpc.")}
"""gRPC's own services tell of health and of the API, not of what is stored."""
EVERY_USERS = {"/etcdserverpb.Lease/LeaseGrant", "/etcdserverpb.Cluster/MemberList", "/etcdserverpb.Maintenance/Status"}
GUARDED = sorted(set(METHODS) - EVERYBODYS - {"/etcdserverpb.KV/RangeStream"})
"""(RangeStream is not served.)"""


LISTED = (
    *("KV/Range", "Lease/LeaseLeases", "Lease/LeaseTimeToLive", "Maintenance/Alarm"),
    *("Auth/UserList", "Auth/RoleList", "Auth/AuthStatus", "Cluster/MemberList"),
)


def request_of(path: str) -> Message:
    service, name = path.split("/")[1:]
    return REQUESTS.get(f"{service.rpartition('.')[2]}/{name}") or METHODS[path].request()


class Guarded:
    """A member with authentication on: root, bob with the secrets, and ann with nothing but keys of her own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.member = Member(kinds.subject(), "m1", folder, flags=["--bcrypt-cost=4", *TALKATIVE, *flags])
        self.member.start()
        self.member.wait_ready()
        self.wire = Wire(self.member.endpoint)
        for request in (
            pb.LeaseGrantRequest(ID=LEASE, TTL=10_000),
            pb.PutRequest(key=SECRET_KEY, value=b"treasure", lease=LEASE),
            *(pb.AuthUserAddRequest(name=name, password=f"{name}-pw") for name in ("root", "ann", "bob")),
            *(pb.AuthRoleAddRequest(name=name) for name in ("secrets", "anns")),
            pb.AuthRoleGrantPermissionRequest(name="secrets", perm=pb.Permission(permType="READWRITE", key=SECRET_KEY)),
            pb.AuthRoleGrantPermissionRequest(name="anns", perm=pb.Permission(permType="READWRITE", key=b"ann", range_end=b"ano")),
            pb.AuthUserGrantRoleRequest(user="root", role="root"),
            pb.AuthUserGrantRoleRequest(user="bob", role="secrets"),
            pb.AuthUserGrantRoleRequest(user="ann", role="anns"),
            pb.AuthEnableRequest(),
        ):
            self.wire.ask(request)
        self.root = self.log_in("root")
        self.before = self.contents()

    def close(self) -> None:
        self.wire.close()
        self.member.stop()

    def log_in(self, name: str) -> str:
        token: str = self.wire.ask(pb.AuthenticateRequest(name=name, password=f"{name}-pw")).token
        return token

    def contents(self) -> list[Any]:
        """All keys, leases, alarms, users, roles and members, as root sees them."""
        found: list[Any] = []
        for path in LISTED:
            full = f"/etcdserverpb.{path}"
            asked = {
                "KV/Range": pb.RangeRequest(key=b"\0", range_end=b"\0"),
                "Lease/LeaseTimeToLive": pb.LeaseTimeToLiveRequest(ID=LEASE, keys=True),
            }
            reply = self.call(full, self.root, asked.get(path, METHODS[full].request()))
            assert reply.message is not None, (path, reply)
            reply.message.ClearField("header")
            if path == "Lease/LeaseTimeToLive":
                reply.message.ClearField("TTL")
            found.append(reply.message)
        for name in ("root", "ann", "bob"):
            found.append(list(self.call("/etcdserverpb.Auth/UserGet", self.root, pb.AuthUserGetRequest(name=name)).message.roles))
            found.append(bool(self.log_in(name)))
        return found

    def call(self, path: str, token: str | None, request: Message | None = None, name: str = "token") -> Reply:
        """Over gRPC; of a stream its first answer counts."""
        method = METHODS[path]
        kind = ("stream" if method.client_streams else "unary") + "_" + ("stream" if method.server_streams else "unary")
        stub = getattr(self.wire.channel, kind)(path, method.request.SerializeToString, method.response.FromString)
        asked = request if request is not None else request_of(path)
        metadata = [] if token is None else [(name, token)]
        try:
            answer = stub(iter([asked]) if method.client_streams else asked, timeout=10, metadata=metadata)
            message = next(answer) if method.server_streams else answer
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            return Reply(error.code().value[0], error.details() or "")
        if method.server_streams:
            answer.cancel()
        return _watch_verdict(message) if isinstance(message, pb.WatchResponse) else Reply(OK, message=message)

    def over_json(self, path: str, headers: dict[str, str], request: Message | None = None) -> Reply:
        """Over the gateway, as code and text."""
        where = next(known for known, method in PATHS.items() if method.path == path)
        asked = request if request is not None else request_of(path)
        answer = self._first_line(where, asked, headers) if METHODS[path].server_streams else self._whole(where, asked, headers)
        content = answer.json()
        failed = content.get("error", content) if answer.status != 200 else {}
        if answer.status == 200:
            result = content.get("result", {})
            if "cancel_reason" in result:
                return _verdict_of_text(result["cancel_reason"])
            return Reply(OK, answer.text())
        return Reply(failed["code"], failed["message"]) if isinstance(failed, dict) else Reply(content["code"], content["message"])

    def _whole(self, where: str, asked: Message, headers: dict[str, str]) -> Answer:
        return self.member.http.request("POST", where, MessageToJson(asked).encode(), headers)

    def _first_line(self, where: str, asked: Message, headers: dict[str, str]) -> Answer:
        """Of a stream, which need not end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.member.client_port, timeout=10)
        connection.request("POST", where, MessageToJson(asked).encode(), headers)
        response = connection.getresponse()
        answer = Answer(response.status, {}, response.readline())
        connection.close()
        return answer


def _watch_verdict(message: Message) -> Reply:
    return _verdict_of_text(message.cancel_reason) if message.canceled else Reply(OK, message=message)


def _verdict_of_text(reason: str) -> Reply:
    """A watch is refused inside its stream, in Go's words (W-7)."""
    codes = {"InvalidArgument": 3, "PermissionDenied": 7, "Unauthenticated": 16}
    word, _, text = reason.removeprefix("rpc error: code = ").partition(" desc = ")
    return Reply(codes[word], text)


def verdict(path: str, reply: Reply) -> tuple[int, str]:
    """Locks and elections lose the codes of their store's errors, as in etcd; the texts tell (LK-5)."""
    if reply.code == 2 and not path.startswith("/etcdserverpb."):
        return next((known for known in (USER_EMPTY, INVALID_TOKEN, DENIED, OLD) if known[1] == reply.text), (reply.code, reply.text))
    return reply.code, reply.text


def keys() -> tuple[bytes, bytes]:
    """(private, public)"""
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), public


PRIVATE, PUBLIC = keys()
STRANGERS_KEY = keys()[0]


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("signed")
    (folder / "key").write_bytes(PRIVATE)
    (folder / "pub").write_bytes(PUBLIC)
    made = Guarded(folder, f"--auth-token=jwt,pub-key={folder}/pub,priv-key={folder}/key,sign-method=RS256,ttl=1h")
    yield made
    made.close()


@pytest.fixture(scope="module")
def simple(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(tmp_path_factory.mktemp("simple"), "--auth-token-ttl=2")
    yield made
    made.close()


def part(content: Any) -> str:
    return base64.urlsafe_b64encode(content if isinstance(content, bytes) else json.dumps(content).encode()).rstrip(b"=").decode()


def forged() -> dict[str, str]:
    claims = {"username": "root", "revision": 1 << 40, "exp": time.time() + 3600}
    good = jwt.encode(claims, PRIVATE, algorithm="RS256")
    _, body, signature = good.split(".")
    by_public_key = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{body}"
    return {
        "garbage": "garbage",
        "empty": "",
        "a simple one": "abcdefghijklmnop.3",
        "of the future": "abcdefghijklmnop.99999999",
        "expired": jwt.encode({**claims, "exp": time.time() - 1}, PRIVATE, algorithm="RS256"),
        "alg none": f"{part({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        "alg none, signature kept": f"{part({'alg': 'none', 'typ': 'JWT'})}.{body}.{signature}",
        "a stranger's key": jwt.encode(claims, STRANGERS_KEY, algorithm="RS256"),
        "HS256 by the public key": f"{by_public_key}.{part(hmac.new(PUBLIC, by_public_key.encode(), hashlib.sha256).digest())}",
        "another method": jwt.encode(claims, PRIVATE, algorithm="RS512"),
        "no user in it": jwt.encode({"exp": claims["exp"]}, PRIVATE, algorithm="RS256"),
        "the cluster's own revision": jwt.encode({**claims, "revision": -1}, PRIVATE, algorithm="RS256"),
    }


@pytest.mark.parametrize("name", ["signed", "simple"])
def test_no_rpc_answers_nobody(name: str, request: pytest.FixtureRequest) -> None:
    server: Guarded = request.getfixturevalue(name)
    server.root = server.log_in("root")
    let_in = [path for path in GUARDED if verdict(path, server.call(path, None)) != USER_EMPTY]
    let_in += [path for path in GUARDED if verdict(path, server.over_json(path, {})) != USER_EMPTY]
    assert let_in == []
    assert server.contents() == server.before


@pytest.mark.parametrize("name", ["signed", "simple"])
def test_no_rpc_answers_a_forged_token(name: str, request: pytest.FixtureRequest) -> None:
    server: Guarded = request.getfixturevalue(name)
    for what, token in forged().items():
        let_in = [path for path in GUARDED if verdict(path, server.call(path, token)) != INVALID_TOKEN]
        assert let_in == [], what
        let_in = [path for path in GUARDED if verdict(path, server.over_json(path, {"Authorization": token})) != INVALID_TOKEN]
        assert let_in == [], what
    server.root = server.log_in("root")
    assert server.contents() == server.before


@pytest.mark.parametrize("name", ["signed", "simple"])
def test_no_rpc_answers_another_user(name: str, request: pytest.FixtureRequest) -> None:
    server: Guarded = request.getfixturevalue(name)
    ann = server.log_in("ann")
    for path in sorted(set(GUARDED) - EVERY_USERS):
        assert verdict(path, server.call(path, ann)) == DENIED, path
        assert verdict(path, server.over_json(path, {"Authorization": ann})) == DENIED, path
    for path in sorted(EVERY_USERS - {"/etcdserverpb.Lease/LeaseGrant"}):
        assert server.call(path, ann).code == OK, path
        assert server.over_json(path, {"Authorization": f"Bearer {ann}"}).code == OK, path
    server.root = server.log_in("root")
    assert server.contents() == server.before


def test_root_is_refused_nothing(simple: Guarded) -> None:
    """So the refusals above were for the caller. Nothing that would end the test is done: what cannot be done is asked for."""
    harmless = {
        "/etcdserverpb.KV/DeleteRange": pb.DeleteRangeRequest(key=b"none"),
        "/etcdserverpb.KV/Put": pb.PutRequest(key=b"none"),
        "/etcdserverpb.Lease/LeaseRevoke": pb.LeaseRevokeRequest(ID=1),
        "/etcdserverpb.KV/Txn": pb.TxnRequest(),
        "/etcdserverpb.Auth/UserAdd": pb.AuthUserAddRequest(name="bob"),
        "/etcdserverpb.Auth/UserDelete": pb.AuthUserDeleteRequest(name="nobody"),
        "/etcdserverpb.Auth/UserGrantRole": pb.AuthUserGrantRoleRequest(user="nobody"),
        "/etcdserverpb.Auth/UserRevokeRole": pb.AuthUserRevokeRoleRequest(name="nobody"),
        "/etcdserverpb.Auth/RoleAdd": pb.AuthRoleAddRequest(name="secrets"),
        "/etcdserverpb.Auth/RoleDelete": pb.AuthRoleDeleteRequest(role="none"),
        "/etcdserverpb.Auth/RoleGrantPermission": pb.AuthRoleGrantPermissionRequest(name="none", perm=pb.Permission(key=b"k")),
        "/etcdserverpb.Auth/RoleRevokePermission": pb.AuthRoleRevokePermissionRequest(role="none", key=b"k"),
        "/etcdserverpb.Cluster/MemberAdd": pb.MemberAddRequest(peerURLs=["nonsense"]),
        "/etcdserverpb.Maintenance/Alarm": pb.AlarmRequest(),
        "/etcdserverpb.Auth/UserChangePassword": pb.AuthUserChangePasswordRequest(name="nobody"),
        "/v3lockpb.Lock/Unlock": pb.UnlockRequest(key=b"none"),
        "/v3electionpb.Election/Proclaim": pb.ProclaimRequest(leader=pb.LeaderKey(key=b"none", rev=9)),
        "/v3electionpb.Election/Resign": pb.ResignRequest(leader=pb.LeaderKey(key=b"none", rev=9)),
        "/v3electionpb.Election/Observe": pb.LeaderRequest(name=b"secret/election"),
    }
    root = simple.log_in("root")
    refused = (USER_EMPTY, INVALID_TOKEN, DENIED, OLD)
    for path in sorted(set(GUARDED) - {"/etcdserverpb.Auth/AuthDisable"}):
        assert verdict(path, simple.call(path, root, harmless.get(path))) not in refused, path


def test_a_signed_token_ends_with_the_permissions_it_was_made_for(signed: Guarded) -> None:
    bob = signed.log_in("bob")
    assert signed.call("/etcdserverpb.KV/Range", bob).code == OK
    root = signed.log_in("root")
    assert signed.call("/etcdserverpb.Auth/RoleAdd", root, pb.AuthRoleAddRequest(name="another")).code == OK
    for path in ("Range", "Put"):
        assert verdict(path, signed.call(f"/etcdserverpb.KV/{path}", bob)) == OLD
    assert signed.call("/etcdserverpb.KV/Range", signed.log_in("bob")).code == OK


def test_simple_tokens_end_by_themselves_and_with_their_user(simple: Guarded) -> None:
    path = "/etcdserverpb.KV/Range"
    bob, root = simple.log_in("bob"), simple.log_in("root")
    assert simple.call(path, bob).code == OK
    assert simple.call("/etcdserverpb.Auth/UserChangePassword", root, pb.AuthUserChangePasswordRequest(name="bob", password="bob-pw")).code == OK
    assert verdict(path, simple.call(path, bob)) == INVALID_TOKEN
    bob = simple.log_in("bob")

    def ended() -> bool:
        # Asked less often than it lives: each use would give it its whole time again.
        return verdict(path, simple.call(path, bob)) == INVALID_TOKEN

    assert not ended()
    wait_until(ended, 15, "a token of two seconds ends", pause_s=2.5)


def test_guessing_waits_its_turn(simple: Guarded) -> None:
    """Many logins at once leave the member answering others, and more than can wait are refused."""
    stub = simple.wire.channel.unary_unary("/etcdserverpb.Auth/Authenticate", pb.AuthenticateRequest.SerializeToString, None)
    guesses = [stub.future(pb.AuthenticateRequest(name="root", password=f"guess {number}"), timeout=30) for number in range(600)]
    answered = simple.member.http.get("/health")
    texts = {guess.exception().details() for guess in guesses}
    assert answered.status == 200
    assert texts <= {"etcdserver: authentication failed, invalid user ID or password", "etcdserver: too many requests"}
    assert simple.log_in("root")


def test_nothing_secret_is_in_the_log_or_the_metrics(simple: Guarded, signed: Guarded) -> None:
    for server in (simple, signed):
        token = server.log_in("root")
        server.call("/etcdserverpb.KV/Range", token)
        server.call("/etcdserverpb.KV/Range", token + "x")
        server.call("/etcdserverpb.Auth/UserAdd", token, pb.AuthUserAddRequest(name="zoe", password="zoe-pw"))
        shown = server.member.log() + server.member.http.get("/metrics").text() + server.member.http.get("/debug/vars").text()
        for secret in ("-pw", token, "treasure", "BEGIN", "$2b$", "guessed"):
            assert secret not in shown, secret


def test_passwords_are_in_no_file_of_a_member(simple: Guarded) -> None:
    files = [path for path in simple.member.data.rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        assert b"-pw" not in content and b"guessed" not in content, path
