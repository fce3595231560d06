"""What members say to each other beside Raft's messages: questions about leases and changes of the membership, which only the leader decides,
and about hashes, by which they find out that one of them is corrupt.

Same form as Raft's (`raft.messages.Message`), tags from 64 on. Lost questions about leases are asked again by the asker until its client's
deadline; lost ones about members are not (`changes.py`).
"""

from kvstore.ids import MemberId
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


class ChangeQuestion(Message, frozen=True, gc=False, array_like=True, tag=66):
    """Change the membership (`action` is a `statemachine.members.Action`). If it is done, the asker finds `request_id` in the log."""

    request_id: int
    action: int
    subject: MemberId
    peer_urls: tuple[str, ...] = ()


class ChangeAnswer(Message, frozen=True, gc=False, array_like=True, tag=67):
    """It will not be done. `refusal` is the name of a StoreError's class (`changes.REFUSALS`); empty: the receiver does not lead, ask again."""

    request_id: int
    refusal: str


class HashQuestion(Message, frozen=True, gc=False, array_like=True, tag=68):
    """What is your hash at `revision`? `thorough`: and do your tables agree? Not answered while the receiver is not there yet; ask again."""

    number: int
    revision: int
    thorough: bool


class HashAnswer(Message, frozen=True, gc=False, array_like=True, tag=69):
    """Computed with what was compacted up to `compacted`; `damage` says what is wrong with the sender's state, if it found that itself."""

    number: int
    hash: int
    compacted: int
    damage: str = ""


AnyPeerMessage = AnyMessage | LeaseQuestion | LeaseAnswer | ChangeQuestion | ChangeAnswer | HashQuestion | HashAnswer
