"""Raw gRPC: one channel, every method by its name, answers and errors as plain values. No client library's manners in between."""

import grpc
from google.protobuf.message import Message
from msgspec import Struct

from kvstore.wire import messages as pb
from tests.support.tls import TlsFiles

UNARY = {
    "KV/Range": (pb.RangeRequest, pb.RangeResponse),
    "KV/Put": (pb.PutRequest, pb.PutResponse),
    "KV/DeleteRange": (pb.DeleteRangeRequest, pb.DeleteRangeResponse),
    "KV/Txn": (pb.TxnRequest, pb.TxnResponse),
    "KV/Compact": (pb.CompactionRequest, pb.CompactionResponse),
    "Lease/LeaseGrant": (pb.LeaseGrantRequest, pb.LeaseGrantResponse),
    "Lease/LeaseRevoke": (pb.LeaseRevokeRequest, pb.LeaseRevokeResponse),
    "Lease/LeaseTimeToLive": (pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse),
    "Lease/LeaseLeases": (pb.LeaseLeasesRequest, pb.LeaseLeasesResponse),
    "Cluster/MemberList": (pb.MemberListRequest, pb.MemberListResponse),
    "Cluster/MemberAdd": (pb.MemberAddRequest, pb.MemberAddResponse),
    "Cluster/MemberRemove": (pb.MemberRemoveRequest, pb.MemberRemoveResponse),
    "Cluster/MemberUpdate": (pb.MemberUpdateRequest, pb.MemberUpdateResponse),
    "Cluster/MemberPromote": (pb.MemberPromoteRequest, pb.MemberPromoteResponse),
    "Maintenance/Alarm": (pb.AlarmRequest, pb.AlarmResponse),
    "Maintenance/Status": (pb.StatusRequest, pb.StatusResponse),
    "Maintenance/Defragment": (pb.DefragmentRequest, pb.DefragmentResponse),
    "Maintenance/Hash": (pb.HashRequest, pb.HashResponse),
    "Maintenance/HashKV": (pb.HashKVRequest, pb.HashKVResponse),
    "Maintenance/MoveLeader": (pb.MoveLeaderRequest, pb.MoveLeaderResponse),
}

AUTH = {
    "Auth/AuthEnable": (pb.AuthEnableRequest, pb.AuthEnableResponse),
    "Auth/AuthDisable": (pb.AuthDisableRequest, pb.AuthDisableResponse),
    "Auth/AuthStatus": (pb.AuthStatusRequest, pb.AuthStatusResponse),
    "Auth/Authenticate": (pb.AuthenticateRequest, pb.AuthenticateResponse),
    "Auth/UserAdd": (pb.AuthUserAddRequest, pb.AuthUserAddResponse),
    "Auth/UserGet": (pb.AuthUserGetRequest, pb.AuthUserGetResponse),
    "Auth/UserList": (pb.AuthUserListRequest, pb.AuthUserListResponse),
    "Auth/UserDelete": (pb.AuthUserDeleteRequest, pb.AuthUserDeleteResponse),
    "Auth/UserChangePassword": (pb.AuthUserChangePasswordRequest, pb.AuthUserChangePasswordResponse),
    "Auth/UserGrantRole": (pb.AuthUserGrantRoleRequest, pb.AuthUserGrantRoleResponse),
    "Auth/UserRevokeRole": (pb.AuthUserRevokeRoleRequest, pb.AuthUserRevokeRoleResponse),
    "Auth/RoleAdd": (pb.AuthRoleAddRequest, pb.AuthRoleAddResponse),
    "Auth/RoleGet": (pb.AuthRoleGetRequest, pb.AuthRoleGetResponse),
    "Auth/RoleList": (pb.AuthRoleListRequest, pb.AuthRoleListResponse),
    "Auth/RoleDelete": (pb.AuthRoleDeleteRequest, pb.AuthRoleDeleteResponse),
    "Auth/RoleGrantPermission": (pb.AuthRoleGrantPermissionRequest, pb.AuthRoleGrantPermissionResponse),
    "Auth/RoleRevokePermission": (pb.AuthRoleRevokePermissionRequest, pb.AuthRoleRevokePermissionResponse),
}
ALL = UNARY | AUTH
METHOD_OF = {request: method for method, (request, _) in ALL.items()}

OK = 0
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


class Reply(Struct):
    """What a call came back with: a message, or a code with its text."""

    code: int
    text: str = ""
    message: Message | None = None


def path(method: str) -> str:
    return f"/etcdserverpb.{method}"


def open_channel(target: str, tls: TlsFiles | None = None) -> grpc.Channel:
    if tls is None:
        return grpc.insecure_channel(target, options=OPTIONS)
    credentials = grpc.ssl_channel_credentials(tls.ca.read_bytes(), tls.client_key.read_bytes(), tls.client_cert.read_bytes())
    return grpc.secure_channel(target, credentials, options=OPTIONS)


class Wire:
    """One connection to one member."""

    def __init__(self, target: str, tls: TlsFiles | None = None) -> None:
        self.channel = open_channel(target, tls)
        self._unary: dict[str, grpc.UnaryUnaryMultiCallable] = {}

    def call(self, method: str, request: Message | bytes, timeout_s: float = 10) -> Reply:
        """`method` such as KV/Range; `request` as bytes goes as it is."""
        stub = self._unary.get(method)
        if stub is None:
            parse = ALL[method][1].FromString if method in ALL else None
            stub = self._unary[method] = self.channel.unary_unary(path(method), request_serializer=None, response_deserializer=parse)
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            return Reply(OK, message=stub(raw, timeout=timeout_s))
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            return Reply(error.code().value[0], error.details() or "")

    def ask(self, request: Message, timeout_s: float = 10) -> Message:
        """The answer to `request`, whose class says which method; an error fails the test."""
        reply = self.call(METHOD_OF[type(request)], request, timeout_s)
        assert reply.message is not None, f"{METHOD_OF[type(request)]}: {reply.code} {reply.text}"
        return reply.message

    def keep_alive(self, lease: int, timeout_s: float = 10) -> Reply:
        """One renewal on a stream of its own."""
        stub = self.channel.stream_stream(
            path("Lease/LeaseKeepAlive"), pb.LeaseKeepAliveRequest.SerializeToString, pb.LeaseKeepAliveResponse.FromString
        )
        try:
            answers = list(stub(iter([pb.LeaseKeepAliveRequest(ID=lease)]), timeout=timeout_s))
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            return Reply(error.code().value[0], error.details() or "")
        assert len(answers) == 1, answers
        return Reply(OK, message=answers[0])

    def close(self) -> None:
        self.channel.close()
