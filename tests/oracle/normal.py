"""Answers as plain values that two servers can be compared by.

Taken out: whose cluster, member and term it was (kept: whether the header says it, and says it rightly), and orders that etcd leaves
open: ties of a sort, the keys of a lease, the list of leases. Nothing else.
"""

from typing import Any

from google.protobuf.message import Message
from msgspec import Struct

from kvstore.wire import messages as pb


class Identity(Struct, frozen=True):
    """Who one side is. 0 in a header means "not told" and stays so."""

    cluster_id: int
    member_id: int


Plain = dict[str, Any]


def plain(message: Message, identity: Identity) -> Plain:
    """Every field of `message`, defaults too; sub-messages only where they are present."""
    out: Plain = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is None:
            if field.containing_oneof is not None and not message.HasField(field.name):
                continue
            out[field.name] = list(value) if field.is_repeated else value
        elif field.is_repeated:
            out[field.name] = [plain(item, identity) for item in value]
        elif message.HasField(field.name):
            out[field.name] = header(value, identity) if field.message_type.name == "ResponseHeader" else plain(value, identity)
    return out


def header(message: Message, identity: Identity) -> Plain:
    return {
        "cluster_id": _told(message.cluster_id, identity.cluster_id),
        "member_id": _told(message.member_id, identity.member_id),
        "raft_term": "a term" if message.raft_term else "",
        "revision": message.revision,
    }


def _told(value: int, own: int) -> str:
    return "" if value == 0 else "own" if value == own else f"wrong: {value}"


def settle_orders(request: Message, answer: Plain) -> None:
    """Bring what etcd leaves unordered into one order, in place."""
    if isinstance(request, pb.RangeRequest):
        _settle_ties(request, answer)
    elif isinstance(request, pb.TxnRequest):
        branch = request.success if answer["succeeded"] else request.failure
        for operation, response in zip(branch, answer["responses"], strict=False):
            which = operation.WhichOneof("request")
            if which in ("request_range", "request_txn"):
                inner = response.get(which.replace("request", "response"))
                if inner is not None:
                    settle_orders(getattr(operation, which), inner)
    elif isinstance(request, pb.LeaseTimeToLiveRequest):
        answer["keys"].sort()
    elif isinstance(request, pb.LeaseLeasesRequest):
        answer["leases"].sort(key=lambda status: status["ID"])


SORTED_BY = {1: "version", 2: "create_revision", 3: "mod_revision", 4: "value"}


def _settle_ties(request: Message, answer: Plain) -> None:
    """Equal ones under a sort that is not by key may come in any order; which of them a limit cuts off is open, too.

    The last group of ties of a cut answer therefore keeps only what it was sorted by. (Values hidden by keys_only all look equal: one group.)
    """
    by = SORTED_BY.get(request.sort_target)
    if by is None:
        return
    groups: list[list[Plain]] = []
    for kv in answer["kvs"]:
        if groups and groups[-1][0][by] == kv[by]:
            groups[-1].append(kv)
        else:
            groups.append([kv])
    for group in groups:
        group.sort(key=lambda kv: kv["key"])
    if answer["more"] and groups:
        groups[-1] = [{by: kv[by]} for kv in groups[-1]]
    answer["kvs"] = [kv for group in groups for kv in group]
