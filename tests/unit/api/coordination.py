"""The lock and election services as a test calls them: an answer at once, or a call under way."""

from typing import Any

import grpc
from google.protobuf.message import Message

from kvstore.wire import messages as pb
from kvstore.wire.messages import METHODS
from tests.model.backend import CLUSTER, MEMBER, TERM
from tests.support.calls import OK, Reply
from tests.unit.api.served import Served

PATHS = {method.name: path for path, method in METHODS.items() if method.service in ("v3lockpb.Lock", "v3electionpb.Election")}
UNKNOWN = 2


def header(revision: int) -> Message:
    return pb.ResponseHeader(cluster_id=CLUSTER, member_id=MEMBER, revision=revision, raft_term=TERM)


class Coordination:
    def __init__(self, served: Served) -> None:
        self.served = served
        self._channel = served.wire.channel

    def grant(self, *leases: int) -> None:
        for lease in leases:
            self.served.wire.ask(pb.LeaseGrantRequest(ID=lease, TTL=100))

    def revoke(self, lease: int) -> None:
        self.served.wire.ask(pb.LeaseRevokeRequest(ID=lease))

    def start(self, method: str, request: Message, timeout_s: float | None = 10) -> Any:
        """The call under way, as a future."""
        described = METHODS[PATHS[method]]
        return self._channel.unary_unary(
            described.path, request_serializer=described.request.SerializeToString, response_deserializer=described.response.FromString
        ).future(request, timeout=timeout_s)

    def call(self, method: str, request: Message, timeout_s: float | None = 10) -> Reply:
        return reply(self.start(method, request, timeout_s))

    def ask(self, method: str, request: Message) -> Any:
        answer = self.call(method, request)
        assert answer.code == OK, answer
        return answer.message

    def observe(self, name: bytes) -> Any:
        """The stream of answers."""
        return self._channel.unary_stream(PATHS["Observe"], pb.LeaderRequest.SerializeToString, pb.LeaderResponse.FromString)(
            pb.LeaderRequest(name=name), timeout=10
        )

    def keys(self) -> list[bytes]:
        return [kv.key for kv in self.served.wire.ask(pb.RangeRequest(key=b"\0", range_end=b"\0")).kvs]

    def waits(self, count: int) -> bool:
        """Whether it comes about that `count` calls wait, each with its one watcher."""
        return self.served.wait_until(lambda backend: [len(stream.watchers) for stream in backend.streams] == [1] * count)


def reply(call: Any) -> Reply:
    try:
        return Reply(OK, message=call.result())
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return Reply(error.code().value[0], error.details() or "")
