"""One of the two servers: a member of its own, one gRPC connection, one HTTP connection, its watch streams."""

import re
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import Message

from kvstore.wire import messages as pb
from tests.oracle.normal import Identity
from tests.support.calls import Wire
from tests.support.http import Answer
from tests.support.kinds import Kind
from tests.support.members import Member
from tests.support.watching import WatchStream

GATEWAY_PATHS = {
    "KV/Range": "/v3/kv/range",
    "KV/Put": "/v3/kv/put",
    "KV/DeleteRange": "/v3/kv/deleterange",
    "KV/Txn": "/v3/kv/txn",
    "KV/Compact": "/v3/kv/compaction",
    "Lease/LeaseGrant": "/v3/lease/grant",
    "Lease/LeaseRevoke": "/v3/lease/revoke",
    "Lease/LeaseTimeToLive": "/v3/lease/timetolive",
    "Lease/LeaseLeases": "/v3/lease/leases",
    "Cluster/MemberList": "/v3/cluster/member/list",
    "Maintenance/Alarm": "/v3/maintenance/alarm",
    "Maintenance/Status": "/v3/maintenance/status",
    "Maintenance/MoveLeader": "/v3/maintenance/transfer-leadership",
}


def version_of(text: str) -> tuple[int, ...]:
    """(3, 5, 1) from "3.5.1" or "3.6.0-alpha.0"."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


class Side:
    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind = kind
        self.member = Member(kind, "m1", folder)
        self.streams: dict[int, WatchStream] = {}
        try:
            self.member.start()
            self.member.wait_ready()
            self.wire = Wire(self.member.endpoint)
            status = self.wire.ask(pb.StatusRequest())
        except BaseException:
            self.member.stop()
            raise
        self.identity = Identity(status.header.cluster_id, status.header.member_id)
        self.version = version_of(status.version)

    def over_json(self, method: str, request: Message) -> Answer:
        return self.member.http.post(GATEWAY_PATHS[method], json_format.MessageToDict(request, preserving_proto_field_name=True))

    def stream(self, number: int) -> WatchStream:
        if number not in self.streams:
            self.streams[number] = WatchStream(self.wire.channel)
        return self.streams[number]

    def close_streams(self) -> None:
        while self.streams:
            self.streams.popitem()[1].close()

    def close(self) -> None:
        self.close_streams()
        self.wire.close()
        self.member.stop()
