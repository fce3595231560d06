"""The Auth service, and whom a call is from: metadata over gRPC, headers over the gateway, what each method needs.

In the model a token is its user's name."""

import base64
import json
from typing import Any

import pytest

from kvstore.accounts import AuthEnable, Credentials, Permission, RoleAdd, RoleGrantPermission, UserAdd, UserGrantRole
from kvstore.api.identity import _common_name, credentials_of
from kvstore.api.needs import Need, need_of
from kvstore.wire import messages as pb
from kvstore.wire.messages import METHODS
from tests.model.backend import ModelBackend
from tests.support.calls import OK, Reply
from tests.unit.api.served import Served

INVALID_ARGUMENT, PERMISSION_DENIED, FAILED_PRECONDITION = 3, 7, 9
SETUP = [
    UserAdd("root", b"rootpw"),
    UserGrantRole("root", "root"),
    UserAdd("ann", b"annpw"),
    RoleAdd("r"),
    RoleGrantPermission("r", Permission(2, b"a", b"c")),
    UserGrantRole("ann", "r"),
    AuthEnable(),
]


def enable(backend: ModelBackend) -> None:
    for command in SETUP:
        outcome = backend.book.apply(backend.book.applied_index + 1, backend.term, command)
        assert outcome is None, outcome


def ask(served: Served, name: str, request: Any, user: str | None = None) -> Reply:
    metadata = [] if user is None else [("token", user)]
    return served.call_with_metadata(f"Auth/{name}", request, *metadata)


