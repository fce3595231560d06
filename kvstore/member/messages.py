"""What members say to each other beside Raft's messages: questions about leases, which only the leader can answer.

Same form as Raft's (`raft.messages.Message`), tags from 64 on. Lost ones are asked again by the asker until its client's deadline.
"""

from kvstore.raft.messages import AnyMessage, Message


class LeaseQuestion(Message, frozen=True, gc=False, array_like=True, tag=64):
    """Renew (`renew` True) or report the remaining time of leases. `number` is the asker's own for matching the answer."""

    number: int
    lease_id: int
    renew: bool


class LeaseAnswer(Message, frozen=True, gc=False, array_like=True, tag=65):
    """`ttl_s` left (after renewal: in full) of `granted_ttl_s`; ttl_s 0 renewing or -1 reporting: no such lease.

    `refused`: the receiver is not leader; ask again.
    """

    number: int
    ttl_s: int
    granted_ttl_s: int
    refused: bool = False


AnyPeerMessage = AnyMessage | LeaseQuestion | LeaseAnswer
