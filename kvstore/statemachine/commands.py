"""What a log entry can say, and its bytes: msgpack of [version, request id, command, who asks]; commands are the tagged requests of `kvstore.model`
and `kvstore.accounts`.

An empty entry (a new leader's first) is no command and never reaches this module. A command of a newer version than ours stops the
member with a clear error rather than letting members differ.
"""

import msgspec
from msgspec import Struct

from kvstore.accounts import BY_THE_CLUSTER, AccountChange, Authenticate
from kvstore.checks import TXN_DEPTH_MAX
from kvstore.ids import RequestId
from kvstore.model import AlarmChange, Compact, DeleteRange, LeaseGrant, LeaseRevoke, PublishMember, Put, Txn

Command = Put | DeleteRange | Txn | Compact | LeaseGrant | LeaseRevoke | AlarmChange | PublishMember | AccountChange | Authenticate

COMMAND_VERSION = 1


class Envelope(Struct, frozen=True, gc=False, array_like=True):
    """`request_id` tells the proposing member which of its clients waits; 0 when nobody does.

    `user` and `auth_revision` are the `accounts.Caller` for whom it is done; entries from before there were users do not have them, and say nobody.
    """

    version: int
    request_id: RequestId
    command: Command
    user: str = ""
    auth_revision: int = 0


class UnknownCommand(Exception):
    """An entry that this release cannot read: written by a newer one, or damaged."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode


def encode_command(request_id: RequestId, command: Command, user: str = "", auth_revision: int = BY_THE_CLUSTER) -> bytes:
    """Without a user: what the cluster itself wants, and may."""
    return _encode(Envelope(COMMAND_VERSION, request_id, command, user, auth_revision))


def decode_command(data: bytes) -> Envelope:
    """Raises UnknownCommand. Strict: wrong types and unknown tags are refused, not guessed at."""
    try:
        envelope = _decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UnknownCommand(f"log entry is not a command of version {COMMAND_VERSION} or older: {error}") from error
    if envelope.version > COMMAND_VERSION:
        raise UnknownCommand(f"log entry has command version {envelope.version}; this release reads up to {COMMAND_VERSION}: upgrade this member")
    return envelope


def is_command(data: bytes) -> bool:
    """Whether every member can read it, and apply it, however much of its stack it has used by then. About 1 us."""
    try:
        envelope = _decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return False
    command = envelope.command
    return envelope.version <= COMMAND_VERSION and (type(command) is not Txn or _is_within(command, TXN_DEPTH_MAX))


def _is_within(txn: Txn, depth_max: int) -> bool:
    return depth_max > 0 and all(type(operation) is not Txn or _is_within(operation, depth_max - 1) for operation in txn.success + txn.failure)
