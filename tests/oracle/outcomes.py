"""What came back from one side, as plain values: over gRPC as a code, a text and a message; over the gateway as a status and a JSON body."""

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import Message

from kvstore.wire import messages as pb
from tests.oracle.normal import Plain, plain, settle_orders
from tests.oracle.sides import Side
from tests.support.calls import OK, Reply

STATUS_KEPT = ("header", "errors", "isLearner")
"""The rest of a status is sizes, indexes and versions, which are each server's own."""


def grpc_outcome(side: Side, request: Message, reply: Reply) -> Plain:
    if reply.message is None:
        return {"json": False, "code": reply.code, "text": reply.text, "body": None}
    body = plain(reply.message, side.identity)
    settle_orders(request, body)
    if isinstance(request, pb.LeaseTimeToLiveRequest):
        body["TTL"] = about(body["TTL"], body["grantedTTL"])
    if isinstance(request, pb.MemberListRequest):
        for member in body["members"]:
            member["ID"] = "own" if member["ID"] == side.identity.member_id else member["ID"]
            member["peerURLs"] = len(member["peerURLs"])
            member["clientURLs"] = len(member["clientURLs"])
    if isinstance(request, pb.StatusRequest):
        body = {name: body[name] for name in STATUS_KEPT if name in body} | {"leads": reply.message.leader == side.identity.member_id}
    return {"json": False, "code": OK, "text": "", "body": body}


def about(ttl_s: int, granted_s: int) -> Any:
    """Remaining seconds that are as many as were granted, but for the few that a test run takes."""
    return "about all" if granted_s - 600 <= ttl_s <= granted_s and granted_s > 600 else ttl_s


def json_outcome(side: Side, method: str, request: Message) -> Plain:
    """A gateway answer: its status, and its body with the order of its fields."""
    answer = side.over_json(method, request)
    body = json.loads(answer.body, object_pairs_hook=lambda pairs: [list(pair) for pair in pairs])
    assert answer.headers["content-type"] == "application/json", answer
    return {"json": True, "code": answer.status if answer.status != 200 else OK, "body": list(json_masked(side, body))}


def json_masked(side: Side, body: Any) -> Iterator[Any]:
    own = {str(side.identity.cluster_id), str(side.identity.member_id)}
    for pair in body:
        name, value = pair
        if name in ("cluster_id", "member_id"):
            value = "own" if value in own else value
        elif name == "raft_term":
            value = "a term"
        elif isinstance(value, list) and value and isinstance(value[0], list) and len(value[0]) == 2 and isinstance(value[0][0], str):
            value = list(json_masked(side, value))
        elif isinstance(value, list):
            value = [list(json_masked(side, item)) if isinstance(item, list) else item for item in value]
        yield [name, value]


def revision_told(outcome: Plain) -> int:
    body = outcome["body"]
    header = dict(body).get("header") if body is not None else None
    return int(dict(header or {}).get("revision") or 0)


def brief(message: Message) -> str:
    return text_format.MessageToString(message, as_one_line=True) or "{}"