def test_all_of_it_while_nobody_is_asked_who_he_is(served: Served) -> None:
    assert ask(served, "UserAdd", pb.AuthUserAddRequest(name="root", password="p")).code == OK
    assert ask(served, "UserAdd", pb.AuthUserAddRequest(name="root", password="p")).text == "etcdserver: user name already exists"
    assert ask(served, "UserAdd", pb.AuthUserAddRequest(name="door", options={"no_password": True})).code == OK
    assert ask(served, "RoleAdd", pb.AuthRoleAddRequest(name="r")).code == OK
    granted = pb.Permission(permType="READWRITE", key=b"a", range_end=b"c")
    assert ask(served, "RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="r", perm=granted)).code == OK
    assert ask(served, "RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="r")).text == "etcdserver: permission not given"
    assert list(ask(served, "RoleGet", pb.AuthRoleGetRequest(role="r")).message.perm) == [granted]
    assert ask(served, "UserGrantRole", pb.AuthUserGrantRoleRequest(user="door", role="r")).code == OK
    assert list(ask(served, "UserGet", pb.AuthUserGetRequest(name="door")).message.roles) == ["r"]
    assert list(ask(served, "UserList", pb.AuthUserListRequest()).message.users) == ["door", "root"]
    assert list(ask(served, "RoleList", pb.AuthRoleListRequest()).message.roles) == ["r"]
    assert ask(served, "RoleRevokePermission", pb.AuthRoleRevokePermissionRequest(role="r", key=b"a", range_end=b"c")).code == OK
    assert ask(served, "UserRevokeRole", pb.AuthUserRevokeRoleRequest(name="door", role="r")).code == OK
    assert ask(served, "UserChangePassword", pb.AuthUserChangePasswordRequest(name="root", password="q")).code == OK
    assert ask(served, "RoleDelete", pb.AuthRoleDeleteRequest(role="r")).code == OK
    assert ask(served, "UserDelete", pb.AuthUserDeleteRequest(name="door")).code == OK
    assert ask(served, "AuthEnable", pb.AuthEnableRequest()).text == "etcdserver: root user does not have root role"
    assert ask(served, "UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")).code == OK
    assert ask(served, "Authenticate", pb.AuthenticateRequest(name="root", password="q")).text == "etcdserver: authentication is not enabled"
    assert ask(served, "AuthEnable", pb.AuthEnableRequest()).code == OK
    assert ask(served, "Authenticate", pb.AuthenticateRequest(name="root", password="q")).message.token == "root"
    status = ask(served, "AuthStatus", pb.AuthStatusRequest(), "root").message
    assert (status.enabled, status.authRevision > 10, status.header.revision) == (True, True, 1)
    assert ask(served, "AuthDisable", pb.AuthDisableRequest()).text == "etcdserver: user name is empty"
    assert ask(served, "AuthDisable", pb.AuthDisableRequest(), "root").code == OK


def test_a_hash_from_the_client_is_not_used(served: Served) -> None:
    chosen = base64.b64encode(b"chosen").decode()
    ask(served, "UserAdd", pb.AuthUserAddRequest(name="eve", password="p", hashedPassword=chosen))
    ask(served, "UserChangePassword", pb.AuthUserChangePasswordRequest(name="eve", password="q", hashedPassword=chosen))
    assert served.do(lambda backend: backend.book.accounts.users["eve"].password_hash) == b"q"


def test_what_each_method_needs() -> None:
    """The whole table, so that a method that comes is put where it belongs."""
    needs = {path: need_of(path) for path in METHODS}
    assert {path for path, need in needs.items() if need is Need.NOTHING} == {
        "/etcdserverpb.Auth/Authenticate",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/Watch",
    } | {path for path in METHODS if path.startswith("/grpc.reflection")}
    assert {path for path, need in needs.items() if need is Need.USER} == {
        "/etcdserverpb.Cluster/MemberList",
        "/etcdserverpb.Maintenance/Status",
        "/etcdserverpb.Maintenance/Alarm",
    }
    checked = {path.rpartition("/")[2] for path, need in needs.items() if need is Need.CHECKED}
    kv = "Range Put DeleteRange Txn Watch LeaseGrant LeaseRevoke LeaseKeepAlive LeaseTimeToLive LeaseLeases "
    others = "AuthStatus UserGet UserList RoleGet RoleList Lock Unlock Campaign Proclaim Leader Observe Resign"
    words = (kv + others).split()
    assert checked == set(words)
    assert need_of("/etcdserverpb.KV/WhatComesLater") is Need.ROOT


@pytest.mark.parametrize("path", sorted(path for path in METHODS if need_of(path) in (Need.ROOT, Need.USER)))
def test_methods_that_are_not_everybodys(served: Served, path: str) -> None:
    method = METHODS[path]
    if path.endswith("RangeStream"):
        return  # not served
    served.do(enable)

    def told(user: str | None) -> tuple[int, str]:
        make = served.wire.channel.stream_stream if method.client_streams else served.wire.channel.unary_stream
        stub = make(path) if method.client_streams or method.server_streams else served.wire.channel.unary_unary(path)
        try:
            answer = stub(b"", timeout=10, metadata=[] if user is None else [("token", user)])
            if method.server_streams:
                list(answer)
        except Exception as error:
            return error.code().value[0], error.details()
        return OK, ""

    assert told(None) == (INVALID_ARGUMENT, "etcdserver: user name is empty")
    if need_of(path) is Need.ROOT:
        assert told("ann") == (PERMISSION_DENIED, "etcdserver: permission denied")
        assert told("stranger") == (FAILED_PRECONDITION, "etcdserver: user name not found")
    else:
        assert told("ann")[0] == OK
        assert told("stranger") == (PERMISSION_DENIED, "etcdserver: permission denied")
    assert told("root")[0] != PERMISSION_DENIED


def test_whom_a_grpc_call_is_from(served: Served) -> None:
    served.do(enable)
    for metadata, expected in [
        ([("token", "ann")], "ann"),
        ([("authorization", "ann")], "ann"),
        ([("authorization", "Bearer ann")], "ann"),
        ([("token", "ann"), ("authorization", "root")], "ann"),
        ([("authorization", "root"), ("token", "ann")], "ann"),
        ([("token", "ann"), ("token", "root")], "ann"),
        ([("token", "")], ""),
        ([("hasleader", "true"), ("token", "ann")], "ann"),
    ]:
        served.call_with_metadata("Maintenance/Status", pb.StatusRequest(), *metadata)
        assert served.do(lambda backend: backend.asked_by[-1]) == Credentials(expected), metadata
    served.call_with_metadata("Maintenance/Status", pb.StatusRequest(), ("x-token", "ann"))
    assert served.do(lambda backend: backend.asked_by[-1]) is None


def test_whom_a_gateway_call_is_from(served: Served) -> None:
    served.do(enable)
    for headers, expected in [
        ({"Authorization": "ann"}, "ann"),
        ({"authorization": "bearer ann"}, "ann"),
        ({"Grpc-Metadata-Token": "ann"}, "ann"),
        ({"Grpc-Metadata-Authorization": "ann"}, "ann"),
        ({"Authorization": "root", "Grpc-Metadata-Token": "ann"}, "ann"),
    ]:
        answer = served.http.request("POST", "/v3/maintenance/status", b"{}", headers)
        assert (answer.status, served.do(lambda backend: backend.asked_by[-1])) == (200, Credentials(expected)), headers
    for headers in ({}, {"Token": "root"}, {"Grpcgateway-Token": "root"}, {"X-Authorization": "root"}):
        answer = served.http.request("POST", "/v3/maintenance/status", b"{}", headers)
        assert (answer.status, answer.json()["message"]) == (400, "etcdserver: user name is empty"), headers


def test_a_stream_over_the_gateway_is_refused_before_its_first_line(served: Served) -> None:
    served.do(enable)
    answer = served.http.post("/v3/maintenance/snapshot", {})
    assert (answer.status, json.loads(answer.body)) == (400, {"error": {"code": 3, "message": "etcdserver: user name is empty"}})


def test_health_is_everybodys(served: Served) -> None:
    served.do(enable)
    assert served.http.get("/health").status == 200
    assert served.http.get("/readyz").status == 200


@pytest.mark.parametrize(
    "subject, name",
    [
        ("CN=ann", "ann"),
        ("CN=ann,O=people", "ann"),
        ("O=people,CN=ann", "ann"),
        ("O=people", ""),
        ("", ""),
        (r"CN=a\,b\\c\"d", 'a,b\\c"d'),
        ("CN=root+O=x", "root"),
        ("nonsense", ""),
        ("O=CN\\=root,CN=ann", "ann"),
    ],
)
def test_the_common_name_of_a_subject(subject: str, name: str) -> None:
    assert _common_name(subject) == name


def test_headers_with_anything_in_them() -> None:
    assert credentials_of(None, None) is None
    assert credentials_of(b"\xff\xfe", None) == Credentials("\ufffd\ufffd")
    assert credentials_of(b"", b"root") == Credentials("")
